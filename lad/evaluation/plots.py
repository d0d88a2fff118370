"""Pictures of an evaluation and of single videos, as PNG. They need Matplotlib, which is an extra: see `can_draw`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lad.cache import cache_home
from lad.evaluation.reliability import BINS
from lad.files import replacing
from lad.intervals import intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lad.evaluation.results import ScoredVideo

NEEDS = "they need Matplotlib: pip install 'lad-video[plots]'"
TRUTH, SCORE, QUIET, MARK = "#f2a6a0", "#1d3557", "#6c757d", "#d1495b"  # told apart by lightness, too
MAX_POINTS = 4000  # of a curve: beyond that a picture shows no more
MAX_PANELS = 60  # of an overview
MAX_NUMBERED = 40  # categories: with more, a confusion matrix has colours only
FRAME_TICKS = 6
HOT = 1.0  # deviations above the normal speed: slower cells of a heat map stay as they are
HEAT_OPACITY = 0.55


def can_draw() -> bool:
    """Whether Matplotlib is installed."""
    return find_spec("matplotlib") is not None


@dataclass(frozen=True)
class Curve:
    """The scores of a video as they are drawn: few numbers, however long it is.

    Attributes:
        title: above it.
        times, scores: `(points,)` float64, seconds and scores.
        true: the true events, each its beginning and how long it takes, in seconds.
        lowest, highest: score.
        seconds: how long the video lasts.
        frames: frames whose numbers are shown, and their times in seconds.
        threshold: that is shown; None: none.
    """

    title: str
    times: np.ndarray
    scores: np.ndarray
    true: Sequence[tuple[float, float]]
    lowest: float
    highest: float
    seconds: float
    frames: Sequence[tuple[int, float]]
    threshold: float | None


def curve_of(one: ScoredVideo, threshold: float | None) -> Curve:
    """The curve of a video."""
    ends = np.append(one.times[1:], max(one.seconds, one.times[-1]))
    times, scores = _envelope(one.times, one.scores)
    return Curve(
        title=one.video.id,
        times=times,
        scores=scores,
        true=[(one.times[start], ends[end - 1] - one.times[start]) for start, end in intervals(one.truth)],
        lowest=one.scores.min(),
        highest=one.scores.max(),
        seconds=ends[-1],
        frames=[(int(frame), one.times[frame]) for frame in _frame_ticks(len(one.scores))],
        threshold=threshold,
    )


DrawCurves = Callable[[Path, Sequence["ScoredVideo"], float | None], None]  # folder, videos, threshold


def curve_path(folder: Path, video_id: str) -> Path:
    """Where the curve of a video belongs in a folder of them."""
    return folder / f"{video_id}.png"


def draw_curves(
    folder: Path, scored: Sequence[ScoredVideo], threshold: float | None, on_plot: Callable[[], None] = lambda: None
) -> None:
    """Draw the score curves of videos, one after the other; `on_plot` is called after each."""
    for one in scored:
        draw_curve(curve_path(folder, one.video.id), curve_of(one, threshold))
        on_plot()


def draw_evaluation(
    folder: Path, scored: Sequence[ScoredVideo], metrics: dict[str, Any], draw: DrawCurves = draw_curves
) -> list[Path]:
    """ROC and precision-recall, confusion matrix, how reliable scores are, a score curve a video; returns the files.

    What the metrics leave undefined has no picture, or no mark in it.

    Args:
        folder: for the pictures.
        scored: the videos.
        metrics: their numbers.
        draw: draws the curves of the videos.
    """
    drawn = [_save(_detection(scored, metrics), folder / "roc.png")]
    if metrics["confusion_events"]:
        drawn.append(_save(_confusion(metrics), folder / "confusion.png"))
    if metrics["reliability"]:
        drawn.append(_save(_reliability(metrics), folder / "reliability.png"))
    draw(folder / "scores", scored, metrics["threshold"])
    return [*drawn, *(curve_path(folder / "scores", one.video.id) for one in scored)]


def draw_overview(path: Path, scored: Sequence[ScoredVideo], threshold: float | None, columns: int = 3) -> Path:
    """The score curves of several videos in one picture: of the first `MAX_PANELS`."""
    return _save(_overview(scored, threshold, columns), path)


def draw_heat(path: Path, picture: np.ndarray, excess: np.ndarray, title: str) -> Path:
    """Draw a heat map over a frame; returns the file.

    Args:
        path: a PNG.
        picture: `(height, width, 3)` uint8 RGB.
        excess: `(rows, columns)` float, by how many deviations each cell of the picture is faster than normal frames.
        title: above it.
    """
    height, width = picture.shape[:2]
    figure = _new_figure(6, 6 * height / width + 0.5)
    axes = figure.subplots()
    axes.imshow(picture)
    shown = np.ma.masked_less(excess, HOT)
    highest = max(float(excess.max()), HOT + 1)
    heat = axes.imshow(shown, extent=(0, width, height, 0), cmap="autumn_r", alpha=HEAT_OPACITY, vmin=HOT, vmax=highest)
    figure.colorbar(heat, ax=axes, label="deviations above the normal speed", shrink=0.8)
    axes.set_axis_off()
    axes.set_title(title, fontsize=10, parse_math=False)
    return _save(figure, path)


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


def _detection(scored: Sequence[ScoredVideo], metrics: dict[str, Any]) -> Figure:
    """The ROC and the precision-recall curve over frames, and where the threshold lies on them."""
    figure = _new_figure(10, 5)
    roc, recall = figure.subplots(1, 2)
    truth = np.concatenate([one.truth for one in scored])
    scores = np.concatenate([one.scores for one in scored])
    _draw_roc(roc, truth, scores, metrics)
    _draw_precision_recall(recall, truth, scores, metrics)
    return figure


def _draw_roc(axes: Axes, truth: np.ndarray, scores: np.ndarray, metrics: dict[str, Any]) -> None:
    from sklearn.metrics import roc_curve

    _name_axes(axes, "Frame-level ROC", "false positive rate (normal frames)", "true positive rate (anomalous frames)")
    if metrics["auc"] is None:
        _say_undefined(axes, metrics["undefined"]["auc"])
        return
    false, true, _ = roc_curve(truth, scores)
    axes.plot(*_thinned(false, true), color=SCORE, label=f"AUC {metrics['auc']:.4f}", clip_on=False)
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1, label="chance")
    threshold = metrics["threshold"]
    if threshold is not None:
        above = scores > threshold
        found, alarms = float(above[truth].mean()), float(above[~truth].mean())
        _mark(axes, alarms, found, f"threshold {threshold:.3g}: TPR {found:.3f}, FPR {alarms:.3f}")
    axes.legend(loc="lower right", edgecolor="none")


def _draw_precision_recall(axes: Axes, truth: np.ndarray, scores: np.ndarray, metrics: dict[str, Any]) -> None:
    from sklearn.metrics import precision_recall_curve

    _name_axes(axes, "Frame-level precision and recall", "recall (anomalous frames)", "precision (frames)")
    if metrics["ap"] is None:
        _say_undefined(axes, metrics["undefined"]["ap"])
        return
    precision, recall, _ = precision_recall_curve(truth, scores)
    axes.plot(
        *_thinned(recall, precision),
        color=SCORE,
        drawstyle="steps-post",
        label=f"AP {metrics['ap']:.4f}",
        clip_on=False,
    )
    share = float(truth.mean())
    axes.axhline(
        share, color=QUIET, linestyle=":", linewidth=1, label=f"chance: {share:.3f} of the frames are anomalous"
    )
    threshold = metrics["threshold"]
    if threshold is not None and (above := scores > threshold).any():
        found, right = float(above[truth].mean()), float(truth[above].mean())
        _mark(axes, found, right, f"threshold {threshold:.3g}: precision {right:.3f}, recall {found:.3f}")
    axes.legend(loc="lower left", edgecolor="none")


def _name_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """A panel in which both axes go from 0 to 1."""
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    axes.grid(color="#e9ecef", linewidth=0.8)


def _mark(axes: Axes, x: float, y: float, label: str) -> None:
    axes.plot([x], [y], color=MARK, marker="o", markersize=9, linestyle="", label=label, clip_on=False, zorder=5)


def _say_undefined(axes: Axes, reason: str) -> None:
    axes.text(0.5, 0.5, f"undefined:\n{reason}", ha="center", va="center", wrap=True)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MAX_POINTS` of a curve, both ends among them."""
    if len(x) <= MAX_POINTS:
        return x, y
    kept = np.linspace(0, len(x) - 1, MAX_POINTS).astype(int)
    return x[kept], y[kept]


