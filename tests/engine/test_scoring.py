"""Videos scored in an actor, without Ray: the same function as in the process of `lad score`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.detectors import write_detector

from lad.config import load_config
from lad.detector.checkpoint import CheckpointError, load_checkpoint
from lad.detector.known_camera import Camera
from lad.detector.score_video import ScoreSettings, ToKnow, ToScore, VideoScorer
from lad.detector.scoring import EventRule
from lad.device import repeatable
from lad.engine.messages import Doing, Known, Result, Scored, Task, Unseen
from lad.engine.ray_cluster import OnRay
from lad.engine.scoring import Scoring, packed, setup_of
from lad.errors import LadError
from lad.extract.jobs import Failed, Started
from lad.features.recipe import make_recipe
from lad.features.video import VideoFeatures
from lad.pipeline.score_engine import ScoreEngine

EXTRACT = ["extract.backbone=tiny", "extract.streams=[rgb]"]
RECIPE = make_recipe(load_config(None, EXTRACT).extract, device="cpu", threads=1)
SETTINGS = ScoreSettings(RECIPE, 1, "mean", None, None, ["fall", "fight"], EventRule(), "linear")
KNOWN = {"usual": -3.0, "slope": 1.0, "offset": 0.0}


@pytest.fixture
def video(tmp_path: Path) -> VideoFeatures:
    """Features of a video of 40 clips, and the times of its frames."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "rgb.npy", rng.standard_normal((40, 128)).astype(np.float32))
    np.save(tmp_path / "times.npy", np.arange(640) / 25)
    return VideoFeatures([tmp_path / "rgb.npy"], tmp_path / "times.npy", 640, 25.0)


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    return write_detector(tmp_path / "best.pt", known_cameras=KNOWN)


