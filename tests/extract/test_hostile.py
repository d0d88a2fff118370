"""Files made to do harm: they run no code, open no other file or address, write nowhere else."""

from __future__ import annotations

import http.server
import os
import pickle
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers.crafted import box, encoded, mp4
from helpers.pickles import Calls
from helpers.reading import read_to_the_end
from helpers.videos import numbered_frame, read_number, write_video
from helpers.work import items

from lad.extract.video import VideoError

pytestmark = pytest.mark.slow

Lad = Callable[..., tuple[int, str, str]]

TINY = ("-o", "extract.backbone=tiny", "-o", "workers=1", "-o", "threads=1")


# Other files and addresses --------------------------------------------------------------------------------------------


@pytest.fixture
def visited() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine: its address, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def link(kind: bytes, target: str) -> bytes:
    return box(kind, bytes(4), target.encode() + b"\0")


def test_what_a_file_refers_to_is_not_opened(lad: Lad, tmp_path: Path, visited: tuple[str, list[str]]) -> None:
    address, asked = visited
    bait = write_video(tmp_path / "bait.ts", 5)
    texts = {
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{to}\n#EXT-X-ENDLIST\n",
        "m3u": "{to}\n",
        "concat": "ffconcat version 1.0\nfile '{to}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=control:{to}\n",
        "dash": '<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011">{to}</MPD>',
        "asf": "[Reference]\nRef1={to}\n",
        "asx": '<asx version="3.0"><entry><ref href="{to}"/></entry></asx>',
        "rtsp": "RTSPtextRTSP://{to}",
        "smil": '<smil><body><video src="{to}"/></body></smil>',
    }
    videos: list[Path] = []
    for target, to in (("file", str(bait)), ("web", f"{address}/bait.ts")):
        for name, text in texts.items():
            for suffix in (".mp4", ".m3u8"):
                videos.append(tmp_path / f"{name}-{target}{suffix}")
                videos[-1].write_text(text.format(to=to))
        videos.append(mp4(tmp_path / f"reference-{target}.mov", reference=link(b"url ", to)))
        alias = box(b"alis", bytes(4), bytes(150), struct.pack(">HH", 2, len(to)), to.encode())
        videos.append(mp4(tmp_path / f"alias-{target}.mov", reference=alias))
        data = struct.pack(">4sI", b"url ", len(to) + 1) + to.encode() + b"\0"
        redirect = box(b"rmra", box(b"rmda", box(b"rdrf", bytes(4), data)))
        videos.append(mp4(tmp_path / f"redirect-{target}.mov", tracks=0, rmra=redirect))
    with av.open(str(tmp_path / "hls-file.m3u8")) as container:
        assert len(list(container.decode(video=0))) == 5, "the playlist leads nowhere, so this test would show nothing"
    os.utime(bait, (0, 1_000_000))  # reading it would change the first
    work = tmp_path / "work"
    status, _, _ = lad("extract", *TINY, "--work", str(work), "--data", str(tmp_path), *map(str, videos))
    assert status == 1
    failed = items(work, "extract")
    assert len(failed) == len(videos)
    assert {(row.status, row.failure) for row in failed.values()} == {("failed", "content")}
    assert bait.stat().st_atime == 0
    assert asked == []
    assert not list(work.rglob("*.npy"))


def test_an_address_of_ffmpeg_is_no_name_of_a_video(lad: Lad, tmp_path: Path, visited: tuple[str, list[str]]) -> None:
    _, asked = visited
    bait = write_video(tmp_path / "bait.mp4", 3)
    for name in (f"file://{bait}", f"concat:{bait}|{bait}", f"subfile,,start,0,end,0,,:{bait}"):
        status, _, err = lad("extract", *TINY, "--work", str(tmp_path / "work"), name)
        assert status == 2
        assert "no such file" in err or "videos are fetched from s3://" in err
        (tmp_path / "dataset.csv").write_text(f'video,path\na,"{name}"\n')
        data = ("-o", f"data.dataset={tmp_path / 'dataset.csv'}", "--work", str(tmp_path / "work"))
        assert lad("extract", *TINY, *data)[0] == (2 if "://" in name else 1)
    assert {row.failure for row in items(tmp_path / "work", "extract").values()} == {"io"}
    assert asked == []


@pytest.mark.parametrize("choice", ["auto", "pyav"])
@pytest.mark.parametrize(
    "name", ["concat:bait.mp4", "subfile,,start,0,end,0,,:bait.mp4", "cache:bait.mp4", "file:bait.mp4"]
)
def test_a_name_that_is_a_protocol_of_ffmpeg_is_a_name(
    name: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("bait.mp4"), [numbered_frame(100 + number, (64, 48)) for number in range(3)])
    write_video(tmp_path / "video.mp4", 3).rename(name)
    frames, _ = read_to_the_end(Path(name), choice=choice)
    assert [read_number(frame) for frame in frames] == [0, 1, 2]


