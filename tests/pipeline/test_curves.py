"""The score curves of an evaluation, drawn by others: the same pictures, whoever draws them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lad.dataset import Video
from lad.engine import on_ray
from lad.engine.drawing import Drawing, ToDraw
from lad.engine.messages import Done, EngineError, Made, PoolEvent, Setup, Task
from lad.engine.ray_cluster import OnRay
from lad.evaluation.plots import draw_curves
from lad.evaluation.results import ScoredVideo
from lad.extract.jobs import Failed
from lad.pipeline.curves import draw_curves_on_ray

pytest.importorskip("matplotlib", reason="NO MATPLOTLIB: pip install 'lad-video[plots]'")

SCORED = [
    ScoredVideo(
        Video(name, Path(name), split="test"), np.arange(frames) < 9, np.linspace(0, 1, frames), frames / 25, (), None,
        np.zeros(0, int), np.arange(frames) / 25,
    )
    for name, frames in (("yard/a", 50), ("yard/b", 9000), ("gate", 1))
]  # fmt: skip


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.fixture
def here(tmp_path: Path) -> dict[str, bytes]:
    """What this process draws."""
    draw_curves(tmp_path / "here", SCORED, 0.5)
    return pictures(tmp_path / "here")


Events = Callable[..., Iterator[PoolEvent]]


def drawn_on_ray(monkeypatch: pytest.MonkeyPatch, folder: Path, events: Events) -> tuple[list[str], int]:
    """Draw the curves by an engine that says these events; returns what is said, and how many the bar counts."""
    said: list[str] = []
    counted: list[None] = []
    monkeypatch.setattr(on_ray, "draw_on_ray", events)
    draw_curves_on_ray(
        folder / "there",
        SCORED,
        0.5,
        asked=OnRay(),
        home=folder,
        stall_seconds=60,
        reporter=SimpleNamespace(say=said.append),  # type: ignore[arg-type]
        bar=SimpleNamespace(advance=lambda: counted.append(None)),  # type: ignore[arg-type]
    )
    return said, len(counted)


def test_an_actor_draws_the_picture_that_this_process_draws(here: dict[str, bytes]) -> None:
    actor = Drawing(Setup(versions={}))
    for one in SCORED:
        told = pickle.dumps(ToDraw(one, 0.5).packed())
        assert len(told) < 100_000, "however long a video is"
        found = actor.do(Task("a try", pickle.loads(told)))  # noqa: S301  (our own)
        (file,) = found.files.values()
        assert file.path.read_bytes() == here[f"{one.video.id}.png"]
    actor.close()
    assert not file.path.exists()


def test_what_came_to_nothing_elsewhere_is_drawn_here(
    here: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def events(jobs: Sequence[ToDraw], place: Callable[[str], Path], *_: Any, **options: Any) -> Iterator[PoolEvent]:
        draw_curves(tmp_path / "there", [jobs[0].video], jobs[0].threshold)
        assert place(jobs[0].item) == tmp_path / "there" / "yard" / "a.png"
        yield Made(jobs[0].item, Done("a try", {}), {})
        yield Failed(jobs[1].item, "worker", "its process died")
        raise EngineError("a: it has matplotlib 2\nb: it has matplotlib 3")

    said, counted = drawn_on_ray(monkeypatch, tmp_path, events)
    assert counted == len(SCORED)
    assert said == [
        "warning: the score curve of yard/b is drawn on this machine: its process died",
        "warning: score curves are drawn on this machine: a: it has matplotlib 2; b: it has matplotlib 3",
    ]
    assert pictures(tmp_path / "there") == here
