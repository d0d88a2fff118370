"""What a source can be, and that its password stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lad.watch.address import SourceError, address_of, hide, hide_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://bob:secret@10.0.0.5/a", "rtsp://bob:***@10.0.0.5/a"),
        ("cannot open rtsp://bob:se:c@cam/a now", "cannot open rtsp://bob:***@cam/a now"),
        ("rtsp://bob@cam/a", "rtsp://bob@cam/a"),
        ("http://cam:8080/a@b", "http://cam:8080/a@b"),
        ("http://:token@cam/", "http://:***@cam/"),
    ],
)
def test_no_password_is_shown(text: str, shown: str) -> None:
    assert hide(text) == shown


def test_an_address_shows_no_password_however_it_is_printed() -> None:
    address = address_of("rtsp://bob:p%40ss-word@cam/a")
    for text in (str(address), repr(address), f"{address}", repr([address])):
        assert "word" not in text
    assert address.url == "rtsp://bob:p%40ss-word@cam/a"


def test_what_a_library_says_of_a_password_is_hidden_too() -> None:
    said = "401 for user bob with p@ss-word or p%40ss-word"
    assert hide_of("rtsp://bob:p%40ss-word@cam/a", said) == "401 for user bob with *** or ***"


def test_only_the_protocols_of_cameras_are_opened() -> None:
    for source in ("ftp://bob:secret@host/a", "concat:a|b", "rtsp://", "/nowhere.mp4", "v4l2:/dev/null0"):
        with pytest.raises(SourceError) as raised:
            address_of(source)
        assert "secret" not in str(raised.value)


def test_files_are_read_whole_at_their_pace_or_as_they_grow(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.touch()
    kinds = [address_of(str(path), **how).kind for how in ({}, {"paced": True}, {"growing": True})]  # type: ignore[arg-type]
    assert kinds == ["file", "paced", "growing"]
    assert [address_of(str(path), paced=paced).drops for paced in (False, True)] == [False, True]
