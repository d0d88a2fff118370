"""What weaker labels cost: the same training videos with intervals, with a click an event, and with labels of videos.

    python -m benchmarks.label_kinds [--only ped2 surveillance ur_fall] [--data DIR] [--page docs/training.md]

A row is `lad train` and `lad score` on the configuration of the set, with other labels for the videos that teach; "from
the start": with features relative to the first clip of their video. Test videos keep their intervals, and nothing is
chosen by them. A click is a frame of the event at random, by five seeds.
Features are made once, in runs/label_kinds/<set>, and so is each row until its configuration, labels or code change.
The tables replace the marked part of the page.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.accuracy_rows import ROOT
from benchmarks.page import between
from lad.config import Config, load_config
from lad.console import ConsoleReporter
from lad.dataset import Video
from lad.evaluation.bootstrap import Measured, interval, resampled
from lad.evaluation.metrics import roc_auc
from lad.events import WEAK, AnyEvent, Click, Event
from lad.files import fingerprint, write_json
from lad.pipeline.facts import pairs
from lad.pipeline.project import Asked, Project
from lad.pipeline.run import open_project, ready_recipe, run_stages
from lad.pipeline.scored import read_scores
from lad.pipeline.train import CLICKS_CODE
from lad.pipeline.train import CODE_VERSION as TRAIN_CODE
from lad.tables import markdown_table

WORK = Path("runs/label_kinds")
CLICK_SEEDS = range(5)
MIL = ("train.detector=mil", "train.dropout=0.5")  # as in configs/*-weak.yaml


@dataclass(frozen=True)
class Set:
    """Videos with intervals.

    Attributes:
        title: of the table's column.
        folder: below `--data`.
        config: name of the configuration.
        apart: each video is its own source: there are too few sources to divide.
        begins_normal: no event begins in the first clip of its video.
    """

    title: str
    folder: str
    config: str
    apart: bool = False
    begins_normal: bool = False

    @property
    def rows(self) -> Sequence[Row]:
        return (*ROWS, *FROM_START) if self.begins_normal else ROWS


@dataclass(frozen=True)
class Row:
    """What the training videos' labels say, and what learns from them."""

    labels: str
    detector: str
    changes: tuple[str, ...] = ()
    note: str = ""

    @property
    def seeds(self) -> Sequence[int]:
        return CLICK_SEEDS if self.labels == "clicks" else (0,)

    @property
    def name(self) -> str:
        return f"{self.labels}, {self.detector}{self.note}"


SETS = {
    "ped2": Set("Ped2, mean of 10 splits", "ucsd_ped2", "ped2"),
    "surveillance": Set("surveillance", "surveillance", "surveillance"),
    "ur_fall": Set("UR Fall", "ur_fall", "surveillance", apart=True, begins_normal=True),
}
ROWS = (
    Row("frames", "linear"),
    Row("clicks", "linear"),
    Row("clicks", "mil", MIL),
    Row("videos", "linear"),
    Row("videos", "mil", MIL),
)
START = "train.reference_clips=1"
FROM_START = (
    Row("frames", "linear", (START,), ", from the start"),
    Row("videos", "linear", (START,), ", from the start"),
    Row("videos", "mil", (*MIL, START), ", from the start"),
)
Scored = dict[str, dict[str, Any]]  # "split/seed" -> video id -> source, truth, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS), help="sets to measure")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "training.md")
    arguments = parser.parse_args()
    for name in arguments.only:
        measure(name, arguments.data)
    arguments.page.write_text(between(arguments.page.read_text(), "labels", list(tables())))


def measure(name: str, data: Path) -> None:
    """Measure the rows of a set that are not measured yet."""
    one, reporter = SETS[name], ConsoleReporter(Console(quiet=True))
    overrides = ["data.dataset=dataset.csv"] if one.apart else []
    config = load_config(ROOT / "configs" / f"{one.config}.yaml", overrides, options={"data.root": data / one.folder})
    with open_project(config, WORK / name, reporter=reporter, asked=Asked()) as (project, work):
        recipe = ready_recipe(project, reporter)
        run_stages(project, recipe, work, Asked(), reporter, ["extract"], print)
        for row in one.rows:
            kept: Scored = json.loads(row_file(name, row).read_text()) if row_file(name, row).exists() else {}
            for number, split in enumerate(project.random_splits() or [project]):
                for seed in row.seeds:
                    labelled = with_labels(split, row, seed, apart=one.apart)
                    key = fingerprint([labelled.config.model_dump(mode="json"), facts(labelled.videos), codes(row)])
                    place = f"{number}/{seed}"
                    if kept.get(place, {}).get("key") == key:
                        continue
                    run_stages(labelled, recipe, work, Asked(), reporter, ["train", "score"], lambda _: None)
                    test = [video for video in labelled.videos if video.split == "test"]
                    kept[place] = {"key": key, "videos": [scored(v, read_scores(work.scores(v.id))) for v in test]}
                    write_json(row_file(name, row), kept)
            print(f"{name}: {row.name}: {np.mean([auc(measured(one)) for one in kept.values()]):.4f}", flush=True)


