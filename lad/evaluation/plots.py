"""Pictures of an evaluation and of single videos, as PNG."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lad.cache import cache_home
from lad.files import replacing
from lad.intervals import intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lad.evaluation.results import ScoredVideo

TRUTH, SCORE, QUIET = "#d1495b", "#1d3557", "#8d99ae"
MAX_POINTS = 4000  # of a score curve: beyond that a picture shows no more


def draw_evaluation(
    folder: Path,
    scored: Sequence[ScoredVideo],
    metrics: dict[str, Any],
    classes: Sequence[str],
    on_plot: Callable[[], None] = lambda: None,
) -> list[Path]:
    """ROC, confusion matrix, how reliable scores are, and a score curve a video; returns the files."""
    drawn = [_save(_roc(scored, metrics), folder / "roc.png")]
    if classes:
        drawn.append(_save(_confusion(metrics, classes), folder / "confusion.png"))
    if metrics["reliability"]:
        drawn.append(_save(_reliability(metrics), folder / "reliability.png"))
    for one in scored:
        drawn.append(_save(_curves([one], metrics["threshold"], 1), folder / "scores" / f"{one.video.id}.png"))
        on_plot()
    return drawn


def draw_overview(path: Path, scored: Sequence[ScoredVideo], threshold: float, columns: int = 3) -> Path:
    """The score curves of several videos in one picture."""
    return _save(_curves(scored, threshold, columns), path)


def _new_figure(width: float, height: float) -> Figure:
    _keep_matplotlib_within()
    from matplotlib.figure import Figure  # not pyplot: no window system, no global state

    return Figure(figsize=(width, height), layout="constrained")


def _keep_matplotlib_within() -> None:
    """Have it keep what it knows of fonts in lad's cache, not in the home directory, unless the user says where."""
    with suppress(RuntimeError):  # without a home it takes a temporary folder
        os.environ.setdefault("MPLCONFIGDIR", str(cache_home() / "matplotlib"))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a cache that it cannot write


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return path


def _roc(scored: Sequence[ScoredVideo], metrics: dict[str, Any]) -> Figure:
    from sklearn.metrics import roc_curve

    figure = _new_figure(5, 5)
    axes = figure.subplots()
    if metrics["auc"] is None:
        axes.text(0.5, 0.5, metrics["undefined"]["auc"], ha="center", va="center", wrap=True)
    else:
        truth = np.concatenate([one.truth for one in scored])
        false, true, _ = roc_curve(truth, np.concatenate([one.scores for one in scored]))
        axes.plot(false, true, color=SCORE, label=f"AUC {metrics['auc']:.4f}")
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1)
        axes.legend(loc="lower right", frameon=False)
    axes.set(
        xlabel="false positive rate", ylabel="true positive rate", title="Frame-level ROC", xlim=(0, 1), ylim=(0, 1.01)
    )
    return figure


def _confusion(metrics: dict[str, Any], classes: Sequence[str]) -> Figure:
    matrix = np.array(metrics["confusion"]["matrix"])
    side = max(3.5, 0.55 * len(classes) + 2)
    figure = _new_figure(side, side)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(classes)), classes, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true", title="Category of each video")
    return figure


def _reliability(metrics: dict[str, Any]) -> Figure:
    """What share of the frames that score so much is anomalous, and below how many they are."""
    bins = metrics["reliability"]
    scores = [one["score"] for one in bins]
    figure = _new_figure(5, 5.5)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1)
    upper.plot(scores, [one["anomalous"] for one in bins], color=SCORE, marker="o")
    upper.set(
        ylabel="share of anomalous frames",
        title=f"Reliability: {metrics['calibration_error']:.3f} off on average",
        xlim=(0, 1),
        ylim=(0, 1.01),
    )
    lower.bar(scores, [one["frames"] for one in bins], width=0.05, color=QUIET)
    lower.set(xlabel="score", ylabel="frames")
    return figure


def _curves(scored: Sequence[ScoredVideo], threshold: float | None, columns: int) -> Figure:
    columns = min(columns, len(scored))
    rows = -(-len(scored) // columns)
    figure = _new_figure(7 if columns == 1 else 4 * columns, 2.6 if rows == 1 else 1.7 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes, one in zip(panels, scored, strict=False):
        step = -(-len(one.scores) // MAX_POINTS)
        frames = np.arange(0, len(one.scores), step)
        axes.plot(frames, one.scores[::step], color=SCORE, linewidth=1.5)
        for start, end in intervals(one.truth):
            axes.axvspan(start, end, color=TRUTH, alpha=0.2, linewidth=0)
        if threshold is not None:
            axes.axhline(threshold, color=QUIET, linestyle=":", linewidth=1)
        if one.scores.min() >= 0 and one.scores.max() <= 1:  # those of somebody else may have any range
            axes.set(ylim=(0, 1.05))
        axes.set(xlim=(0, len(one.scores)))
        axes.set_title(one.video.id, fontsize=9, parse_math=False)  # a name with two dollar signs is no formula
    for axes in list(panels)[len(scored) :]:
        axes.set_axis_off()
    figure.supxlabel("frame (shaded: the true event)", fontsize=9)
    figure.supylabel("score", fontsize=9)
    return figure
