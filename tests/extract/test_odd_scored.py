"""Names and links of every kind, and a folder of all odd videos that people have, scored by one command."""

from __future__ import annotations

import csv
import inspect
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.reading import read_to_the_end
from helpers.videos import frame_folder, numbered_frame, write_video

from lad.config import load_config
from lad.dataset import DatasetError, is_safe_id, read_dataset
from lad.detector.checkpoint import Checkpoint, save_checkpoint
from lad.finding import find_videos, video_ids
from lad.models.aed import AED

pytestmark = pytest.mark.slow

QUIET_X265 = {"x265-params": "log-level=none"}
VFR = [0, 40, 200, 240, 1000]  # milliseconds


# Names and links ------------------------------------------------------------------------------------------------------


LONG_NAMES = ["y" * 251 + ".mp4", "z" * 252 + ".ts", "ö" * 125 + "x.mp4", "日" * 83 + "xx.mp4"]


def test_the_longest_names_have_ids_that_are_names_too(tmp_path: Path) -> None:
    names = [*LONG_NAMES, "z" * 252 + ".qt", "summary.mp4"]
    for root in (tmp_path, None):
        found = video_ids([tmp_path / name for name in names], root)
        assert len(set(found)) == len(names)
        for video_id in found:
            assert is_safe_id(video_id)
            (tmp_path / f"{video_id}.npy").write_bytes(b"")  # or: File name too long


def test_an_id_too_long_for_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_text(f"video,path\n{'y' * 251},a.mp4\nb/{'y' * 251},a.mp4\n")
    assert len(read_dataset(path)) == 2
    path.write_text(f"video,path\n{'y' * 252},a.mp4\n")
    with pytest.raises(DatasetError, match="251 bytes"):
        read_dataset(path)


def ids_below(folder: Path) -> list[str]:
    return [video.id for video in find_videos([str(folder)], folder)]


def test_links_to_videos_elsewhere_are_videos_and_each_video_is_taken_once(tmp_path: Path) -> None:
    """A link is what it leads to, under its own name, unless that is there by another one."""
    (tmp_path / "all").mkdir()
    write_video(tmp_path / "all" / "a.mp4", 3)
    frame_folder(tmp_path / "all" / "seq", ["1.png", "2.png"])
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "linked.mp4").symlink_to(tmp_path / "all" / "a.mp4")
    (tmp_path / "view" / "sequence").symlink_to(tmp_path / "all" / "seq")
    found = find_videos([str(tmp_path / "view")], tmp_path / "view")
    counts = {video.id: len(read_to_the_end(video.path)[0]) for video in found}
    assert counts == {"linked": 3, "sequence": 2}
    assert ids_below(tmp_path) == ["all/a", "all/seq"]
    (tmp_path / "view" / "folder").symlink_to("../all")
    assert len(ids_below(tmp_path / "view")) == 2


def test_folders_in_folders_without_end_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "/".join(["top", *["d"] * 250])).mkdir(parents=True)
    usual = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack()) + 200)
        with pytest.raises(DatasetError, match="top: holds folders in folders without end"):
            find_videos([str(tmp_path / "top")])
    finally:
        sys.setrecursionlimit(usual)


def test_links_that_lead_back_are_not_followed_for_ever(tmp_path: Path) -> None:
    """Each video once. Two such links would otherwise be 2^40 folders."""
    root = tmp_path / "root"
    (root / "gate").mkdir(parents=True)
    for name in ("a.mp4", "gate/b.mp4"):
        (root / name).write_bytes(b"x")
    (root / "loop").symlink_to(root)
    (root / "again").symlink_to(".")
    (root / "gate" / "up").symlink_to("..")
    assert ids_below(root) == ["a", "gate/b"]


# Scores ---------------------------------------------------------------------------------------------------------------


