"""A detector that is somebody else's class: trained, scored, and never run unless the user names it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lad.detector.checkpoint import CheckpointError, load_checkpoint

Lad = Callable[..., tuple[int, str, str]]

SOURCE = """
import torch
from torch import nn

LOADED = []

class Loudest(nn.Module):
    \"\"\"The mean of a clip's features, and nothing else.\"\"\"

    def __init__(self, *, feature_dim, classes, window, hidden, dropout):
        super().__init__()
        LOADED.append(1)
        self.feature_dim, self.classes, self.window = feature_dim, classes, window
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.slope = nn.Parameter(torch.ones(classes + 1))

    def project(self, features):
        return ((features - self.feature_mean) / self.feature_std).mean(dim=1, keepdim=True) * self.slope

    def detect(self, projected):
        mean = projected.mean(dim=0)
        return mean[:, :-1], torch.sigmoid(mean[:, -1:]).expand(-1, 16 * self.window)

    def forward(self, windows):
        steps, batch = windows.shape[:2]
        return self.detect(self.project(windows.flatten(0, 1)).unflatten(0, (steps, batch)))
"""
NAME = "their_detector:Loudest"


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "theirs"
    place.mkdir()
    (place / "their_detector.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(place))
    yield place / "their_detector.py"
    sys.modules.pop("their_detector", None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    root = tmp_path_factory.mktemp("data")
    lines = ["video,path,split,label,events,source"]
    for number in range(6):
        make_video(root / f"{number}.mp4", 40, size=(64 + 2 * number, 48))
        split = "test" if number >= 4 else "train"
        lines.append(f"{number},{number}.mp4,{split},street,{'8-30' if number % 2 else ''},c{number // 2}")
    (root / "dataset.csv").write_text("\n".join(lines) + "\n")
    return root


def words(command: str, data: Path, work: Path, *more: str) -> list[str]:
    train = "train={window: 2, abnormal_windows: 2, normal_windows: 2, steps: 4, evaluate_every: 2, val_fraction: 0.5}"
    settings = ["data.dataset=dataset.csv", "extract.backbone=tiny", train, f"train.detector={NAME}", *more]
    options = [word for setting in settings for word in ("-o", setting)]
    return [command, "--data", str(data), "--work", str(work), "--device", "cpu", *options]


def test_a_class_from_outside_is_trained_and_scores(lad: Lad, theirs: Path, data: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    status, out, err = lad(*words("run", data, work))
    assert status == 0, err
    assert "frame AUC" in out
    assert load_checkpoint(work / "checkpoints" / "best.pt").outside == NAME


def test_editing_it_trains_it_anew(lad: Lad, theirs: Path, data: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert lad(*words("run", data, work))[0] == 0
    assert "train: nothing to do" in lad(*words("run", data, work))[1]
    theirs.write_text(SOURCE + "\n# another\n", encoding="utf-8")
    assert "train: 1 done" in lad(*words("run", data, work))[1]


def test_a_checkpoint_runs_no_code_that_the_user_did_not_name(
    lad: Lad, theirs: Path, data: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    assert lad(*words("run", data, work))[0] == 0
    best = work / "checkpoints" / "best.pt"
    sys.modules.pop("their_detector")
    score = ["score", "--checkpoint", str(best), str(data / "0.mp4"), "--work", str(tmp_path / "other")]
    status, _, err = lad(*score)
    assert status == 2
    assert f"say -o train.detector={NAME}" in err
    assert "their_detector" not in sys.modules
    with pytest.raises(CheckpointError, match="outside of lad"):
        load_checkpoint(best).detector()
    status, _, err = lad(*score, "-o", f"train.detector={NAME}")
    assert status == 0, err


@pytest.mark.parametrize("name", ["no_such_module:Class", "json:NoSuchClass"])
def test_a_class_that_is_not_there_is_one_line(name: str, lad: Lad, data: Path, tmp_path: Path) -> None:
    status, _, err = lad(*words("train", data, tmp_path / "work", f"train.detector={name}"))
    assert status == 2
    assert "train.detector" in err.splitlines()[-1]
