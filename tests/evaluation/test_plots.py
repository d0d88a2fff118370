"""What the pictures of an evaluation show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lad.dataset import Video
from lad.evaluation import plots
from lad.evaluation.results import NO_EVENT, UNNAMED, ScoredVideo, compute_metrics
from lad.events import Event

CLASSES = ["fall", "fire"]


def video(name: str, label: int | None, scores: np.ndarray, event: tuple[int, int] | None, predicted: int | None):
    """A video of 10 frames a second."""
    truth, times = np.zeros(len(scores), dtype=bool), np.arange(len(scores)) / 10
    if event:
        truth[slice(*event)] = True
    labels = () if label is None else (label,)
    of = Video(name, Path(name), "test", "|".join(CLASSES[one] for one in labels), (Event(*event),) if event else ())
    return ScoredVideo(of, truth, scores, len(scores) / 10, labels, predicted, np.zeros(2, dtype=int), times)


def scores(frames: int, start: int = 0, end: int = 0, height: float = 0.9) -> np.ndarray:
    made = np.full(frames, 0.125)
    made[start:end] = height
    return made


@pytest.fixture
def scored() -> list[ScoredVideo]:
    return [
        video("found", 0, scores(100, 40, 60), (40, 80), 0),
        video("mistaken", 1, scores(200, 50, 100), (50, 100), 0),
        video("missed", 1, scores(100), (50, 100), 1),
        video("quiet", 0, scores(100), None, 0),
        video("false alarm", 0, scores(100, 0, 20, 0.7), None, 1),
    ]


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """The figures of an evaluation by file name, and its metrics."""

    def figures(scored: list[ScoredVideo], threshold: float = 0.5) -> tuple[dict[str, Any], dict[str, Any]]:
        drawn: dict[str, Any] = {}
        monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.setdefault(path.name, figure) and path)
        metrics = compute_metrics(scored, CLASSES, threshold)
        plots.draw_evaluation(tmp_path, scored, metrics)
        return drawn, metrics

    return figures


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_threshold_lies_on_both_curves_with_its_rates(draw, scored):
    drawn, metrics = draw(scored)
    roc, recall = drawn["roc.png"].axes
    # 140 anomalous frames, 70 of them above; 460 others, 20 above.
    assert labels(roc)[-1] == f"threshold 0.5: TPR 0.500, FPR {20 / 460:.3f}"
    assert labels(recall)[-1] == f"threshold 0.5: precision {70 / 90:.3f}, recall 0.500"
    assert labels(roc)[0] == f"AUC {metrics['auc']:.4f}" and labels(recall)[0] == f"AP {metrics['ap']:.4f}"
    assert [line.get_xydata().tolist() for line in roc.lines if line.get_marker() == "o"] == [[[20 / 460, 0.5]]]
    assert "rate" in roc.get_xlabel() and "precision" in recall.get_ylabel() and "recall" in recall.get_xlabel()


def test_frames_that_are_all_alike_have_their_reason_in_place_of_a_curve(draw, scored):
    drawn, metrics = draw(scored[3:])
    roc, recall = drawn["roc.png"].axes
    assert metrics["undefined"]["auc"] in roc.texts[0].get_text() and not roc.lines
    assert metrics["undefined"]["ap"] in recall.texts[0].get_text()


def test_a_threshold_that_nothing_exceeds_has_no_precision(draw, scored):
    roc, recall = draw(scored, threshold=2.0)[0]["roc.png"].axes
    assert labels(roc)[-1] == "threshold 2: TPR 0.000, FPR 0.000" and "AP" in labels(recall)[0]
    assert not [line for line in recall.lines if line.get_marker() == "o"]


def test_normal_videos_have_a_row_and_what_is_not_found_a_column(draw, scored):
    drawn, metrics = draw(scored)
    assert metrics["confusion_events"] == {
        "classes": ["fall", "fire", UNNAMED, NO_EVENT],
        "matrix": [[1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]],
    }
    (axes,) = drawn["confusion.png"].axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["fall", "fire", "no event"] == [text.get_text() for text in axes.get_xticklabels()]
    assert [text.get_text() for text in axes.texts] == list("100101011")
    assert "threshold 0.5" in axes.get_xlabel()


def test_scores_without_categories_tell_events_from_none(draw):
    drawn, _ = draw([video("a", None, scores(50, 0, 20), (0, 20), None), video("b", 0, scores(50), None, None)])
    (axes,) = drawn["confusion.png"].axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["event (no category)", "no event"]
    assert [text.get_text() for text in axes.texts] == list("1001")


def test_each_bin_of_the_reliability_diagram_says_how_many_frames_it_holds(draw, scored):
    upper, lower = draw(scored)[0]["reliability.png"].axes
    assert [bar.get_height() for bar in lower.patches] == [510, 20, 70]
    assert [text.get_text() for text in lower.texts] == ["510", "20", "70"]
    assert [round(bar.get_x() + bar.get_width() / 2, 3) for bar in lower.patches] == [0.15, 0.75, 0.95]
    assert "frames" in lower.get_ylabel() and "anomalous" in upper.get_ylabel()


@pytest.mark.parametrize(("count", "said"), [(999, "999"), (1234, "1.2k"), (56789, "56k"), (7_200_000, "7.2M")])
def test_large_counts_are_short(count, said):
    assert plots._short_count(count) == said


def test_a_score_curve_is_over_seconds_with_frames_above_and_the_threshold_named(draw, scored):
    figure = draw(scored, threshold=0.42)[0]["mistaken.png"]
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 20) and "seconds" in axes.get_xlabel() and "shaded" in axes.get_xlabel()
    (top,) = axes.child_axes
    assert top.get_xlabel() == "frame"
    assert {text.get_text(): place for text, place in zip(top.get_xticklabels(), top.get_xticks(), strict=True)} == {
        str(frame): frame / 10 for frame in range(0, 200, 40)
    }
    assert [text.get_text() for text in axes.texts] == ["threshold\n0.42"]
    (shade,) = axes.collections[0].get_paths()
    assert shade.get_extents().intervalx.tolist() == [5, 10]


def test_frames_stand_where_their_times_are(draw):
    uneven = video("uneven", 0, scores(101), (0, 10), 0)
    uneven.times[50:] += 30  # a camera that slept
    top = draw([uneven])[0]["uneven.png"].axes[0].child_axes[0]
    where = dict(zip((text.get_text() for text in top.get_xticklabels()), top.get_xticks(), strict=True))
    assert where["40"] == 4 and where["60"] == 36


def test_a_long_video_keeps_its_peaks_and_a_short_one_has_a_picture(draw):
    long, short = scores(250_000, 123_456, 123_457), scores(1)
    drawn, _ = draw([video("long", 0, long, (9, 99), 0), video("short", 0, short, None, 0)])
    curve = drawn["long.png"].axes[0].lines[0].get_ydata()
    assert len(curve) <= plots.MAX_POINTS and curve.max() == 0.9 and curve.min() == 0.125
    drawn["short.png"].savefig(Path("/dev/null"), format="png")


def test_scores_that_are_no_probabilities_stay_in_the_picture(draw):
    axes = draw([video("a", 0, scores(50, 0, 20, 40.0) - 3, (0, 20), 0)], threshold=7.0)[0]["a.png"].axes[0]
    low, high = axes.get_ylim()
    assert low < -2.8 and high > 37


def test_an_overview_of_many_videos_says_how_many_it_leaves_out(monkeypatch, tmp_path):
    monkeypatch.setattr(plots, "MAX_PANELS", 4)
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure) or path)
    plots.draw_overview(tmp_path / "overview.png", [video(f"v{n}", 0, scores(9), (2, 3), 0) for n in range(9)], 0.5)
    (figure,) = drawn
    assert len(figure.axes) == 6 and "4 of 9 videos" in figure.get_supxlabel()


@pytest.mark.slow
def test_the_same_numbers_are_the_same_bytes(scored, tmp_path):
    metrics = compute_metrics(scored, CLASSES, 0.5)
    both = [plots.draw_evaluation(tmp_path / name, scored[:1], metrics) for name in ("once", "again")]
    assert [path.read_bytes() for path in both[0]] == [path.read_bytes() for path in both[1]] and len(both[0]) == 4
