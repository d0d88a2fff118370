"""How rare a number is in normal footage: scores as tail probabilities, and thresholds from a budget of alarms.

Frames above the 95 % quantile of unseen normal footage are taken to follow a generalised Pareto distribution, and so
are the peaks of the runs that they make: peaks over threshold (Coles, "An introduction to statistical modeling of
extreme values", 2001, chapters 4 and 5). It is fitted by probability-weighted moments (Hosking and Wallis, "Parameter
and quantile estimation for the generalized Pareto distribution", Technometrics 29, 1987).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lad.extract.motion import SHARES
from lad.intervals import events_above

LEVELS = 1001  # quantiles below the tail
TAIL_SHARE = 0.05  # of normal frames: those whose numbers are taken to be Pareto distributed
SECONDS_A_DAY = 86_400.0
# Short footage never shows its rarest moments. So a tail is never taken to fall faster than an exponential one, nor so
# slowly that a threshold could not be reached. That of frames falls slower still: scores have seven digits in files,
# and frames far beyond normal ones are to keep their order.
PEAK_SHAPES = (0.0, 0.5)
FRAME_SHAPES = (0.1, 0.5)
ALARMS_PER_DAY = 2.0  # that a threshold is for, where nobody says how many
BEYOND = 0.99  # a score that one in a hundred clips of unseen normal footage exceeds
KERNEL_SIGMAS = 4.0
LONG_KERNEL = 2001  # numbers: from here on a Fourier transform is faster, and needed for long videos


@dataclass(frozen=True)
class Pareto:
    """A generalised Pareto distribution: the share beyond `x` is `(1 + shape x / scale) ** (-1 / shape)`.

    Of shape 0 it is the exponential one, `exp(-x / scale)`.
    """

    scale: float
    shape: float

    def beyond(self, excess: np.ndarray) -> np.ndarray:
        """The share that exceeds each of `excess`, which are 0 or more."""
        if self.shape == 0:
            return np.exp(-excess / self.scale)
        return (1 + self.shape * excess / self.scale) ** (-1 / self.shape)

    def exceeded_by(self, share: float) -> float:
        """What a share of at most 1 exceeds."""
        if self.shape == 0:
            return float(-self.scale * np.log(share))
        return self.scale / self.shape * (share**-self.shape - 1)


@dataclass(frozen=True)
class Tail:
    """What is known of the numbers of unseen normal footage.

    Attributes:
        levels: `(n,)` float64, rising: quantiles of its frames, of shares from 0 to `1 - TAIL_SHARE`.
        frames: of the frames above the last of them.
        peaks: of the levels above it up to which there is an event, of each event above it.
        peaks_a_day: how many of those events there are.
        smooth_seconds: sigma of the Gaussian by which the frames were smoothed.
    """

    levels: np.ndarray
    frames: Pareto
    peaks: Pareto
    peaks_a_day: float
    smooth_seconds: float = 0.0

    @property
    def start(self) -> float:
        """Where the tail begins."""
        return float(self.levels[-1])

    def scores(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers of any shape -> float64 in [0, 1]: the share of normal frames that are lower."""
        below = np.interp(numbers, self.levels, np.linspace(0, 1 - TAIL_SHARE, len(self.levels)))
        beyond = TAIL_SHARE * self.frames.beyond(np.maximum(numbers - self.start, 0))
        return np.where(numbers > self.start, 1 - beyond, below)

    def threshold(self, alarms_per_day: float) -> float:
        """The score that normal footage exceeds so often; where the tail begins, if that is enough already."""
        share = min(1.0, alarms_per_day / self.peaks_a_day) if self.peaks_a_day else 1.0
        return float(self.scores(np.array(self.start + self.peaks.exceeded_by(share))))


def fit_tail(
    videos: Sequence[np.ndarray],
    seconds: Sequence[float],
    smooth_seconds: float = 0.0,
    *,
    merge_seconds: float = 0.0,
    min_seconds: float = 0.0,
) -> Tail:
    """What unseen normal footage shows.

    Args:
        videos: `(frames,)` float64 of each, smoothed.
        seconds: how long each lasts.
        smooth_seconds: by which they were smoothed.
        merge_seconds, min_seconds: of events, as `intervals.events_above` has them: what is told as one event is one
            alarm, and what is too short to be told is none.
    """
    frames = np.concatenate(videos)
    levels = np.quantile(frames, np.linspace(0, 1 - TAIL_SHARE, LEVELS))
    start = float(levels[-1])
    peaks = [
        peak - start
        for one, length in zip(videos, seconds, strict=True)
        for peak in _peaks(one, length, start, merge_seconds, min_seconds)
    ]
    days = sum(seconds) / SECONDS_A_DAY
    of_frames = fit_pareto(frames[frames > start] - start, FRAME_SHAPES)
    of_peaks = fit_pareto(np.array(peaks), PEAK_SHAPES)
    return Tail(levels, of_frames, of_peaks, len(peaks) / days, smooth_seconds)


