"""The server of `lad review`: what it shows, what it takes, and what it refuses."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers.reported import Made, bumps, scored_work
from helpers.reviewing import Server
from helpers.videos import write_video

from lad.dataset import Video
from lad.work.verdicts import fold, read

pytest.importorskip("starlette", reason="NO STARLETTE: lad review is not tested: pip install starlette uvicorn")
pytestmark = pytest.mark.slow

EVENT = {"video": "yard/a", "kind": "event", "start": 25, "end": 45, "label": "fall"}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    write_video(folder / "a.mp4", 60, size=(160, 120))
    write_video(folder / "b.avi", 60, size=(160, 120), codec="mpeg4")
    return folder


@pytest.fixture
def work(footage: Path, tmp_path: Path) -> Path:
    made = [
        Made(Video("yard/a", footage / "a.mp4"), bumps(60, (25, 45, 0.9)), classes=["fall"]),
        Made(Video("yard/b", footage / "b.avi"), bumps(60, (10, 20, 0.8)), classes=["fall"]),
    ]
    return scored_work(tmp_path / "work", made)


@pytest.fixture
def server(work: Path) -> Iterator[Server]:
    running = Server(work)
    yield running
    running.stop()


def test_the_page_and_the_videos_are_there_with_byte_ranges(server, footage):
    status, headers, page = server.ask(server.token)
    assert status == 200 and b"<title>lad" in page and headers["cache-control"] == "no-store"
    whole = (footage / "a.mp4").read_bytes()
    text = server.ask(f"{server.token}data/run.js")[2].decode()
    run = json.loads(text[text.index("{") : text.rindex("}") + 1])
    video = server.token + run["videos"]["link"][0]
    assert server.ask(video)[2] == whole
    status, headers, part = server.ask(video, headers={"range": "bytes=100-199"})
    assert (status, part, headers["content-range"]) == (206, whole[100:200], f"bytes 100-199/{len(whole)}")
    assert server.ask(video, headers={"range": f"bytes={len(whole)}-"})[0] == 416
    clips = run["clips"]
    assert clips["video"] == [1] and server.ask(server.token + clips["file"][0])[0] == 200  # an avi as a clip


@pytest.mark.parametrize(
    "path",
    ["videos/0", "videos/..", "../manifest.sqlite", "..%2fmanifest.sqlite", "%2e%2e/manifest.sqlite", "data/../../x",
     "/etc/passwd", "%2fetc%2fpasswd", "manifest.sqlite", "labels.csv", "files.json", "data", "index.html/"],
)  # fmt: skip
def test_nothing_but_the_page_and_its_videos_can_be_asked_for(server, path):
    assert server.ask(server.token + path)[0] == 404


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/index.html", {}),
        ("/wrong-token/", {}),
        ("/wrong-token/verdicts", {}),
        ("//", {}),
        ("TOKEN", {"host": "evil.example"}),
        ("TOKEN", {"host": "127.0.0.1.evil.example:80"}),
        ("TOKEN", {"host": ""}),
        ("TOKEN", {"host": "192.168.0.1"}),
    ],
)
def test_without_the_token_or_under_another_name_nothing_is_told(server, path, headers):
    status, _, answer = server.ask(path.replace("TOKEN", server.token), headers=headers)
    assert status == 403 and len(answer) < 80


def test_a_verdict_is_on_the_disk_when_the_server_says_so_and_survives_kill_9(server, work):
    status, said = server.say(EVENT)
    server.process.send_signal(signal.SIGKILL)
    (kept,) = read(work / "labels.csv")
    assert status == 200 and kept.number == said["added"][0]["number"]
    assert (kept.video, kept.kind, kept.start, kept.end, kept.label) == ("yard/a", "event", 25, 45, "fall")
    again = Server(work)
    verdicts = json.loads(again.ask(f"{again.token}verdicts")[2])["verdicts"]
    again.stop()
    assert [one["number"] for one in verdicts] == [kept.number]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
    ],
)
def test_another_page_writes_nothing(server, work, headers):
    assert server.say(EVENT, **headers)[0] in (403, 415)
    assert not (work / "labels.csv").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"video": "../../etc"}, "was not scored here"),
        ({"end": 61}, "has 60 frames"),
        ({"start": 45, "end": 45}, "no interval"),
        ({"start": -1}, "no interval"),
        ({"kind": "maybe"}, "not one of"),
        ({"start": "25"}, "not a list of verdicts"),
        ({"start": True}, "not a list of verdicts"),
        ({"label": ["fall"]}, "not a list of verdicts"),
        ({"label": "a|b"}, "one category"),
        ({"label": "x\n2026"}, "not printable"),
        ({"replaces": "0" * 12}, "no verdict"),
        ({"kind": "undo"}, "no frames"),
    ],
)
def test_a_verdict_that_makes_no_sense_is_refused_and_nothing_is_written(server, work, change, why):
    status, said = server.say({**EVENT, "label": "fall", **change})
    assert status in (400, 409) and why in said["error"]
    assert read(work / "labels.csv") == []


def test_what_is_no_list_of_verdicts_or_too_long_is_refused(server, work):
    kind = {"content-type": "application/json"}
    for body in (b"{", b"[]", b'{"verdicts": 1}', b'{"verdicts": [1]}', b'{"verdicts": [{}]}', b"[" * 50_000):
        assert server.ask(f"{server.token}verdicts", "POST", body, kind)[0] == 400, body[:20]
    assert server.ask(f"{server.token}verdicts", "POST", b" " * (65 << 10), kind)[0] == 413
    assert not (work / "labels.csv").exists()


def test_read_only_shows_verdicts_and_takes_none(work):
    first = Server(work)
    first.say(EVENT)
    first.stop()
    server = Server(work, "--read-only")
    try:
        assert server.say(EVENT)[0] == 403
        told = json.loads(server.ask(f"{server.token}verdicts")[2])
    finally:
        server.stop()
    assert told["read_only"] and len(told["verdicts"]) == 1 == len(read(work / "labels.csv"))


def test_what_two_people_say_at_once_is_all_kept(work):
    servers = [Server(work, "--who", name) for name in ("anna", "ben")]

    def speak(server: Server) -> None:
        for start in range(20):
            assert server.say({**EVENT, "start": start})[0] == 200

    threads = [threading.Thread(target=speak, args=[server]) for server in servers for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for server in servers:
        server.stop()
    kept = read(work / "labels.csv")
    assert len(kept) == 80 and [one.who for one in kept].count("anna") == 40
    assert fold(kept)["yard/a"].verdicts == 80


def test_the_address_without_its_last_slash_leads_to_the_page(server):
    status, headers, _ = server.ask(server.token.rstrip("/"))
    assert status == 307 and headers["location"].endswith(server.token)


def test_a_client_that_leaves_is_nobodys_traceback(server):
    place = urlsplit(server.address)
    for start in (b"nonsense\r\n\r\n", f"POST {server.token}verdicts HTTP/1.1\r\nhost: {place.netloc}\r\n"
                  "content-type: application/json\r\ncontent-length: 99\r\n\r\n{".encode()):  # fmt: skip
        with socket.create_connection((str(place.hostname), place.port or 0)) as connection:
            connection.sendall(start)
    assert server.say(EVENT)[0] == 200
    server.process.send_signal(signal.SIGINT)
    _, err = server.process.communicate(timeout=20)
    assert [line for line in err.splitlines() if "what to look at next" not in line] == []


@pytest.mark.parametrize(
    ("options", "why"), [(["--who", "a\tb"], "--who 'a\\tb' is not printable"), (["--host", ""], "--host")]
)
def test_a_wrong_option_is_told_before_the_page_opens(work, options, why):
    command = [sys.executable, "-m", "lad", "review", "--work", str(work), "--no-browser", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and why in done.stderr and "Traceback" not in done.stderr


def test_ctrl_c_stops_it_with_status_0(work):
    server = Server(work)
    server.process.send_signal(signal.SIGINT)
    _, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 0
    assert [line for line in err.splitlines() if "what to look at next" not in line] == []


def test_a_port_that_is_taken_is_one_line(server, work):
    port = server.address.split(":")[2].split("/")[0]
    done = subprocess.run(
        [sys.executable, "-m", "lad", "review", "--work", str(work), "--no-browser", "--port", port],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0 and f"cannot listen on 127.0.0.1, port {port}" in done.stderr
    assert "Traceback" not in done.stderr
