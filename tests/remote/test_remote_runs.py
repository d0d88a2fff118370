"""Whole commands on videos at a URL: the same features as from files, failures in a line, nothing secret anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.small import write_data
from helpers.videos import write_video
from helpers.web import Served, Web

import lad as lad_library
from lad.extract import workers
from lad.extract.ahead import FILES_AHEAD
from lad.extract.clips import ClipSpec
from lad.extract.jobs import Finished, Job, Started
from lad.extract.video import VideoError
from lad.remote.fetch import Remote
from lad.remote.room import PREFIX, Bounds
from lad.remote.url import url_of

SMALL = ("-o", "extract.backbone=tiny", "-o", "threads=1", "--device", "cpu")
Lad = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for number, name in enumerate("abc"):
        write_video(root / f"{name}.mp4", 33 + 8 * number)
    return root


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def serve(web: Web, videos: Path, **how: object) -> None:
    for path in videos.glob("*.mp4"):
        web.files[path.name] = Served(path.read_bytes(), etag=f'"{path.stem}-1"', **how)  # type: ignore[arg-type]


def table(folder: Path, places: dict[str, str]) -> Path:
    path = folder / "dataset.csv"
    path.write_text("video,path\n" + "".join(f"{name},{place}\n" for name, place in places.items()))
    return path


def features(work: Path) -> dict[str, bytes]:
    return {str(path.relative_to(work)): path.read_bytes() for path in (work / "features").rglob("*.npy")}


def failures(out: str) -> dict[str, str]:
    return json.loads(out)["stages"]["extract"]["failed"]


def test_features_are_those_of_the_files_and_nothing_is_left_behind(
    lad: Lad, web: Web, videos: Path, tmp_path: Path, scratch: Path
) -> None:
    serve(web, videos, cuts=1)
    listed = table(tmp_path, {name: web.url(f"{name}.mp4") for name in "abc"})
    remote, local = tmp_path / "remote", tmp_path / "local"
    assert lad("extract", "--work", str(remote), "-o", f"data.dataset={listed}", *SMALL)[0] == 0
    assert lad("extract", "--work", str(local), "--data", str(videos), *SMALL)[0] == 0
    assert features(remote) == features(local)
    assert not list(scratch.glob(f"{PREFIX}*"))
    downloads = sum(asked[0] == "GET" for asked in web.asked)

    status, out, _ = lad("extract", "--work", str(remote), "-o", f"data.dataset={listed}", *SMALL)
    assert status == 0 and "3 done before" in out
    assert sum(asked[0] == "GET" for asked in web.asked) == downloads, "what is done is not downloaded again"

    web.files["b.mp4"].etag = '"b-2"'
    status, out, _ = lad("extract", "--work", str(remote), "-o", f"data.dataset={listed}", *SMALL)
    assert status == 0 and "1 done, 2 done before" in out
    assert features(remote) == features(local)


def test_several_processes_fetch_for_themselves(
    lad: Lad, web: Web, videos: Path, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lad.pipeline.extract.extraction_devices", lambda _: ["cpu", "cpu"])
    monkeypatch.setenv("TMPDIR", str(scratch))
    serve(web, videos)
    listed = table(tmp_path, {name: web.url(f"{name}.mp4") for name in ("a", "b", "c", "none")})
    remote, local = tmp_path / "remote", tmp_path / "local"
    status, out, err = lad("extract", "--work", str(remote), "-o", f"data.dataset={listed}", *SMALL)
    assert status == 1 and "3 done, 1 failed" in out, out + err
    monkeypatch.setattr("lad.pipeline.extract.extraction_devices", lambda _: ["cpu"])
    assert lad("extract", "--work", str(local), "--data", str(videos), *SMALL)[0] == 0
    assert features(remote) == features(local)
    assert not list(scratch.glob(f"{PREFIX}*"))


def test_what_cannot_be_had_is_a_recorded_failure_and_the_rest_goes_on(
    lad: Lad, web: Web, videos: Path, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(web, videos)
    web.files["no.mp4"] = Served(b"", status=403)
    web.files["page.mp4"] = Served(b"<html>log in</html>", etag='"x"')
    web.files["cut.mp4"] = Served(web.files["a.mp4"].content, etag='"x"', cuts=1000, ranges=False)
    names = ["gone", "no", "page", "cut", "a"]
    listed = table(tmp_path, {name: web.url(f"{name}.mp4") for name in names})
    work = tmp_path / "work"
    status, out, _ = lad("extract", "--work", str(work), "-o", f"data.dataset={listed}", "--json", *SMALL)
    assert status == 1
    failed = failures(out)
    assert set(failed) == {"gone", "no", "page", "cut"}
    assert failed["gone"].startswith(f"{web.url('gone.mp4')}: cannot be read: there is no such file (404)")
    assert "access is refused (403)" in failed["no"]
    assert "in 4 tries: the next run tries again" in failed["cut"]
    assert failed["page"].startswith(web.url("page.mp4"))
    assert (work / "features" / "rgb" / "a.npy").is_file()
    assert not list(scratch.glob(f"{PREFIX}*"))

    web.files["gone.mp4"] = web.files["no.mp4"] = web.files["a.mp4"]
    web.files["cut.mp4"].cuts = 0
    status, out, _ = lad("extract", "--work", str(work), "-o", f"data.dataset={listed}", "--json", *SMALL)
    assert set(failures(out)) == {"page"}, "a failure of the network is tried again"


def test_no_secret_is_written_or_said_anywhere(lad: Lad, web: Web, videos: Path, tmp_path: Path) -> None:
    serve(web, videos, password="geheim77")
    web.files["bad.mp4"] = Served(b"no video", etag='"x"')
    web.files["no.mp4"] = Served(b"", status=500)
    secret = web.address.replace("://", "://bob:geheim77@")
    names = ("a", "bad", "no")
    listed = table(tmp_path, {name: f"{secret}/{name}.mp4?X-Amz-Signature=zeichen88" for name in names})
    work = tmp_path / "work"
    said = []
    for command in (("extract", "--json"), ("extract", "-v", "--force"), ("score", "--json"), ("status",)):
        more = ("-o", f"data.dataset={listed}", *SMALL) if command[0] != "status" else ()
        said += lad(*command, "--work", str(work), *more)[1:]
    named = f"{secret}/a.mp4?X-Amz-Signature=zeichen88"
    said += lad("extract", named, "--work", str(work), *SMALL)[1:]
    text = "\n".join(said)
    assert "bob:***@127.0.0.1" in text and "/bad.mp4?***" in text
    files = [path for path in work.rglob("*") if path.is_file()]
    assert {"manifest.sqlite", "manifest.jsonl", "lad.log", "dataset.csv"} <= {path.name for path in files}
    for word in ("geheim77", "zeichen88"):
        assert word not in text
        assert [path for path in files if word.encode() in path.read_bytes()] == []
    assert "?***" in (work / "dataset.csv").read_text()


def test_a_server_that_tells_nothing_of_a_file_is_warned_of(lad: Lad, web: Web, videos: Path, tmp_path: Path) -> None:
    web.files["a.mp4"] = Served((videos / "a.mp4").read_bytes())
    listed, work = table(tmp_path, {"a": web.url("a.mp4")}), tmp_path / "work"
    for done in ("1 done", "1 done before"):
        status, out, err = lad("extract", "--work", str(work), "-o", f"data.dataset={listed}", *SMALL)
        assert status == 0 and done in out and "tells neither an ETag nor a time and size" in " ".join(err.split())


def test_the_room_is_too_small(lad: Lad, web: Web, videos: Path, tmp_path: Path) -> None:
    serve(web, videos)
    listed, work = table(tmp_path, {"a": web.url("a.mp4")}), tmp_path / "work"
    more = ("-o", f"data.dataset={listed}", "-o", "data.download_gb=0.000001", *SMALL)
    status, _, err = lad("extract", "--work", str(work), *more)
    assert status == 1 and "data.download_gb allows 1e-06: raise that" in err


def test_a_small_room_takes_one_video_after_the_other(
    lad: Lad, web: Web, videos: Path, tmp_path: Path, scratch: Path
) -> None:
    serve(web, videos)
    largest = max(len(one.content) for one in web.files.values())
    listed, work = table(tmp_path, {name: web.url(f"{name}.mp4") for name in "abc"}), tmp_path / "work"
    more = ("-o", f"data.dataset={listed}", "-o", f"data.download_gb={largest / 1e9}", *SMALL)
    status, out, _ = lad("extract", "--work", str(work), *more)
    assert status == 0 and "3 done" in out


def test_a_table_lies_here_and_its_videos_below_a_url(lad: Lad, web: Web, videos: Path, tmp_path: Path) -> None:
    serve(web, videos)
    listed, work = table(tmp_path, {"a": "a.mp4", "b": "b.mp4"}), tmp_path / "work"
    status, out, _ = lad("extract", "--work", str(work), "--data", web.address, "-o", f"data.dataset={listed}", *SMALL)
    assert status == 0 and "2 done" in out
    status, _, err = lad("extract", "--work", str(work), "--data", web.address, *SMALL)
    assert status == 2 and "a web server has no listing" in err
    status, _, err = lad("extract", "--work", str(work), "--data", f"{web.address}/?sig=zeichen88", *SMALL)
    assert status == 2 and "cannot follow a query" in err and "zeichen88" not in err


def test_a_video_at_a_url_is_scored_and_its_events_are_cut(lad: Lad, web: Web, tmp_path: Path, scratch: Path) -> None:
    data = tmp_path / "data"
    options = [*write_data(data)[:2], "--data", web.address, "-o", f"data.dataset={data / 'dataset.csv'}"]
    serve(web, data)
    work = tmp_path / "work"
    status, _, err = lad("run", "--work", str(work), *options, "-o", "threads=1", "-o", "score.threshold=0.0")
    assert status == 0, err
    events = json.loads((work / "scores" / "events.json").read_text())
    assert [video["path"] for video in events["videos"]] == [web.url(f"{name}.mp4") for name in "abcdef"]

    status, _, err = lad("score", web.url("a.mp4"), "--checkpoint", str(work / "checkpoints" / "best.pt"),
                           "--work", str(tmp_path / "named"), "--device", "cpu")  # fmt: skip
    assert status == 0, err
    assert [path.name.startswith("a-") for path in (tmp_path / "named" / "scores").glob("a*.csv")] == [True]

    clips = tmp_path / "clips"
    status, _, err = lad("clips", "--work", str(work), "--out", str(clips))
    assert status == 0, err
    assert list(clips.glob("*.mp4")) and not list(scratch.glob(f"{PREFIX}*"))
    status, _, err = lad("report", "--work", str(work))
    assert status == 0 and "lies at a URL" in (work / "report" / "data" / "run.js").read_text() + err
    web.files["a.mp4"].etag = '"a-2"'
    status, _, err = lad("clips", "--work", str(work), "--out", str(tmp_path / "again"))
    assert status == 1 and "it is another file than the one that was scored" in err


def jobs_of(web: Web, content: bytes, count: int) -> list[Job]:
    jobs = []
    for number in range(count):
        web.files[f"{number}.mp4"] = Served(content, etag=f'"{number}"')
        remote = Remote.at(url_of(web.url(f"{number}.mp4")), Bounds(None, 1 << 30))
        jobs.append(Job(str(number), Path(), ClipSpec(streams=("rgb",)), remote=remote))
    return jobs


def test_downloads_go_on_while_a_video_is_decoded(web: Web, videos: Path, scratch: Path) -> None:
    """The files of the next videos are here before their turn, and each is gone when its video is done."""
    started, here = [], []
    jobs = jobs_of(web, (videos / "a.mp4").read_bytes(), 8)
    for message in workers.decode_videos(jobs, workers=1, stall_seconds=60):
        if isinstance(message, Started):
            started.append(message.item)
        if isinstance(message, Finished):
            here.append(len([path for path in scratch.rglob("*.mp4") if path.stat().st_size]))
    assert sorted(started) == [str(number) for number in range(8)]
    assert max(here) > 1 and max(here) <= FILES_AHEAD + 1
    assert not list(scratch.iterdir())


def test_nothing_is_left_where_decoding_is_given_up(web: Web, videos: Path, scratch: Path) -> None:
    messages = workers.decode_videos(jobs_of(web, (videos / "a.mp4").read_bytes(), 6), workers=1, stall_seconds=60)
    next(message for message in messages if message is not None)
    assert list(scratch.iterdir())
    messages.close()  # type: ignore[attr-defined]
    assert not list(scratch.iterdir())


def test_the_library_takes_urls(web: Web, videos: Path, scratch: Path) -> None:
    serve(web, videos)
    options = {"backbone": "tiny", "device": "cpu", "threads": 1}
    here = lad_library.extract_features(videos / "a.mp4", **options)
    there = lad_library.extract_features(web.url("a.mp4"), **options)
    assert np.array_equal(here.streams["rgb"], there.streams["rgb"])
    secret = web.url("no.mp4?sig=zeichen88").replace("://", "://bob:geheim77@")
    with pytest.raises(VideoError, match="404") as caught:
        lad_library.extract_features(secret, **options)
    assert "geheim77" not in str(caught.value) and "zeichen88" not in str(caught.value)
