"""Files that are altered behind lad's back: whoever reads them notices, and nothing that was made from them stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.projects import opened

from lad.config import load_config
from lad.features.recipe import EXTRACT
from lad.pipeline.export import export_released
from lad.pipeline.reporter import StageError
from lad.work.manifest import read_manifest

CONFIG = """
data: {{dataset: dataset.csv, root: {root}}}
extract: {{backbone: tiny, streams: [rgb]}}
train: {{window: 2, hidden: 4, abnormal_windows: 1, normal_windows: 1, steps: 4, evaluate_every: 2}}
workers: 1
threads: 1
"""
ROWS = ["video,path,split,label,events", "0,0.mp4,train,run,4-30", "1,1.mp4,val,run,8-20", "2,2.mp4,test,run,2-19"]
STAGES = ("extract", "train", "score", "evaluate")


class Place:
    """A configuration and a work directory."""

    def __init__(self, config: Path, work: Path) -> None:
        self.config, self.work = load_config(config, []), work

    def run(self, *stages: str, verify: bool = False) -> list[int]:
        """How many items each stage did."""
        with opened(self.config, self.work, verify=verify) as project:
            results = project.run(*stages)
        assert not any(result.failed for result in results)
        return [result.done for result in results]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    root = tmp_path_factory.mktemp("data")
    for number in range(3):
        make_video(root / f"{number}.mp4", 33 + 16 * number)
    (root / "dataset.csv").write_text("\n".join(ROWS) + "\n")
    (root / "small.yaml").write_text(CONFIG.format(root=root))
    return root / "small.yaml"


@pytest.fixture(scope="module")
def finished(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("finished") / "work"
    assert Place(config, work).run(*STAGES) == [3, 1, 3, 1]
    return work


@pytest.fixture
def place(config: Path, finished: Path, tmp_path: Path) -> Place:
    return Place(config, Path(shutil.copytree(finished, tmp_path / "work")))


def alter(path: Path, *, keep_time: bool) -> None:
    """Other numbers of the same size; the file stays one that can be read."""
    before = path.stat()
    if path.suffix == ".npy":
        array = np.load(path)
        np.save(path, array[..., ::-1] + 1)
    elif path.suffix == ".csv":
        lines = path.read_bytes().splitlines(keepends=True)
        scores = [line.split(b",") for line in lines[1:]]
        width = min(len(cells[2]) for cells in scores)
        altered = [[*cells[:2], (b"0." + b"9" * 9)[:width].ljust(len(cells[2]), b"0"), *cells[3:]] for cells in scores]
        path.write_bytes(lines[0] + b"".join(map(b",".join, altered)))
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert path.stat().st_size == before.st_size
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("stage", ["train", "score", "evaluate", "export"])
@pytest.mark.parametrize("how", ["time changed", "time kept, --verify"])
def test_altered_features_are_noticed_by_whoever_reads_them(place: Place, stage: str, how: str, tmp_path: Path) -> None:
    keep = how != "time changed"
    for number in range(3):
        alter(place.work / f"features/rgb/{number}.npy", keep_time=keep)
    with pytest.raises(StageError, match=r"the features of . videos are not as lad made them.*run `lad extract` first"):
        if stage == "export":
            with opened(place.config, place.work, verify=keep) as project:
                export_released(*project, tmp_path / "exported")
        else:
            place.run(stage, verify=keep)
    assert not (tmp_path / "exported").exists()


def test_what_was_made_from_altered_features_is_made_anew_once_they_are_mended(place: Place, finished: Path) -> None:
    assert place.run(*STAGES) == [0, 0, 0, 0], "the copied files are known from now on"
    alter(place.work / "features/rgb/2.npy", keep_time=True)
    (place.work / "scores/2.csv").unlink()
    assert place.run("score") == [1], "without --verify nobody could notice"
    wrong = (place.work / "scores/2.csv").read_bytes()
    assert wrong != (finished / "scores/2.csv").read_bytes()
    assert place.run("evaluate") == [1]
    assert place.run(*STAGES, verify=True) == [1, 0, 1, 1]
    for name in ("features/rgb/2.npy", "scores/2.csv", "metrics.json"):
        assert (place.work / name).read_bytes() == (finished / name).read_bytes(), name
    assert place.run(*STAGES, verify=True) == [0, 0, 0, 0]


def test_a_detector_that_learned_from_altered_features_learns_anew(place: Place, finished: Path) -> None:
    assert place.run(*STAGES) == [0, 0, 0, 0], "the copied files are known from now on"
    alter(place.work / "features/rgb/0.npy", keep_time=True)
    shutil.rmtree(place.work / "checkpoints")
    assert place.run("train", "score") == [1, 3]
    assert place.run(*STAGES, verify=True) == [1, 1, 3, 1]
    assert (place.work / "scores/2.csv").read_bytes() == (finished / "scores/2.csv").read_bytes()


@pytest.mark.parametrize("verify", [False, True])
def test_altered_scores_are_not_evaluated(place: Place, verify: bool) -> None:
    alter(place.work / "scores/2.csv", keep_time=verify)
    with pytest.raises(StageError, match=r"scores/2\.csv: not as lad made it, or gone: run `lad score` first"):
        place.run("evaluate", verify=verify)


def test_metrics_of_altered_scores_are_made_anew(place: Place, finished: Path) -> None:
    assert place.run(*STAGES) == [0, 0, 0, 0], "the copied files are known from now on"
    (place.work / "metrics.json").unlink()
    alter(place.work / "scores/2.csv", keep_time=True)
    assert place.run("evaluate") == [1]
    assert (place.work / "metrics.json").read_bytes() != (finished / "metrics.json").read_bytes()
    assert place.run(*STAGES, verify=True) == [0, 0, 1, 1]
    assert (place.work / "metrics.json").read_bytes() == (finished / "metrics.json").read_bytes()


@pytest.mark.parametrize("verify", [False, True])
def test_an_altered_detector_scores_nothing_until_it_is_trained_anew(place: Place, verify: bool) -> None:
    alter(place.work / "checkpoints/best.pt", keep_time=verify)
    with pytest.raises(StageError, match=r"best\.pt: not as lad made it: run `lad train` again"):
        place.run("score", verify=verify)
    assert place.run(*STAGES, verify=verify) == [0, 1, 3, 1], "scores may be of the altered one"
    assert place.run(*STAGES, verify=True) == [0, 0, 0, 0]


def test_a_copied_work_directory_is_hashed_once_and_nothing_is_done_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in place.work.rglob("*.*"):
        os.utime(path, ns=(1, 1))
    assert place.run(*STAGES) == [0, 0, 0, 0]
    monkeypatch.setattr("lad.work.contents.file_sha256", lambda path: pytest.fail(f"{path} was hashed again"))
    assert place.run(*STAGES) == [0, 0, 0, 0]


def test_a_rebuilt_manifest_knows_that_features_were_altered(place: Place) -> None:
    from lad.work.rebuild import rebuild_manifest

    alter(place.work / "features/rgb/2.npy", keep_time=True)
    assert rebuild_manifest(place.work).dropped == ["extract rgb/2"]
    assert place.run(*STAGES) == [1, 0, 1, 1]
    with read_manifest(place.work) as manifest:
        row = manifest.get(EXTRACT, "rgb/2")
    assert row is not None
    assert (row.status, row.repairs) == ("done", 1)