@pytest.fixture
def actor(detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scoring]:
    """What an actor does; blocks stand for themselves. Its temporary files are in `scratch`."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    found = Scoring(told(setup_of(SETTINGS, detector, looks=False)), fetch=lambda block: block)
    yield found
    found.close()
    assert not list((tmp_path / "scratch").iterdir()), "nothing stays"


def told(what: Any) -> Any:
    """What arrives in another process."""
    return pickle.loads(pickle.dumps(what))  # noqa: S301  (our own)


def do(actor: Scoring, job: Any, *, sent: bool = False) -> Result | Unseen:
    """Give an actor a job as Ray would."""
    return actor.do(told(Task("a try", packed(job, bytes if sent else None))))


def scored_here(detector: Path, job: ToScore, csv: Path) -> dict[str, Any]:
    with repeatable("cpu", SETTINGS.threads):
        return VideoScorer(SETTINGS, lambda: load_checkpoint(detector), detector).score(job, csv)


@pytest.mark.parametrize("sent", [False, True])
def test_an_actor_makes_the_bytes_that_the_command_makes(
    actor: Scoring, detector: Path, video: VideoFeatures, tmp_path: Path, sent: bool
) -> None:
    job = ToScore("yard/1", video, known=Camera(30.0, -2.0))
    found = do(actor, job, sent=sent)
    assert isinstance(found, Scored)
    info = scored_here(detector, job, tmp_path / "here.csv")
    (file,) = found.files.values()
    assert file.path.read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert found.info == info and info["frames"] == 640 and info["events"]
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name], "what was sent is gone"


def test_what_is_another_file_where_the_actor_is_has_to_be_sent(actor: Scoring, video: VideoFeatures) -> None:
    job = packed(ToScore("yard/1", video), None)
    one = job.inputs[0]
    for other in (
        replace(one, path=one.path.with_name("no.npy")),
        replace(one, stamp=(one.stamp[0], one.stamp[1] + 1)),
    ):
        task = Task("a try", replace(job, inputs=[other, *job.inputs[1:]]))
        assert actor.do(task) == Unseen("a try")


def test_a_camera_is_known_as_it_is_known_here(actor: Scoring, detector: Path, video: VideoFeatures) -> None:
    job, scorer = ToKnow("yard/1", video), VideoScorer(SETTINGS, lambda: load_checkpoint(detector), detector)
    with repeatable("cpu", SETTINGS.threads):
        known = scorer.get_to_know(job)
    assert do(actor, job) == Known("a try", {}, known) and known.clips == 40


def test_a_video_that_cannot_be_scored_has_failed_by_its_content(actor: Scoring, video: VideoFeatures) -> None:
    np.save(video.paths[0], np.full((40, 128), np.inf, np.float32))
    found = do(actor, ToScore("yard/1", video))
    assert isinstance(found, Failed) and found.failure == "content" and "not finite" in found.error


def test_features_of_another_length_are_said_to_be_that(actor: Scoring, detector: Path, video: VideoFeatures) -> None:
    np.save(video.paths[0], np.zeros((40, 64), np.float32))
    found = do(actor, ToScore("yard/1", video))
    assert isinstance(found, Failed) and found.failure == "content"
    assert found.error == f"{detector}: made for features of 128 numbers a clip, these have 64 (rgb)"


def test_features_that_are_damaged_on_the_way_may_be_whole_elsewhere(actor: Scoring, video: VideoFeatures) -> None:
    job = packed(ToScore("yard/1", video), bytes)
    broken = replace(job, inputs=[replace(job.inputs[0], blocks=[b"no array"]), *job.inputs[1:]])
    found = actor.do(Task("a try", broken))
    assert isinstance(found, Failed) and found.failure == "io"


def test_a_file_that_became_empty_is_no_file_that_was_not_sent(actor: Scoring, video: VideoFeatures) -> None:
    video.paths[0].write_bytes(b"")
    found = do(actor, ToScore("yard/1", video), sent=True)
    assert isinstance(found, Failed) and found.failure == "io"


def test_a_detector_that_a_node_cannot_build_is_said_before_its_first_video(
    detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: no kernel image")

    monkeypatch.setattr("lad.detector.score_video.make_scorer", broken)
    with pytest.raises(RuntimeError, match="no kernel image"):
        Scoring(setup_of(SETTINGS, detector, looks=False))


def test_an_actor_that_is_closed_writes_nothing_more(actor: Scoring, video: VideoFeatures) -> None:
    actor.close()
    found = do(actor, ToScore("yard/1", video))
    assert isinstance(found, Failed) and found.failure == "io"


def test_of_several_videos_one_that_cannot_be_scored_fails_alone_here_too(
    detector: Path, video: VideoFeatures, tmp_path: Path
) -> None:
    def other(name: str, rows: np.ndarray | bytes) -> VideoFeatures:
        path = tmp_path / f"{name}.npy"
        path.write_bytes(rows) if isinstance(rows, bytes) else np.save(path, rows)
        return replace(video, paths=[path])

    work = SimpleNamespace(scores=lambda name: tmp_path / f"{name}.csv")
    engine = ScoreEngine(VideoScorer(SETTINGS, lambda: load_checkpoint(detector), detector), work, None, 60, print)  # type: ignore[arg-type]
    jobs = [
        ToScore("first", video),
        ToScore("short", other("short", np.zeros((40, 64), np.float32))),
        ToScore("damaged", other("damaged", b"no array")),
        ToScore("last", video),
    ]
    ends = [event for event in engine.run(jobs) if not isinstance(event, Started)]
    assert [(one.item, getattr(one, "failure", "done")) for one in ends] == [
        *(("first", "done"), ("short", "content"), ("damaged", "io"), ("last", "done")),
    ]
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "last.csv").read_bytes()


def test_it_says_how_far_it_is(actor: Scoring, video: VideoFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Doing] = []
    score = VideoScorer.score

    def watched(self: VideoScorer, job: ToScore, csv: Path, on_part: Any) -> dict[str, Any]:
        on_part(0.5)
        seen.extend(actor.doing())
        return score(self, job, csv, on_part)

    monkeypatch.setattr(VideoScorer, "score", watched)
    do(actor, ToScore("yard/1", video))
    assert seen == [Doing("a try", 20)] and not actor.doing()


def test_the_versions_of_what_computes_scores_are_compared_and_no_others(detector: Path) -> None:
    assert set(setup_of(SETTINGS, detector, looks=True).versions) == {"lad", "torch", "numpy"}


def test_a_class_of_the_users_own_has_to_be_the_same_one(
    detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "code")
    (tmp_path / "code").mkdir()
    code = tmp_path / "code" / "my_detector.py"
    code.write_text("class Mine: ...\n")
    setup = setup_of(replace(SETTINGS, allowed="my_detector:Mine"), detector, looks=False)
    Scoring(setup).close()
    code.write_text("class Mine: changed = True\n")
    with pytest.raises(LadError, match="its class my_detector:Mine is another one: install the same on all nodes"):
        Scoring(setup)


def test_a_detector_of_other_features_is_refused_before_an_actor_starts(detector: Path, video: VideoFeatures) -> None:
    np.save(video.paths[0], np.zeros((40, 64), np.float32))
    scorer = VideoScorer(SETTINGS, lambda: load_checkpoint(detector), detector)
    engine = ScoreEngine(scorer, None, OnRay("nowhere"), 60, print)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="128 numbers a clip, these have 64"):
        next(engine.run([ToScore("yard/1", video)]))
