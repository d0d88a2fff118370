"""Which scores are late, and by how much; which detectors cannot watch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lad.detector.online import PastScorer
from lad.extract.clips import ClipSpec
from lad.watch.online import Eye, Pieces, WatchError


def eye(
    latency: str,
    *,
    window: int = 3,
    batch: int = 4,
    stride: int = 16,
    still: int = 0,
    together: int = 1,
    reference_clips: int = 0,
    **detector: Any,
) -> Eye:
    clips = ClipSpec(("rgb",), batch_clips=batch, stride=stride, still=still, together=together)
    recipe = SimpleNamespace(clips=clips, context="batch")
    seen = SimpleNamespace(window=window, **detector)
    scorer = SimpleNamespace(detector=seen, tail=None, reference_clips=reference_clips)
    return Eye(recipe, None, scorer, latency)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("latency", "how", "frames"),
    [
        ("exact", {}, 96),
        ("exact", {"window": 1, "batch": 1}, 16),
        ("exact", {"window": 5, "batch": 2}, 96),
        ("exact", {"window": 2, "batch": 2, "stride": 4}, 24),
        ("exact", {"window": 2, "batch": 1, "stride": 40}, 80),
        ("low", {}, 16),
        ("low", {"stride": 40}, 40),
    ],
)
def test_the_delay_is_what_is_left_of_clip_windows_and_batch(latency: str, how: dict[str, int], frames: int) -> None:
    assert eye(latency, **how).delay_frames == frames


@pytest.mark.parametrize("latency", ["exact", "low"])
def test_still_clips_of_a_camera_are_seen(latency: str) -> None:
    """A batch that is dropped could hold the clip whose features they would have."""
    assert eye(latency, still=4).spec.still == 0


def test_gaps_between_clips_that_are_seen_as_one_have_no_low_latency() -> None:
    """The network would take what lies before a gap for what comes just before."""
    with pytest.raises(WatchError, match=r"extract\.clip_stride=16"):
        eye("low", stride=32, together=4)
    assert eye("exact", stride=32, together=4).delay_frames == 192


def test_a_detector_of_whole_videos_is_refused() -> None:
    with pytest.raises(WatchError, match="a camera's never ends"):
        eye("exact", max_clips=32)


def test_a_detector_that_compares_clips_with_the_start_of_their_video_is_refused() -> None:
    with pytest.raises(WatchError, match=r"a camera's began long ago.*train\.reference_clips=0"):
        eye("exact", reference_clips=2)


@pytest.mark.parametrize("latency", ["exact", "low"])
def test_a_causal_detector_of_whole_videos_waits_for_no_window(latency: str) -> None:
    causal = eye(latency, max_clips=32, causal=True, window=3, batch=1)
    assert causal.delay_frames == 16
    assert isinstance(causal._clip_scorer(), PastScorer)


def test_with_low_latency_the_network_sees_each_clip_after_those_before_it() -> None:
    pieces, seen = eye("low").pieces(), []
    for number in range(6):
        piece = pieces.add({"rgb": np.full((1, 16, 2, 2, 3), number, np.uint8)})
        seen.append(piece["rgb"][:, 0, 0, 0, 0].tolist())
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]
    assert Pieces(1).add({"rgb": np.zeros((1, 16, 2, 2, 3))})["rgb"].shape[0] == 1