def fit_pareto(excesses: np.ndarray, shapes: tuple[float, float]) -> Pareto:
    """The distribution of excesses, each above 0, of a shape between these."""
    lowest, highest = shapes
    if len(excesses) == 0:
        return Pareto(1.0, lowest)
    rising = np.sort(excesses)
    mean = float(rising.mean())
    lower = float((rising * (len(rising) - np.arange(len(rising)) - 0.65) / len(rising)).mean())  # weighted by 1 - F
    shape = 2 - mean / (mean - 2 * lower) if mean > 2 * lower else lowest
    shape = min(max(shape, lowest), highest)
    return Pareto(mean * (1 - shape), shape)


def _peaks(numbers: np.ndarray, seconds: float, start: float, merge_seconds: float, min_seconds: float) -> list[float]:
    """Of each event above `start` the level up to which there is one in it: thresholds below it alarm."""
    edges = np.linspace(0, seconds, len(numbers) + 1)

    def told(first: int, end: int, level: float) -> list[tuple[int, int]]:
        """The events that reach `level`, of so many frames."""
        return events_above(
            numbers[first:end],
            np.nextafter(level, -np.inf),
            times=edges[first:end],
            ends=edges[first + 1 : end + 1],
            merge_seconds=merge_seconds,
            min_seconds=min_seconds,
        )

    peaks = []
    for first, end in told(0, len(numbers), np.nextafter(start, np.inf)):
        levels = np.unique(numbers[first:end])
        levels = levels[levels > start]
        # The higher the level, the less is above it: from some level on there is no event any more.
        peaks.append(float(levels[bisect_left(levels, True, key=lambda level: not told(first, end, level)) - 1]))
    return peaks


def smoothed(numbers: np.ndarray, times: np.ndarray, sigma: float) -> np.ndarray:
    """`(frames,)` float -> their Gaussian mean over time, at the ends of what is there; `sigma` in seconds.

    Frames count as evenly spaced.
    """
    if sigma == 0 or len(times) < 2:
        return numbers.astype(np.float64)
    frames = sigma * (len(times) - 1) / max(float(times[-1] - times[0]), 1e-9)
    reach = min(int(KERNEL_SIGMAS * frames), len(numbers) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    padded = _convolved(numbers, kernel)[reach : reach + len(numbers)]
    return padded / _convolved(np.ones(len(numbers)), kernel)[reach : reach + len(numbers)]


def _convolved(numbers: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`np.convolve`, in a time that is hardly more than linear."""
    if len(kernel) < LONG_KERNEL:
        return np.convolve(numbers, kernel)
    length = len(numbers) + len(kernel) - 1
    return np.fft.irfft(np.fft.rfft(numbers, length) * np.fft.rfft(kernel, length), length)


def tail_of(model: Any) -> Tail | None:
    """The tail that a detector's file has; None: its scores need none.

    Raises:
        ValueError: it cannot be meant.
    """
    if not hasattr(model, "peaks_a_day"):
        return None
    tail = Tail(
        model.levels.cpu().numpy(),
        Pareto(float(model.tail_scale), float(model.tail_shape)),
        Pareto(float(model.peak_scale), float(model.peak_shape)),
        float(model.peaks_a_day),
        float(model.smooth_seconds),
    )
    deviations = [float(one.min()) for one in (model.part_std, model.motion_std)]
    if min(deviations) <= 0 or not 0 <= int(model.motion_quantile) < len(SHARES):
        raise ValueError("what it says of distances from normal footage makes no sense")
    falls = all(one.scale > 0 and one.shape >= 0 for one in (tail.frames, tail.peaks))
    if not falls or min(tail.peaks_a_day, tail.smooth_seconds) < 0 or (np.diff(tail.levels) < 0).any():
        raise ValueError("what it says of normal footage makes no sense")
    return tail


def keep_tail(model: Any, tail: Tail) -> None:
    """Write a tail into a detector's tensors."""
    import torch

    model.levels.copy_(torch.from_numpy(tail.levels))
    numbers = {
        "tail_scale": tail.frames.scale,
        "tail_shape": tail.frames.shape,
        "peak_scale": tail.peaks.scale,
        "peak_shape": tail.peaks.shape,
        "peaks_a_day": tail.peaks_a_day,
    }
    for name, value in numbers.items():
        getattr(model, name).fill_(value)
