"""What `lad evaluate` does with scores and regions that somebody else made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lad.options import Session

if TYPE_CHECKING:
    from lad.pipeline.reporter import StageResult


def evaluate_scores(scores: Path, listed: Path | None, gt: Path | None, session: Session) -> int:
    """Measure somebody's scores; returns the exit status.

    Raises:
        click.UsageError: the configuration has several random splits.
        StageError: as `pipeline.evaluate_given` and `pipeline.evaluate_array`.
    """
    from lad.pipeline.evaluate_array import evaluate_array
    from lad.pipeline.evaluate_given import evaluate_given

    config, asked, reporter = session.config, session.asked, session.reporter
    if config.protocol.splits > 1:
        raise click.UsageError("--scores: of which split? Give -o protocol.splits=1 -o protocol.seed=N")
    if gt and not (config.data.benchmark or config.data.dataset):
        with session.hold() as work:
            result, metrics, place = evaluate_array(config, None, work, asked, reporter, scores, gt, listed)
            status = session.end([result])
    else:
        with session.open() as (project, work):
            if gt:
                result, metrics, place = evaluate_array(config, project, work, asked, reporter, scores, gt, listed)
            else:
                result, metrics, place = evaluate_given(project, work, asked, reporter, scores, listed)
            status = session.end([result])
    _print(session, result, metrics, place)
    return status


def evaluate_detections(regions: Path, tracks: Path, frames: int, session: Session) -> int:
    """Measure somebody's detections by tracks; returns the exit status.

    Raises:
        StageError: as `pipeline.evaluate_regions`.
    """
    from lad.pipeline.evaluate_regions import evaluate_regions

    with session.hold() as work:
        result, metrics, place = evaluate_regions(work, session.asked, session.reporter, regions, tracks, frames)
        status = session.end([result])
    _print(session, result, metrics, place)
    return status


def _print(session: Session, result: StageResult, metrics: dict[str, Any], place: Path) -> None:
    from lad import console
    from lad.pipeline.outcome import stages_data

    data = {"work": str(place), "splits": 1, "stages": stages_data([result]), "metrics": metrics}
    if session.as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        console.print_run(data)
