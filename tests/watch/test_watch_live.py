"""`lad watch` on cameras: a real RTSP server that is killed, restarted and stopped, and what is told meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.cameras import RtspServer, Watching
from helpers.places import REPOSITORY
from helpers.videos import write_video

import lad

pytestmark = pytest.mark.slow
PASSWORD = "s3cret-w0rd"
Watch = Callable[..., Watching]


@pytest.fixture
def watch(detector: Path, threshold: str, tmp_path: Path) -> Iterator[Watch]:
    """Start `lad watch`; it is killed at the end."""
    begun: list[Watching] = []

    def start(*words: str, **variables: str) -> Watching:
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
        common = ["--checkpoint", str(detector), "--threshold", threshold, "--device", "cpu", "--out", "out"]
        begun.append(Watching([*words, *common], tmp_path, env))
        return begun[-1]

    yield start
    for one in begun:
        one.kill()


@pytest.fixture
def serve() -> Iterator[Callable[..., RtspServer]]:
    begun: list[RtspServer] = []

    def start(*clips: Path, user: str = "", password: str = "") -> RtspServer:
        begun.append(RtspServer(clips, user, password))
        return begun[-1]

    yield start
    for one in begun:
        one.kill()


def types(watching: Watching) -> list[str]:
    return [notice["type"] for notice in watching.notices]


def test_events_of_a_camera_are_told_as_they_happen_and_sigterm_ends_in_time(
    watch: Watch, serve: Callable[..., RtspServer], clip: Path, tmp_path: Path
) -> None:
    server = serve(clip, user="bob", password=PASSWORD)
    watching = watch("rtsp://bob:${CAMERA_WORD}@" + server.url().partition("://")[2], CAMERA_WORD=PASSWORD)
    watching.wait_for(lambda: watching.heard("online: h264 96x64"))
    with Path(f"/proc/{watching.process.pid}/cmdline").open("rb") as words:
        assert PASSWORD.encode() not in words.read()
    children = subprocess.run(["ps", "-ww", "-o", "args=", "--ppid", str(watching.process.pid)], capture_output=True)
    assert b"lad.watch.source" in children.stdout
    assert PASSWORD.encode() not in children.stdout
    watching.wait_for(lambda: types(watching) == ["new", "end", "new"])
    event = watching.notices[1]["after"]
    assert 0.5 < event["end_time"] - event["start_time"] < 3.5
    assert 0 < event["delay_seconds"] < 20
    with av.open(str(tmp_path / "out" / event["clip"])) as film:
        times = [frame.time for frame in film.decode(video=0)]
    assert 4 < times[-1] - times[0] < 15
    assert np.median(np.diff(times)) == pytest.approx(0.04, abs=0.005)
    assert (tmp_path / "out" / event["thumb"]).is_file()
    status, took = watching.stop()
    assert (status, types(watching)[-1]) == (0, "end")
    assert took < 5
    assert watching.notices[-1]["after"]["end_time"] is not None
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert PASSWORD.encode() not in path.read_bytes(), path
    assert not watching.heard(PASSWORD) and not any(PASSWORD in line for line in watching.raw)


def test_a_camera_has_the_scores_of_its_film(
    watch: Watch, serve: Callable[..., RtspServer], detector: Path, sliced_clip: Path, tmp_path: Path
) -> None:
    wanted = lad.load(detector, device="cpu").score(sliced_clip).frames
    watching = watch(serve(sliced_clip).url(), "--scores", "scores")
    watching.wait_for(lambda: types(watching)[:2] == ["new", "end"])
    watching.stop()
    (path,) = (tmp_path / "scores").glob("*.csv")
    scores = np.loadtxt(path, delimiter=",", skiprows=1, usecols=2)
    alike = len(wanted) - 64  # what follows is seen together with the clip's next round
    np.testing.assert_allclose(scores[:alike], wanted[:alike], atol=1e-6)


def test_damaged_pictures_are_counted_and_said(watch: Watch, clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2  # among the frames of the event, which are nearly all of the file
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / "damaged.mp4").write_bytes(content)
    watching = watch("damaged.mp4", "--realtime", "--metrics", ":0")
    watching.wait_for(lambda: watching.heard("frames were damaged: parts of them did not come"))
    url = next(line for line in watching.said if line.startswith("metrics: ")).split()[1]
    with urllib.request.urlopen(url, timeout=5) as answer:
        counted = [line for line in answer.read().decode().splitlines() if "lad_damaged_frames_total{" in line]
    assert float(counted[0].split()[-1]) > 0


def test_sigterm_while_the_networks_are_loaded_is_no_failure(watch: Watch, clip: Path) -> None:
    watching = watch(str(clip), "--realtime", "--metrics", "127.0.0.1:0")
    watching.wait_for(lambda: watching.heard("metrics: http://127.0.0.1:"))
    assert watching.stop()[0] == 0
    assert not watching.heard("interrupted")


def test_an_event_that_lasts_at_a_kill_ends_at_the_next_start(watch: Watch, clip: Path) -> None:
    watching = watch(str(clip), "--realtime")
    watching.wait_for(lambda: types(watching) == ["new"])
    watching.kill()
    again = watch(str(clip), "--realtime")
    again.wait_for(lambda: again.notices)
    new, end = watching.notices[0], again.notices[0]
    assert (end["type"], end["before"]) == ("end", new["after"])
    assert end["after"]["end_time"] == new["after"]["frame_time"]
    assert again.stop()[0] == 0
    third = watch(str(clip), "--realtime")
    third.wait_for(lambda: third.notices)
    assert third.notices[0]["type"] == "new"


def test_a_wrong_password_is_told_without_it(watch: Watch, serve: Callable[..., RtspServer], clip: Path) -> None:
    server = serve(clip, user="bob", password="another")
    watching = watch(server.url(login=f"bob:{PASSWORD}@"))
    watching.wait_for(lambda: watching.heard("trying again"))
    assert watching.heard("rtsp://bob:***@127.0.0.1")
    assert not watching.heard(PASSWORD)
    assert watching.stop(signal.SIGINT)[0] == 0


def test_a_camera_that_goes_and_comes_back_is_a_new_stretch_and_no_event_is_told_twice(
    watch: Watch, serve: Callable[..., RtspServer], clip: Path, tmp_path: Path
) -> None:
    server = serve(clip)
    (tmp_path / "cameras.yaml").write_text(f"offline_seconds: 2\ncameras: {{yard: '{server.url()}'}}\n")
    watching = watch("-c", "cameras.yaml", "--scores", "scores")
    watching.wait_for(lambda: types(watching)[:2] == ["new", "end"])
    server.kill()
    watching.wait_for(lambda: watching.heard("yard: offline: no frame for 2 s"))
    told = len(watching.notices)
    larger = write_video(tmp_path / "larger.mp4", 200, size=(160, 128), codec_options={"bf": "0", "g": "25"})
    server.start([larger])  # another size, without an event
    watching.wait_for(lambda: watching.heard("online: h264 160x128"))
    server.kill()
    server.start([clip])
    watching.wait_for(lambda: len(watching.notices) >= told + 2)
    assert watching.stop()[0] == 0
    ids = [notice["after"]["id"] for notice in watching.notices]
    for one in set(ids):
        of_it = [notice["type"] for notice in watching.notices if notice["after"]["id"] == one]
        assert (of_it[0], of_it[-1], of_it.count("new"), of_it.count("end")) == ("new", "end", 1, 1)
    begins = sorted({notice["after"]["start_time"] for notice in watching.notices})
    assert (np.diff(begins) > 3).all()
    times = np.loadtxt(tmp_path / "scores" / "yard.csv", delimiter=",", skiprows=1)[:, 1]
    assert (np.diff(times) >= 0).all()


def test_a_camera_that_hangs_is_left_and_found_again(
    watch: Watch, serve: Callable[..., RtspServer], clip: Path, tmp_path: Path
) -> None:
    server = serve(clip)
    (tmp_path / "cameras.yaml").write_text(f"offline_seconds: 3\ncameras: {{yard: '{server.url()}'}}\n")
    watching = watch("-c", "cameras.yaml", "-q")
    watching.wait_for(lambda: "new" in types(watching))
    server.process.send_signal(signal.SIGSTOP)  # the connection is there, and nothing comes
    watching.wait_for(lambda: types(watching)[-1] == "end")
    told = len(watching.notices)
    server.process.send_signal(signal.SIGCONT)
    watching.wait_for(lambda: len(watching.notices) > told)


def test_a_process_that_dies_is_started_anew(watch: Watch, serve: Callable[..., RtspServer], clip: Path) -> None:
    server = serve(clip)
    watching = watch(server.url())
    watching.wait_for(lambda: watching.heard("online"))
    found = subprocess.run(["pgrep", "-P", str(watching.process.pid), "-f", "lad.watch.source"], capture_output=True)
    os.kill(int(found.stdout), signal.SIGKILL)
    watching.wait_for(lambda: watching.heard("its process ended (SIGKILL) and is started anew"))
    watching.wait_for(lambda: "new" in types(watching))


def test_several_cameras_are_watched_at_once(
    watch: Watch, serve: Callable[..., RtspServer], clip: Path, tmp_path: Path
) -> None:
    server = serve(clip, clip)
    cameras = f"cameras: {{yard: '{server.url(0)}', door: {{url: '{server.url(1)}', clips: false}}}}\n"
    (tmp_path / "cameras.yaml").write_text(f"{cameras}cooldown_all_seconds: 0\n")
    watching = watch("-c", "cameras.yaml")
    watching.wait_for(lambda: types(watching).count("end") >= 2)
    assert {notice["after"]["camera"] for notice in watching.notices} == {"yard", "door"}
    ends = {notice["after"]["camera"]: notice["after"] for notice in watching.notices if notice["type"] == "end"}
    assert not ends.get("door", {}).get("has_clip")


def test_a_file_that_grows_is_followed(watch: Watch, tmp_path: Path, clip: Path) -> None:
    whole = tmp_path / "whole.ts"
    with av.open(str(clip)) as film, av.open(str(whole), "w", format="mpegts") as out:
        copy = out.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    data = whole.read_bytes()
    growing = tmp_path / "growing.ts"
    growing.write_bytes(data[: len(data) // 3])
    watching = watch(str(growing), "--follow", "--scores", "scores", "-q")
    scores = tmp_path / "scores" / "growing.csv"
    watching.wait_for(lambda: scores.is_file() and scores.read_text().count("\n") > 10)
    assert types(watching) == []
    with growing.open("ab") as file:
        file.write(data[len(data) // 3 :])
        file.write(data)  # more of it, whose stamps begin again
    watching.wait_for(lambda: "new" in types(watching))
    assert watching.stop()[0] == 0