def _confusion(metrics: dict[str, Any]) -> Figure:
    """Of each video, what happens in it and what is found in it above the threshold, of which both may be nothing."""
    whole = np.array(metrics["confusion_events"]["matrix"])
    shown = np.flatnonzero(whole.sum(axis=0) + whole.sum(axis=1))
    names = [metrics["confusion_events"]["classes"][index] for index in shown]
    matrix = whole[np.ix_(shown, shown)]
    side = max(4.5, min(0.55 * len(names) + 2, 24))
    figure = _new_figure(side, side)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape) if len(names) <= MAX_NUMBERED else ():
        colour = "white" if share[row, column] > 0.5 else "black" if matrix[row, column] else "#adb5bd"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    if whole[-1].any() or whole[:, -1].any():  # a line between what is an event and what is none
        axes.axhline(len(names) - 1.5, color=QUIET, linewidth=1)
        axes.axvline(len(names) - 1.5, color=QUIET, linewidth=1)
    axes.set(xlabel=f"found, above the threshold {metrics['threshold']:.3g}", ylabel="true")
    axes.set_title(f"Category of each of {matrix.sum()} test videos")
    return figure


def _reliability(metrics: dict[str, Any]) -> Figure:
    """What share of the frames that score so much is anomalous, and below how many they are."""
    bins = metrics["reliability"]
    scores = np.array([one["score"] for one in bins])
    frames = [one["frames"] for one in bins]
    figure = _new_figure(5.5, 6.5)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1, label="a perfect probability")
    shares = [one["anomalous"] for one in bins]
    upper.plot(scores, shares, color=SCORE, marker="o", clip_on=False, label="frames of a bin")
    upper.set(ylabel="share of anomalous frames", xlim=(0, 1), ylim=(0, 1))
    upper.set_title(f"Reliability: scores are {metrics['calibration_error']:.3f} off on average")
    upper.legend(loc="upper left", frameon=False)
    upper.grid(color="#e9ecef", linewidth=0.8)
    places = (np.minimum((scores * BINS).round(9).astype(int), BINS - 1) + 0.5) / BINS  # 0.7 may be 0.69999...
    bars = lower.bar(places, frames, width=0.92 / BINS, color=QUIET)
    lower.bar_label(bars, [_short_count(count) for count in frames], fontsize=9, padding=1)
    lower.set(xlabel="score", ylabel="frames in the bin")
    lower.margins(y=0.25)
    return figure