def row_file(name: str, row: Row) -> Path:
    return WORK / "rows" / name / f"{row.name.replace(', ', '_').replace(' ', '_')}.json"


def codes(row: Row) -> list[int]:
    return [TRAIN_CODE, CLICKS_CODE] if row.labels == "clicks" else [TRAIN_CODE]


def facts(videos: Sequence[Video]) -> list[Any]:
    return [[video.id, video.split, video.group, pairs(video.events)] for video in videos]


def with_labels(project: Project, row: Row, seed: int, *, apart: bool) -> Project:
    """The project with the labels of a row for the videos that teach."""
    videos = [replace(video, source="") if apart else video for video in project.videos]
    weaker = [replace(v, events=events_of(v, row.labels, seed)) if v.split != "test" else v for v in videos]
    return replace(project, config=changed(project.config, row), videos=weaker, listing=None)


def changed(config: Config, row: Row) -> Config:
    # What a detector learns of cameras needs labels of frames, and moves no score here.
    changes = ["train.adapt=none", *row.changes, f"train.supervision={row.labels}"]
    train = load_config(None, changes, {"train": config.train.model_dump()})
    return config.model_copy(update={"train": train.train})


def events_of(video: Video, labels: str, seed: int) -> tuple[AnyEvent, ...]:
    """Its events, as far as the labels say something of them."""
    if not video.events or labels == "frames":
        return video.events
    if labels == "videos":
        return WEAK
    drawn = random.Random(f"{seed} {video.id}")
    return tuple(Click(drawn.randrange(e.start, e.end or video.n_frames)) for e in video.events if isinstance(e, Event))


def scored(video: Video, scores: np.ndarray) -> dict[str, Any]:
    truth = video.frame_labels(len(scores))
    return {
        "video": video.id,
        "source": video.group,
        "truth": "".join("01"[one] for one in truth.astype(int)),
        "scores": [round(score, 6) for score in scores.tolist()],
    }


def measured(kept: dict[str, Any], *, with_events: bool = False) -> list[Measured]:
    """The test videos of one training, or those of them that have an event."""
    return [
        Measured(one["video"], one["source"], np.array(list(one["truth"])) == "1", np.array(one["scores"]))
        for one in kept["videos"]
        if not with_events or "1" in one["truth"]
    ]


def auc(videos: Sequence[Measured]) -> float:
    found = roc_auc(np.concatenate([one.truth for one in videos]), np.concatenate([one.scores for one in videos]))
    assert found is not None  # every set tests both kinds of frames
    return found


def tables() -> Iterator[str]:
    """A table for each set that was measured, and one of the fall videos of UR Fall alone."""
    for name, one in SETS.items():
        rows = {row: json.loads(row_file(name, row).read_text()) for row in one.rows if row_file(name, row).exists()}
        if rows:
            yield from table(one.title, rows, with_events=False)
        if rows and one.apart:
            yield from table(f"{one.title}, within the videos with a fall", rows, with_events=True)


def table(title: str, rows: dict[Row, Scored], *, with_events: bool) -> Iterator[str]:
    header = (title, "frame AUC", "lowest .. highest", "against frames")
    lines, frames = [], None
    for row, kept in rows.items():
        runs = [measured(one, with_events=with_events) for one in kept.values()]
        aucs, moved = [auc(run) for run in runs], resampled(runs)["auc"]
        mean = float(np.mean(aucs))
        frames = frames or (mean, moved)
        difference = "" if row == ROWS[0] else shown(mean - frames[0], moved - frames[1], "+.3f")
        spread = f"{min(aucs):.3f} .. {max(aucs):.3f}" if len(aucs) > 1 else ""
        lines.append([row.name, shown(mean, moved, ".3f"), spread, difference])
    yield from ["", markdown_table(header, lines).rstrip("\n")]


def shown(value: float, moved: np.ndarray, form: str) -> str:
    ends = interval(moved)
    return f"{value:{form}}" + (f" [{ends[0]:{form}}, {ends[1]:{form}}]" if ends else "")


if __name__ == "__main__":
    main()
