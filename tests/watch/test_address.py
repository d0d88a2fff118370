"""What a source can be, and that its password stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.videos import write_video

from lad.extract.video import VideoError
from lad.masking import hide, hide_of
from lad.watch.address import SourceError, address_of, open_source
from lad.watch.cameras import WatchConfig, cameras_of
from lad.watch.environment import expand_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://bob:secret@10.0.0.5/a", "rtsp://bob:***@10.0.0.5/a"),
        ("cannot open rtsp://bob:se:c@cam/a now", "cannot open rtsp://bob:***@cam/a now"),
        ("rtsp://bob@cam/a", "rtsp://bob@cam/a"),
        ("http://cam:8080/a@b", "http://cam:8080/a@b"),
        ("http://:token@cam/", "http://:***@cam/"),
        ("rtsp://bob:se@cr/et@cam/a", "rtsp://bob:***@cam/a"),
        ("rtsp://bob:se@cret@cam:554/a", "rtsp://bob:***@cam:554/a"),
        ("http://cam/a?user=bob&word=secret: no answer", "http://cam/a?***: no answer"),
        ("rtsp://cam/user=bob&password=secret&channel=1", "rtsp://cam/user=bob&password=***&channel=1"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
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


@pytest.mark.parametrize(("word", "inside"), [("p@ss/w:?#", "p%40ss%2Fw%3A%3F%23"), ("p%40ss", "p%40ss")])
def test_a_password_of_the_environment_may_hold_any_characters(
    word: str, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", word)
    (camera,) = cameras_of(WatchConfig(), ["rtsp://bob:${WORD}@cam/${WORD}"], realtime=False, follow=False)
    assert camera.address.url == f"rtsp://bob:{inside}@cam/{word}"
    assert camera.name == "cam"
    monkeypatch.setenv("WHOLE", "rtsp://bob:p%40ss@cam/a")
    assert expand_url("${WHOLE}") == "rtsp://bob:p%40ss@cam/a"


def test_only_the_protocols_of_cameras_are_opened() -> None:
    wrong = ("rtsp://bob:se/cret@host/a", "rtsp://[::1/a", "rtsp://host:99999/a")
    for source in (*wrong, "ftp://bob:secret@host/a", "concat:a|b", "rtsp://", "/nowhere.mp4", "v4l2:/dev/null0"):
        with pytest.raises(SourceError) as raised:
            address_of(source)
        assert "secret" not in str(raised.value)
        assert "cret@" not in str(raised.value)


def test_files_are_read_whole_at_their_pace_or_as_they_grow(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.touch()
    kinds = [address_of(str(path), **how).kind for how in ({}, {"paced": True}, {"growing": True})]  # type: ignore[arg-type]
    assert kinds == ["file", "paced", "growing"]
    assert [address_of(str(path), paced=paced).drops for paced in (False, True)] == [False, True]


@pytest.mark.parametrize("how", [{"paced": True}, {"growing": True}])
def test_a_playlist_cannot_name_other_files_and_a_folder_has_no_pace(tmp_path: Path, how: dict[str, bool]) -> None:
    path = write_video(tmp_path / "a.ts", 10)
    playlists = {
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n",
        "list.ffconcat": "ffconcat version 1.0\nfile a.ts\n",
    }
    open_source(address_of(str(path), **how), 20.0).close()  # type: ignore[arg-type]
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match="not a video"):
            open_source(address_of(str(tmp_path / name), **how), 20.0)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="a folder of images has no pace"):
        address_of(str(tmp_path), **how)  # type: ignore[arg-type]
