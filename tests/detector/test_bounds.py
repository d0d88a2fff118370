"""What a checkpoint may ask of a machine: no more memory, threads or work than it has to give, unless its user says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.detectors import write_detector

import lad as library
from lad.config import ConfigError, load_config
from lad.detector import bounds, checkpoint
from lad.detector.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, scoring_config

Lad = Callable[..., tuple[int, str, str]]
GIB = 1 << 30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 8 GiB and 4 cores."""
    monkeypatch.setattr(bounds, "machine_memory", lambda: 8 * GIB)
    monkeypatch.setattr(checkpoint, "cores", lambda: 4)


def asking(path: Path, **changed: Any) -> Path:
    """A detector whose checkpoint has other values in its configuration: dotted keys, `__` for the dot."""
    write_detector(path)
    made = load_checkpoint(path)
    assert made.config is not None
    for key, value in changed.items():
        section, _, name = key.rpartition("__")
        (made.config[section] if section else made.config)[name] = value
    save_checkpoint(path, made)
    return path


def test_what_a_detector_usually_asks_for_is_given(tmp_path: Path) -> None:
    usual = {"extract__rgb_short_side": 360, "extract__context": "batch", "extract__backbone": "i3d"}
    config = scoring_config(asking(tmp_path / "best.pt", **usual), [])
    assert config.extract.rgb_short_side == 360 and config.extract.context == "batch"
    crops = {"extract__crops": 10, "extract__clip_stride": 4, "extract__backbone": "i3d"}
    assert scoring_config(asking(tmp_path / "best.pt", **crops), []).extract.crops == 10


def test_more_memory_than_half_of_the_machine_is_refused_with_what_allows_it(tmp_path: Path) -> None:
    path = asking(tmp_path / "best.pt", extract__batch_clips=1024, extract__rgb_short_side=1024)
    with pytest.raises(CheckpointError) as caught:
        scoring_config(path, [])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: its features (batch_clips 1024, rgb_short_side 1024) would take ")
    assert "it may take 4: if you trust it, allow more with -o score.max_memory=" in line
    allowed = line.rpartition(" ")[2]
    assert scoring_config(path, [allowed]).extract.batch_clips == 1024
    less = ["extract.batch_clips=2", "extract.rgb_short_side=256"]
    assert scoring_config(path, less).extract.batch_clips == 2


def test_a_checkpoint_cannot_allow_itself_more_memory(tmp_path: Path) -> None:
    path = asking(tmp_path / "best.pt", extract__batch_clips=1024, score__max_memory=1000)
    with pytest.raises(CheckpointError, match=r"-o score\.max_memory="):
        scoring_config(path, [])


def test_more_work_than_64_times_the_usual_is_refused_unless_the_user_says_so(tmp_path: Path) -> None:
    path = asking(tmp_path / "best.pt", extract__fps=1000, extract__clip_stride=1, extract__crops=10)
    with pytest.raises(CheckpointError) as caught:
        scoring_config(path, [])
    (line,) = str(caught.value).splitlines()
    assert "would take 6400 times the usual work for each second of video" in line
    own = [word for word in line.split() if word.startswith("extract.")]
    assert own == ["extract.fps=1000.0", "extract.clip_stride=1", "extract.crops=10"]
    assert scoring_config(path, own).extract.fps == 1000
    assert scoring_config(path, ["extract.fps=25", "extract.clip_stride=16"]).extract.crops == 10


def test_what_the_user_asks_for_himself_is_given(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "best.pt")
    overrides = ["extract.batch_clips=1024", "extract.rgb_short_side=1024", "threads=64"]
    config = scoring_config(path, overrides)
    assert (config.extract.batch_clips, config.extract.rgb_short_side, config.threads) == (1024, 1024, 64)


@pytest.mark.parametrize(("asked", "given"), [(1024, 4), (3, 3), (None, None)])
def test_threads_beyond_the_cores_are_not_obeyed(tmp_path: Path, asked: int | None, given: int | None) -> None:
    assert scoring_config(asking(tmp_path / "best.pt", threads=asked), []).threads == given


def test_the_command_and_the_library_refuse_in_one_line(lad: Lad, tmp_path: Path) -> None:
    path = asking(tmp_path / "best.pt", extract__batch_clips=1024, extract__rgb_short_side=1024)
    status, _, err = lad("score", "--checkpoint", str(path), "--work", str(tmp_path / "work"), "none.mp4")
    assert status == 2 and err.count("\n") == 1 and err.startswith(f"error: {path}: its features")
    assert not (tmp_path / "work").exists()
    with pytest.raises(library.CheckpointError, match="would take"):
        library.load(path, device="cpu")
    assert library.load(path, device="cpu", max_memory=1000).classes


# Keys that are no more


def test_a_key_that_is_no_more_is_read_and_the_user_is_told_of_his_own(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("extract:\n  backbone: tiny\n  runtime: openvino\n", encoding="utf-8")
    said: list[str] = []
    config = load_config(path, ["extract.runtime=torch", "workers=3"], say=said.append)
    assert (config.extract.backbone, config.workers) == ("tiny", 3)
    assert said == [
        f"{path}:3: extract.runtime is no more: torch runs every network by now",
        "-o extract.runtime=torch: extract.runtime is no more: torch runs every network by now",
    ]
    with pytest.raises(ConfigError, match=r"unknown key 'extract\.runtimes'"):
        load_config(None, ["extract.runtimes=torch"])


def test_a_checkpoint_with_a_key_that_is_no_more_is_read_without_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    path = asking(tmp_path / "best.pt", extract__runtime="openvino")
    assert scoring_config(path, [], say=said.append).extract.backbone == "tiny"
    assert said == []


def test_the_command_says_of_such_a_key_that_it_is_no_more(
    lad: Lad, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    video = str(make_video(tmp_path / "clip.mp4", 20))
    words = ["extract", "-o", "extract.backbone=tiny", "-o", "extract.runtime=openvino"]
    status, _, err = lad(*words, "--device", "cpu", "--work", str(tmp_path / "work"), video)
    assert status == 0
    assert err.startswith("-o extract.runtime=openvino: extract.runtime is no more")
    assert "cpu, float32" in err