def test_a_name_that_is_a_pattern_opens_no_other_image(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"img{number}.jpg").write_bytes(encoded(".jpg"))
    (tmp_path / "img%d.jpg").write_bytes(encoded(".jpg", (128, 96)))
    with av.open(str(tmp_path / "img%d.jpg")) as container:
        assert len(list(container.demux(video=0))) > 3, (
            "FFmpeg takes it for no pattern, so this test would show nothing"
        )
    with pytest.raises(VideoError, match="not a readable video"):
        read_to_the_end(tmp_path / "img%d.jpg")


# Names and places -----------------------------------------------------------------------------------------------------


def test_nothing_is_written_outside_the_work_directory(lad: Lad, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    good = write_video(outside / "good.mp4", 3)
    names = ["..\\..\\x.mp4", "a\nb.mp4", "summary.mp4", "\x1b]0;x\x07.mp4", "....mp4", "C:x.mp4", "~.mp4", "$HOME.mp4"]
    footage = tmp_path / "footage"
    footage.mkdir()
    for name in names:
        shutil.copy(good, footage / name)
    (footage / "link.mp4").symlink_to(good)  # reading through a link is the user's wish, writing is not
    names.append("link.mp4")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    work = tmp_path / "deep" / "work"
    call = ("extract", *TINY, "--work", str(work), "--data", str(footage))
    status, _, _ = lad(*call, *(str(footage / name) for name in names))
    assert status == 0
    assert len(list((work / "features" / "rgb").rglob("*.npy"))) == len(names)
    known = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if not path.is_relative_to(work.parent)}
    assert {path: stamp for path, stamp in known.items() if path != tmp_path} == before


