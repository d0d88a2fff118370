"""What `extract.motion` promises in a work directory: a file of its own, made when it is missing, part of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.projects import opened
from helpers.videos import write_video

import lad
from lad.config import Config, ConfigError, load_config
from lad.extract.motion import DIM
from lad.pipeline.reporter import StageResult

FRAMES = 40


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "videos" / "a.mp4", FRAMES)


def extract(video: Path, work: Path, *options: str) -> StageResult:
    config: Config = load_config(None, ["extract.backbone=tiny", f"data.root={video.parent}", *options])
    with opened(config, work) as run:
        (result,) = run.run("extract")
    assert not result.failed
    return result


def test_motion_lies_beside_the_streams_and_comes_without_a_network_too(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "both", "extract.motion=true")
    motion = np.load(tmp_path / "both/features/motion/a.npy")
    assert motion.shape == (3, DIM) and motion.dtype == np.float32
    assert (tmp_path / "both/features/rgb/a.npy").is_file()
    extract(video, tmp_path / "alone", "extract.motion=true", "extract.streams=[]")
    assert sorted(path.name for path in (tmp_path / "alone/features").iterdir()) == ["motion", "times"]
    assert np.array_equal(np.load(tmp_path / "alone/features/motion/a.npy"), motion)


def test_motion_is_added_to_features_that_are_there(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "work")
    rgb = tmp_path / "work/features/rgb/a.npy"
    made = rgb.stat().st_mtime_ns
    assert extract(video, tmp_path / "work", "extract.motion=true").done == 1
    assert (tmp_path / "work/features/motion/a.npy").is_file()
    assert rgb.stat().st_mtime_ns == made
    assert extract(video, tmp_path / "work", "extract.motion=true").skipped == 1


def test_the_library_gives_motion_beside_the_streams(video: Path) -> None:
    features = lad.extract_features(video, backbone="tiny", motion=True)
    assert features["rgb"].shape == (3, 128) and features["motion"].shape == (3, DIM)


def test_no_stream_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"extract\.motion=true"):
        load_config(None, ["extract.streams=[]"])