@dataclass
class Scored:
    """What one `lad score` of a folder of odd things left."""

    status: int
    data: dict[str, Any]
    err: str
    work: Path

    def table(self, video_id: str) -> np.ndarray:
        """`(frames, 2)`: time and score."""
        with (self.work / "scores" / f"{video_id}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
        return np.array([[float(row["time"]), float(row["score"])] for row in rows])

    def clips(self, video_id: str) -> int:
        return len(np.load(self.work / "features" / "rgb" / f"{video_id}.npy", allow_pickle=False))


# id -> file, how it is encoded, frames
ODD_VIDEOS: dict[str, tuple[str, dict[str, Any], int]] = {
    **{f"short/{count}": (f"short/{count}.mp4", {}, count) for count in (1, 2, 15, 16, 17)},
    "vfr": ("vfr.mkv", {"pts": VFR}, 5),
    "phone": ("phone.mp4", {"size": (96, 128), "rotation": 90}, 18),
    "interlaced": ("interlaced.ts", {"codec_options": {"flags": "+ilme+ildct", "x264-params": "tff=1"}}, 18),
    "ten-bit": ("ten-bit.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "codec_options": QUIET_X265}, 18),
    "grey": ("grey.mkv", {"codec": "ffv1", "pix_fmt": "gray"}, 18),
    "odd": ("odd.webm", {"codec": "libvpx-vp9", "size": (67, 51)}, 18),
    "16x16": ("16x16.mp4", {"size": (16, 16)}, 18),
    "stream": ("stream.mjpeg", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}, 18),
    "live": ("live.mkv", {"container_options": {"live": "1"}}, 18),
    "loud": ("loud.mkv", {"audio": True}, 2),  # 0.13 s of sound, 0.08 s of picture
    'it\'s "quoted", a  b': ('it\'s "quoted", a  b.mp4', {}, 3),
    "камера-日本 🎥": ("камера-日本 🎥.mp4", {}, 4),
    "[red]not [/markup]": ("[red]not [/markup].mp4", {}, 5),
    "cam1/a": ("cam1/a.mp4", {}, 6),
    "cam2/a": ("cam2/a.mp4", {}, 7),
    "door.mp4": ("door.mp4", {}, 8),
    "door.avi": ("door.avi", {"codec": "mpeg4"}, 9),
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """A folder of odd things, scored by one command with the tiny backbone and a detector that learned nothing."""
    base = tmp_path_factory.mktemp("odd")
    root, work = base / "videos", base / "work"
    for file, how, frames in ODD_VIDEOS.values():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        write_video(root / file, frames, **how)
    (root / "long").mkdir()
    for name in LONG_NAMES:
        write_video(base / "plain.mp4", 3)
        (base / "plain.mp4").rename(root / "long" / name)
    frame_folder(root / "long" / ("f" * 255), ["1.png", "2.png"])
    frame_folder(root / "door", ["1.png", "2.png"])
    frame_folder(root / "gaps", ["001.png", "003.png", "010.png"])
    cv2.imwrite(str(frame_folder(root / "mixed", ["1.jpg", "2.JPG"]) / "3.png"), numbered_frame(2, (80, 40)))
    (frame_folder(root / "corrupt", [f"{number}.png" for number in range(5)]) / "3.png").write_bytes(b"rubbish")
    (root / "link.mp4").symlink_to("cam1/a.mp4")
    (root / "back").symlink_to(root)
    (root / "dangling.mp4").symlink_to("nowhere.mp4")
    (root / "own tail.mp4").symlink_to("own tail.mp4")

    overrides = ["extract.backbone=tiny", "extract.streams=[rgb]", "train.window=2", "threads=1"]
    config = load_config(None, overrides).model_dump(mode="json")
    torch.manual_seed(0)
    detector = AED(feature_dim=128, classes=2, window=2, hidden=4)
    weights = {"rgb": "random:tiny:rgb:seed=0"}
    checkpoint = Checkpoint(model=detector.state_dict(), classes=["run", "walk"], config=config, weights=weights)
    save_checkpoint(base / "best.pt", checkpoint)
    command = [sys.executable, "-m", "lad", "score", "--json", "--checkpoint", str(base / "best.pt")]
    command += ["--work", str(work), "--data", str(root), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return Scored(done.returncode, json.loads(done.stdout), done.stderr, work)


@pytest.mark.parametrize("video_id", ODD_VIDEOS)
def test_scores_are_as_long_as_the_video(video_id: str, scored: Scored) -> None:
    _, how, frames = ODD_VIDEOS[video_id]
    table = scored.table(video_id)
    times = np.array(how["pts"]) / 1000 if "pts" in how else np.arange(frames) / 25
    assert table[:, 0] == pytest.approx(times, abs=0.002)
    assert np.all((table[:, 1] > 0) & (table[:, 1] < 1))
    assert scored.clips(video_id) == -(-frames // 16)
    assert scored.data["scores"][video_id]["frames"] == frames
    assert scored.data["scores"][video_id]["warnings"] == []


def test_scores_of_frame_folders_are_as_long_as_they_have_images(scored: Scored) -> None:
    for video_id, frames in {"gaps": 3, "mixed": 3, "corrupt": 5, "door": 2}.items():
        assert scored.table(video_id)[:, 0] == pytest.approx(np.arange(frames) / 25, abs=0.002)
    (warning,) = scored.data["scores"]["corrupt"]["warnings"]
    assert "1 images cannot be read" in warning
    assert "3.png" in warning


def test_the_longest_names_are_scored_under_shorter_ones(scored: Scored) -> None:
    found = {
        video_id: info["frames"] for video_id, info in scored.data["scores"].items() if video_id not in known_ids()
    }
    assert sorted(found.values()) == [2, 3, 3, 3, 3]
    for video_id, frames in found.items():
        assert len(scored.table(video_id)) == frames
    # What fits keeps its place and its name; what does not is cut short and told apart by a hash.
    assert "long/" + "y" * 251 in found
    assert [video_id[:233] for video_id in found if video_id.startswith("z")] == ["z" * 233]


def known_ids() -> set[str]:
    return {*ODD_VIDEOS, "door", "gaps", "mixed", "corrupt"}


def test_a_link_to_a_video_that_is_there_by_its_name_is_no_second_one(scored: Scored) -> None:
    assert "link" not in scored.data["scores"] and "link.mp4 is " in scored.err


def test_links_that_lead_nowhere_fail_alone(scored: Scored) -> None:
    assert scored.status == 1
    failed = [line for line in scored.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2, scored.err
    assert "dangling.mp4: cannot be read: No such file" in failed[0]
    assert "own tail.mp4: cannot be read: Too many levels" in failed[1]
    assert len(scored.data["scores"]) == len(known_ids()) + len(LONG_NAMES) + 1, "the rest is scored, and nothing twice"


def test_the_summary_names_every_video_as_it_is_called(scored: Scored) -> None:
    with (scored.work / "scores" / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {*scored.data["scores"], "dangling", "own tail"}
    assert all(rows[video_id]["frames"] == str(frames) for video_id, (_, _, frames) in ODD_VIDEOS.items())
    assert "No such file" in rows["dangling"]["error"]
