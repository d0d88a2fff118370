"""One file from a real server on the loopback: whole, checked, resumed, or refused in a line."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest
from helpers.web import Served, Web

from lad.remote import fetch as fetching
from lad.remote import store
from lad.remote.facts import Facts
from lad.remote.fetch import CHANGED, Remote, fetch, looked_up
from lad.remote.room import Bounds, Room
from lad.remote.store import RemoteError, Stopped
from lad.remote.url import Url, url_of
from lad.work.manifest import open_manifest

CONTENT = bytes(range(256)) * 4000  # about a megabyte
MD5 = hashlib.md5(CONTENT).hexdigest()
MANY = 1 << 30


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is fetched in several pieces."""
    monkeypatch.setattr(fetching, "CHUNK_BYTES", 300_000)


def fetched(web: Web, path: Path, name: str = "a.mp4", most: int = MANY) -> bytes:
    url = url_of(web.url(name))
    remote = Remote(url, looked_up(url, most), Bounds(None, most))
    fetch(remote, path, threading.Event())
    return path.read_bytes()


def why(web: Web, path: Path, name: str = "a.mp4", most: int = MANY) -> str:
    with pytest.raises(RemoteError) as caught:
        fetched(web, path, name, most)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_who_is_interrupted_waits_for_no_silent_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()

    def look_up(url: Url, most_bytes: int, stop: threading.Event) -> Facts:
        if "silent" in url.address:
            silent.wait(20)
        return Facts(etag="1", size=1)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lad.work.contents.looked_up", look_up)
    urls = [url_of(f"https://example.org/{name}.mp4") for name in ("silent", "quick")]
    with open_manifest(tmp_path) as manifest:
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            manifest.contents.ask(urls, MANY, interrupt)
        assert time.monotonic() - begun < 10
    silent.set()


def test_a_hash_of_a_download_ends_when_nobody_wants_it(web: Web) -> None:
    web.files["a.mp4"] = Served(CONTENT)  # whose server tells nothing, so that it has to be hashed
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        looked_up(url_of(web.url("a.mp4")), MANY, stop)


@pytest.mark.parametrize(
    "served",
    [
        Served(CONTENT, etag=f'"{MD5}"'),
        Served(CONTENT, etag='"v1"', ranges=False),
        Served(CONTENT, modified="Mon, 05 Jan 2026 10:00:00 GMT"),
        Served(CONTENT, etag='"v1"', length=False),
        Served(CONTENT, etag='"v1"', length=False, ranges=False),
        Served(CONTENT),
        Served(CONTENT, etag='"v1"', head=403),
        Served(b"", etag='"v1"'),
    ],
    ids=["md5", "no ranges", "time and size", "no length", "a stream", "nothing said", "no HEAD", "empty"],
)
def test_a_file_comes_whole(web: Web, pieces: None, tmp_path: Path, served: Served) -> None:
    web.files["a.mp4"] = served
    assert fetched(web, tmp_path / "a") == served.content


def test_what_breaks_off_goes_on_where_it_was(web: Web, pieces: None, tmp_path: Path) -> None:
    web.files["a.mp4"] = Served(CONTENT, etag='"v1"', cuts=3)
    assert fetched(web, tmp_path / "a") == CONTENT
    starts = [asked[2] for asked in web.asked if asked[0] == "GET"]
    assert starts[0].startswith("bytes=0-") and len(starts) > 4
    assert sum(start.startswith("bytes=0-") for start in starts) <= 4, "not from the beginning each time"


@pytest.mark.parametrize("served", [Served(CONTENT, etag='"v"', cuts=2, ranges=False), Served(CONTENT, '"v"', busy=2)])
def test_a_busy_server_and_one_without_ranges_are_tried_again(web: Web, tmp_path: Path, served: Served) -> None:
    web.files["a.mp4"] = served
    assert fetched(web, tmp_path / "a") == CONTENT


def test_it_is_not_tried_for_ever(web: Web, tmp_path: Path) -> None:
    web.files["a.mp4"] = Served(CONTENT, etag='"v"', busy=1000)
    assert why(web, tmp_path / "a") == "its server answers 503, in 4 tries: the next run tries again"
    assert web.count("HEAD", "a.mp4") == 4


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "access is refused (403): its user and password are wrong or missing, or its signature is too old"),
        (401, "access is refused (401)"),
        (404, "there is no such file (404): see whether its name is right"),
        (410, "there is no such file (410)"),
    ],
)
def test_a_refusal_is_said_in_a_line_and_not_tried_again(web: Web, tmp_path: Path, status: int, said: str) -> None:
    web.files["a.mp4"] = Served(CONTENT, status=status)
    assert why(web, tmp_path / "a").startswith(said)
    assert web.count("HEAD", "a.mp4") == 1


def test_a_password_in_the_url_opens_it(web: Web, tmp_path: Path) -> None:
    web.files["a.mp4"] = Served(CONTENT, etag='"v"', password="secret")
    assert "401" in why(web, tmp_path / "a")
    web.address = web.address.replace("://", "://bob:secret@")
    assert fetched(web, tmp_path / "b") == CONTENT