@pytest.mark.parametrize("video", ["../x", "/tmp/x", "a/../../x", "a\\..\\x", "a\0b", "a\nb"])
def test_hostile_ids_of_a_dataset_are_refused(video: str, lad: Lad, tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", 3)
    (tmp_path / "dataset.csv").write_text(f'video,path\n"{video}",{good}\n')
    data = ("-o", f"data.dataset={tmp_path / 'dataset.csv'}", "--work", str(tmp_path / "a" / "work"))
    status, _, err = lad("extract", *TINY, *data)
    assert status == 2
    assert "must be a relative path" in err
    assert not list(tmp_path.rglob("*.npy"))


TOO_LONG = {"name": "a" * 300, "path": "b/" * 3000}
PLACES = [
    ["extract", "-c", "{}"],
    ["extract", "--data", "{}"],
    ["extract", "--work", "{}", "{video}"],
    ["extract", "{}"],
    ["extract", "-o", "data.dataset={}"],
    ["extract", "-o", "data.root={}"],
    ["extract", "-o", "name={}", "{video}"],
    ["score", "--checkpoint", "{}", "{video}"],
    ["score", "-o", "score.checkpoint={}", "{video}"],
    ["evaluate", "--scores", "{}", "--data", "{folder}"],
    ["export", "--layout", "released", "--out", "{}", "--data", "{folder}"],
    ["status", "-c", "{}"],
    ["status", "--work", "{}"],
    ["prepare", "ped2", "--root", "{}"],
    ["prepare", "folder", "--root", "{folder}", "--out", "{}"],
    ["weights", "fetch", "kinetics400-rgb", "--from", "{}"],
    ["demo", "--work", "{}"],
]


@pytest.mark.parametrize("words", PLACES, ids=" ".join)
@pytest.mark.parametrize("path", [*TOO_LONG, "nul"])
def test_a_path_that_can_be_none_is_one_line(
    words: list[str], path: str, lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "footage").mkdir()
    video = write_video(tmp_path / "footage" / "video.mp4", 3)
    before = sorted(tmp_path.rglob("*"))
    setting = any(word.endswith("={}") for word in words)
    text = TOO_LONG.get(path) or (r'"a\0b"' if setting else "a\0b")
    status, _, err = lad(*(word.format(text, video=video, folder=video.parent) for word in words))
    assert status == 2
    said = [line for line in err.splitlines() if line and not line.startswith(("Usage: ", "Try "))]
    assert len(said) == 1, err
    assert len(said[0]) < 1000
    assert ("leave that out" if path == "nul" else "shorten it") in said[0]
    assert ("a\\0b" in said[0] or "a\\x00b" in said[0]) if path == "nul" else text[:60] in said[0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words", [w for w in PLACES if not {"--work", "--out"} & set(w) and "name={}" not in w], ids=" ".join
)
def test_a_home_of_nobody_is_one_line(
    words: list[str], lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "footage").mkdir()
    video = write_video(tmp_path / "footage" / "video.mp4", 3)
    status, _, err = lad(*(word.format("~nobody-of-this-name/x", video=video, folder=video.parent) for word in words))
    assert status == 2
    (said,) = [line for line in err.splitlines() if line and not line.startswith(("Usage: ", "Try "))]
    assert "~nobody-of-this-name/x" in said


def test_a_cache_in_a_home_of_nobody_is_one_line(lad: Lad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAD_CACHE", "~nobody-of-this-name/cache")
    assert lad("weights", "list") == (
        2,
        "",
        "error: ~nobody-of-this-name/cache: no such home directory: set LAD_CACHE to a folder\n",
    )


# Code -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [{mark}]", "!!python/name:os.system"])
def test_yaml_runs_no_code(tag: str, lad: Lad, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "evil.yaml").write_text(f"name: {tag.format(mark=mark)}\n")
    for words in (["-c", str(tmp_path / "evil.yaml")], ["-o", f"train.steps={tag.format(mark=mark)}"]):
        status, _, err = lad("extract", *words, "--work", str(tmp_path / "work"))
        assert status == 2
        assert "not valid YAML" in err
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_and_weights_run_no_code(
    zipped: bool, lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "cache"))
    mark, evil = tmp_path / "ran", tmp_path / "evil.pt"
    call = Calls(os.mkdir, str(mark))
    data = {"format": 2, "model": {"weight": torch.zeros(1)}, "config": call, "model_state": call}
    torch.save(data, evil, _use_new_zipfile_serialization=zipped)
    video = write_video(tmp_path / "video.mp4", 3)
    status, _, err = lad("score", "--checkpoint", str(evil), "--work", str(tmp_path / "work"), str(video))
    assert status == 2
    assert "evil.pt: not a checkpoint that can be read safely" in err
    for name in ("kinetics400-r50", "kinetics400-rgb"):
        status, _, err = lad("weights", "fetch", name, "--from", str(evil))
        assert status == 2
        assert "cannot be used" in err
    assert not mark.exists()


def test_label_files_run_no_code(lad: Lad, tmp_path: Path) -> None:
    mark, base = tmp_path / "ran", tmp_path / "LAD2000"
    (base / "GT").mkdir(parents=True)
    (base / "features_video" / "i3d" / "rgb").mkdir(parents=True)
    (base / "features_video" / "i3d" / "flow").mkdir()
    for kind in ("frame", "video"):
        (base / "GT" / f"{kind}_label_IET.pickle").write_bytes(pickle.dumps({"a": Calls(os.mkdir, str(mark))}))
    out = tmp_path / "dataset.csv"
    status, _, err = lad("prepare", "lad2000", "--layout", "released", "--root", str(tmp_path), "--out", str(out))
    assert status == 2
    assert "only plain data and numpy arrays are read" in err
    assert not mark.exists()


def test_features_and_scores_run_no_code(lad: Lad, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = np.empty(1, dtype=object)
    evil[0] = Calls(os.mkdir, str(mark))
    (tmp_path / "scores").mkdir()
    np.save(tmp_path / "a.npy", evil, allow_pickle=True)
    np.save(tmp_path / "scores" / "a.npy", evil, allow_pickle=True)
    (tmp_path / "scores" / "b.npy").write_bytes(pickle.dumps(evil[0]))  # which np.load takes for an array
    (tmp_path / "dataset.csv").write_text(
        "video,path,split,label,events,n_frames\na,a.npy,test,x,,16\nb,b.npy,test,y,0-8,16\n"
    )
    data = ("-o", f"data.dataset={tmp_path / 'dataset.csv'}", "--work", str(tmp_path / "work"))
    status, _, err = lad("extract", *TINY, *data)
    assert status == 1
    assert "not a plain .npy array" in err
    status, _, err = lad("evaluate", *data, "--scores", str(tmp_path / "scores"))
    assert status == 2
    assert "not a plain .npy array" in err
    assert not mark.exists()


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_a_device_or_a_pipe_is_no_video_and_hangs_nothing(lad, tmp_path, path):
    if path == "pipe":
        os.mkfifo(tmp_path / path)
    (tmp_path / "dataset.csv").write_text(f"video,path\na,{path}\n")
    work = str(tmp_path / "work")
    status, _, err = lad(
        "extract", "-o", "extract.backbone=tiny", "-o", f"data.dataset={tmp_path / 'dataset.csv'}", "--work", work
    )
    assert status == 1 and "not a regular file" in err


def test_a_work_directory_that_is_too_deep_for_its_manifest_says_so(lad, tmp_path, make_video):
    work = tmp_path.joinpath(*["w" * 100] * 6)
    status, _, err = lad("extract", *TINY, str(make_video(tmp_path / "a.mp4")), "--work", str(work))
    assert status == 2
    assert "choose a shorter work directory" in err and "Traceback" not in err