def _short_count(count: int) -> str:
    """`1234` -> `1.2k`: at most four characters below a billion."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.1f}{name}" if count < 10 * unit else f"{count // unit}{name}"
    return str(count)


def draw_curve(path: Path, curve: Curve) -> Path:
    """Draw a score curve; returns the file."""
    figure = _new_figure(7.5, 3)
    axes = figure.subplots()
    _draw_scores(axes, curve)
    _label_threshold(axes, curve.threshold)
    axes.set(xlabel=_time_label(bool(curve.true)), ylabel="score")
    top = axes.secondary_xaxis("top")
    top.set_xticks([time for _, time in curve.frames], [str(frame) for frame, _ in curve.frames])
    top.set_xlabel("frame")
    return _save(figure, path)


def _overview(scored: Sequence[ScoredVideo], threshold: float | None, columns: int) -> Figure:
    shown = scored[:MAX_PANELS]
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    figure = _new_figure(4 * columns, 0.5 + 1.7 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for number, (axes, one) in enumerate(zip(panels, shown, strict=False), start=1):
        _draw_scores(axes, curve_of(one, threshold))
        if number % columns == 0:
            _label_threshold(axes, threshold)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    more = f"; {len(shown)} of {len(scored)} videos" if len(shown) < len(scored) else ""
    figure.supxlabel(_time_label(True) + more, fontsize=10)
    figure.supylabel("score", fontsize=10)
    return figure


def _time_label(any_event: bool) -> str:
    return f"time in seconds{' (shaded: the true event)' if any_event else ''}"


def _draw_scores(axes: Axes, curve: Curve) -> None:
    """The scores of one video over its seconds; what is anomalous is shaded."""
    axes.broken_barh(curve.true, (0, 1), color=TRUTH, alpha=0.6, linewidth=0, transform=axes.get_xaxis_transform())
    axes.plot(curve.times, curve.scores, color=SCORE, linewidth=1.5)
    shown = [0.0, 1.0, curve.lowest, curve.highest]  # others' are any numbers
    if curve.threshold is not None:
        axes.axhline(curve.threshold, color=QUIET, linestyle="--", linewidth=1)
        shown.append(curve.threshold)
    low, high = min(shown), max(shown)
    axes.set(ylim=(low, high + 0.05 * (high - low)), xlim=(0, max(curve.seconds, 1e-3)))
    axes.set_title(curve.title, fontsize=10, parse_math=False)  # a name with two dollar signs is no formula


def _envelope(times: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most `MAX_POINTS`: of a longer one the lowest and the highest score of each piece."""
    if len(scores) <= MAX_POINTS:
        return times, scores
    starts = np.linspace(0, len(scores), MAX_POINTS // 2, endpoint=False).astype(int)
    both = np.stack([np.minimum.reduceat(scores, starts), np.maximum.reduceat(scores, starts)], axis=1)
    return np.repeat(times[starts], 2), both.ravel()


def _label_threshold(axes: Axes, threshold: float | None) -> None:
    """At the right of a panel, where no curve is."""
    if threshold is None:
        return
    where, of = (1.01, threshold), ("axes fraction", "data")
    axes.annotate(f"threshold\n{threshold:.3g}", where, xycoords=of, va="center", fontsize=9, color=QUIET)


def _frame_ticks(frames: int) -> np.ndarray:
    """Round numbers of frames, few enough to stand side by side."""
    _keep_matplotlib_within()
    from matplotlib.ticker import MaxNLocator

    ticks = np.array(MaxNLocator(FRAME_TICKS, integer=True).tick_values(0, max(frames - 1, 1)), dtype=int)
    return ticks[ticks < frames]