def test_a_server_that_is_silent_or_gone_is_given_up_for_all_its_files(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SILENT_SECONDS", 0.2)
    web.files |= {name: Served(CONTENT, etag='"v"', silent=2.0) for name in ("a.mp4", "b.mp4")}
    assert why(web, tmp_path / "a").startswith("its server gave no answer for 0.2 s, in 4 tries")
    assert "no answer" in why(web, tmp_path / "b", "b.mp4")
    assert web.count("HEAD", "b.mp4") == 0


def test_nobody_listens(web: Web, tmp_path: Path) -> None:
    web.address = "http://127.0.0.1:9"
    assert why(web, tmp_path / "a").startswith("its server cannot be reached: ")


def test_another_file_than_was_asked_for_is_not_taken(web: Web, pieces: None, tmp_path: Path) -> None:
    web.files["a.mp4"] = Served(CONTENT, etag='"v1"')
    url = url_of(web.url("a.mp4"))
    remote = Remote(url, looked_up(url, MANY), Bounds(None, MANY))
    web.files["a.mp4"] = Served(CONTENT[::-1], etag='"v2"')
    with pytest.raises(RemoteError, match="another file"):
        fetch(remote, tmp_path / "a", threading.Event())
    web.files["a.mp4"] = Served(CONTENT)
    remote = Remote(url, looked_up(url, MANY), Bounds(None, MANY))
    web.files["a.mp4"] = Served(CONTENT[::-1])
    with pytest.raises(RemoteError, match=CHANGED):
        fetch(remote, tmp_path / "b", threading.Event())


def test_bytes_that_are_damaged_on_the_way_are_fetched_again(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["a.mp4"] = Served(CONTENT, etag=f'"{MD5}"')
    real, calls = fetching._digest, iter(["f" * 32])
    monkeypatch.setattr(fetching, "_digest", lambda path, method: next(calls, None) or real(path, method))
    assert fetched(web, tmp_path / "a") == CONTENT
    assert web.count("GET", "a.mp4") == 2
    calls = iter(["e" * 32, "f" * 32])
    assert "damages it" in why(web, tmp_path / "b")


def test_an_etag_that_only_looks_like_an_md5_is_found_out_once(web: Web, tmp_path: Path) -> None:
    web.files |= {name: Served(CONTENT, etag=f'"{"a" * 32}"') for name in ("a.mp4", "b.mp4")}
    assert fetched(web, tmp_path / "a") == CONTENT
    assert fetched(web, tmp_path / "b", "b.mp4") == CONTENT
    assert (web.count("GET", "a.mp4"), web.count("GET", "b.mp4")) == (2, 1)


@pytest.mark.parametrize("served", [Served(CONTENT, etag='"v"', length=False), Served(CONTENT)])
def test_no_file_takes_more_than_the_room(web: Web, tmp_path: Path, served: Served) -> None:
    web.files["a.mp4"] = served
    assert (
        why(web, tmp_path / "a", most=500_000)
        == "it is longer than 0.0005 GB, which data.download_gb allows: raise that"
    )


def test_a_file_that_nobody_wants_any_more_is_left(web: Web, tmp_path: Path) -> None:
    web.files["a.mp4"] = Served(CONTENT, etag='"v"')
    url, stop = url_of(web.url("a.mp4")), threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        fetch(Remote(url, looked_up(url, MANY), Bounds(None, MANY)), tmp_path / "a", stop)


def test_what_was_printed_of_a_url_is_not_asked_for(web: Web, tmp_path: Path) -> None:
    assert why(web, tmp_path / "a", "a.mp4?***").startswith("*** stands where something secret was")
    assert not web.asked


def test_without_the_extra_a_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_open", {})
    monkeypatch.setitem(__import__("sys").modules, "aiohttp", None)
    with pytest.raises(RemoteError, match=r"need a package that is not installed: pip install 'lad-video\[remote\]'"):
        store.ask(url_of("https://host/a.mp4"))


def test_the_room_is_bounded_and_empty_afterwards(tmp_path: Path) -> None:
    room, url = Room(Bounds(tmp_path, 100)), url_of("https://host/a.mp4")
    first = room.take(url, 60)
    first.write_bytes(b"x")
    assert first.suffix == ".mp4" and room.has(40) and not room.has(41) and not room.has(None)
    with pytest.raises(RemoteError, match="download_gb"):
        room.check(101)
    room.free(first)
    assert room.has(100) and room.has(None) and not first.exists()
    room.take(url, None).write_bytes(b"x")
    assert not room.has(1)
    room.close()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_and_what_others_have_is_not(tmp_path: Path) -> None:
    (tmp_path / "lad-videos-killed").mkdir()
    (tmp_path / "lad-videos-killed" / "a.mp4").write_bytes(b"x")
    (tmp_path / "other").mkdir()
    living = Room(Bounds(tmp_path, 100))
    Room(Bounds(tmp_path, 100)).close()
    assert {path.name for path in tmp_path.iterdir()} == {"other", living.folder.name}
    living.close()
