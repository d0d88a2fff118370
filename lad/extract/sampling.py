"""Which frames a clip covers: the one place that knows. Source frames -> sampled frames -> clips, and scores back.

Sampled frames are what clips are cut from: the source frames themselves, or the picture on display at every `1/rate`
seconds. Pure numpy: features, labels, scores and times all come through here, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.extract.video import VideoError, VideoInfo

MAX_GAP_SECONDS = 3600.0  # between two frames; a damaged timestamp can claim years, to be filled with one picture

Tail = Literal["pad", "drop"]
T = TypeVar("T")
Number = TypeVar("Number", int, np.ndarray)


def _slack(rate: float) -> float:
    """Seconds by which a frame may be late and still count as on time.

    Matroska, WebM and FLV round times to milliseconds, that of the first frame too: together up to one. A little more
    than that, since 29.97 frames a second are late by exactly one at times. Never near a whole step.
    """
    return min(1.01e-3, 0.25 / rate)


def last_seconds(fps: float) -> float:
    """How long the last frame of a video of so many frames a second lasts, an hour at most: a file may claim years."""
    return min(1 / fps, MAX_GAP_SECONDS)


def sample_indices(times: np.ndarray, fps: float, rate: float | None) -> np.ndarray:
    """Which source frame each sampled frame shows.

    Sampled frame `r` is the picture on display at `r / rate`: the last frame that has begun by then (to a
    millisecond). There is one for every such instant before the end of the last frame, and at least one.

    Args:
        times: `(frames,)` float64, seconds since the first frame, never decreasing.
        fps: average frames a second; the last frame lasts `last_seconds(fps)`.
        rate: sampled frames a second; None: every source frame once, whatever its time.

    Returns:
        `(sampled,)` int64, never decreasing.
    """
    if rate is None or len(times) == 0:
        return np.arange(len(times))
    end, slack = times[-1] + last_seconds(fps), _slack(rate)
    instants = np.arange(int(end * rate) + 2) / rate
    instants = instants[: max(1, int((instants < end - slack).sum()))]
    return np.searchsorted(times, instants + slack, side="right") - 1


def resample(frames: Iterable[T], info: VideoInfo, rate: float | None) -> Iterator[T]:
    """The frames that `sample_indices` chooses, while they are decoded; holds one frame and looks at none.

    Args:
        frames: of a video, whatever they are; when one is taken, its time is the last of `info.times`; `info.fps` is
            final after the last.
        info: of the same video.
        rate: sampled frames a second; None: all frames as they come. A picture may come several times.

    Raises:
        VideoError: two frames are more than an hour apart.
    """
    if rate is None:
        yield from frames
        return
    slack, sampled, last = _slack(rate), 0, 0.0
    shown: T | None = None
    for number, frame in enumerate(frames):
        time = info.times[-1]
        if time - last > MAX_GAP_SECONDS:
            raise VideoError(
                f"frame {number} comes {time - last:.0f} s after the one before, which extract.fps would fill with one "
                "picture: cut the file there, or leave extract.fps out"
            )
        while shown is not None and sampled / rate + slack < time:
            yield shown
            sampled += 1
        shown, last = frame, time
    if shown is not None:
        end = last + last_seconds(info.fps)
        while sampled == 0 or sampled / rate < end - slack:
            yield shown
            sampled += 1


def clip_start(clip: Number, stride: int, together: int = 1) -> Number:
    """The first sampled frame of a clip, or of each of an array of them; arguments as in `clip_starts`."""
    return clip // together * together * stride + clip % together * min(stride, CLIP_FRAMES)


def clip_starts(frames: int, stride: int, tail: Tail, together: int = 1) -> np.ndarray:
    """The first sampled frame of each clip: 0, stride, 2 stride, ...

    Args:
        frames: sampled frames of the video.
        stride: frames from one clip to the next, 1 or more; more than 16 leave frames between clips.
        tail: `pad` goes on until every frame is covered, or would be if clips left none between them; `drop` makes
            whole clips only.
        together: clips that follow one another without a gap, because a network sees them as one; the gap after them
            is as large as all of theirs would be. Without gaps they do so anyway.

    Returns:
        `(clips,)` int64.
    """
    if stride < 1:
        raise ValueError(f"a stride of {stride} frames: clips would not move on")
    beyond = frames - CLIP_FRAMES  # the first clip
    if stride >= CLIP_FRAMES:
        pieces, rest = divmod(frames, stride * together)
        clips = pieces * together + min(together, (rest if tail == "drop" else rest + CLIP_FRAMES - 1) // CLIP_FRAMES)
    elif tail == "drop":
        clips = beyond // stride + 1 if beyond >= 0 else 0
    else:
        clips = max(0, -(-beyond // stride)) + 1 if frames > 0 else 0
    return clip_start(np.arange(clips), stride, together)


def clip_frames(frames: int, stride: int, tail: Tail, together: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The sampled frame at each position of each clip; padding repeats the last one.

    Returns:
        `(clips, 16)` int64 frames, and `(clips, 16)` bool: False where it is padding.
    """
    index = clip_starts(frames, stride, tail, together)[:, None] + np.arange(CLIP_FRAMES)
    return np.minimum(index, frames - 1), index < frames


def spread(
    clip_scores: np.ndarray, times: np.ndarray, fps: float, rate: float | None, stride: int, together: int = 1
) -> np.ndarray:
    """Scores of clips -> a score for every source frame.

    A sampled frame gets the mean over the clips that cover it, padding left out. One between clips gets the score of
    the nearest one that a clip covers, and a source frame that of the sampled frame nearest in time (of two, the
    earlier). Frames after the last clip get the last score; clips beyond the video's end count for nothing.

    Args:
        clip_scores: `(clips, 16)` float, one a frame of each clip.
        times, fps, rate: as in `sample_indices`.
        stride, together: as in `clip_starts`.

    Returns:
        `(frames,)` float64.

    Raises:
        ValueError: there is no clip, or it does not have 16 scores.
    """
    if not len(clip_scores) or clip_scores.shape[1:] != (CLIP_FRAMES,):
        raise ValueError(f"scores of shape {clip_scores.shape}; they are (clips, {CLIP_FRAMES})")
    index, inside = clip_frames(len(sample_indices(times, fps, rate)), stride, "pad", together)
    index, inside, clip_scores = index[: len(clip_scores)], inside[: len(clip_scores)], clip_scores[: len(index)]
    covering = np.bincount(index[inside])
    sampled_scores = np.bincount(index[inside], weights=clip_scores[inside]) / np.maximum(covering, 1)
    covered = nearest_covered(nearest_sampled(times, rate), stride, together)
    return sampled_scores[np.clip(covered, 0, len(covering) - 1)]


def clip_of_frame(times: np.ndarray, rate: float | None, stride: int, clips: int, together: int = 1) -> np.ndarray:
    """`(frames,)` int64: of `clips` clips the last that covers each source frame, or is nearest to it."""
    covered = nearest_covered(nearest_sampled(times, rate), stride, together)
    return np.clip(last_clip(covered, stride, together), 0, clips - 1)


def last_clip(covered: np.ndarray, stride: int, together: int = 1) -> np.ndarray:
    """The last clip that covers each of these sampled frames, if clips never ended."""
    piece, place = np.divmod(covered, stride * together)
    return piece * together + place // min(stride, CLIP_FRAMES)


def nearest_covered(sampled: np.ndarray, stride: int, together: int = 1) -> np.ndarray:
    """Sampled frames -> the one nearest to each that a clip covers, of two the earlier; as if clips never ended."""
    if stride <= CLIP_FRAMES:
        return sampled
    length = stride * together  # from one piece to the next
    place = sampled % length
    last = CLIP_FRAMES * together - 1  # of a piece; the next one begins after `length - last` frames
    moved = np.where(2 * (place - last) <= length - last, np.minimum(place, last), length)
    return sampled - place + moved


def nearest_sampled(times: np.ndarray, rate: float | None) -> np.ndarray:
    """`(frames,)` int64: the sampled frame nearest in time to each source frame; it may lie beyond the last one."""
    if rate is None:
        return np.arange(len(times))
    # Rounds half down, and takes what milliseconds cannot tell from a half for a half.
    return np.ceil((times - _slack(rate)) * rate - 0.5).astype(np.int64)


def sampled_labels(labels: np.ndarray, times: np.ndarray, fps: float, rate: float | None) -> np.ndarray:
    """Labels of source frames `(frames,)` -> of sampled frames `(sampled,)`: each has that of the frame it shows."""
    return labels[sample_indices(times, fps, rate)]


def clip_times(
    times: np.ndarray, fps: float, rate: float | None, stride: int, tail: Tail, together: int = 1
) -> np.ndarray:
    """When each clip begins and ends.

    It begins when the first source frame that it shows goes on display, and ends when its last real (not padded)
    sampled frame goes off display: at the next frame, the next sampled instant, or the end of the video.

    Returns:
        `(clips, 2)` float64, seconds since the first frame.
    """
    shown = sample_indices(times, fps, rate)
    index, _ = clip_frames(len(shown), stride, tail, together)
    if not len(index):
        return np.zeros((0, 2))
    ends = times[1:] if rate is None else np.arange(1, len(shown)) / rate
    ends = np.append(ends, times[-1] + last_seconds(fps))
    return np.stack((times[shown[index[:, 0]]], ends[index[:, -1]]), axis=1)


@dataclass(frozen=True)
class Timeline:
    """The frames of one video and the clips that were cut from them.

    Attributes:
        times: `(frames,)` float64, seconds since the first frame.
        fps: average frames a second.
        rate: frames a second at which clips were cut; None: the video's own.
        stride: frames from one clip's start to the next.
        together: clips without gaps between them, as in `clip_starts`.
    """

    times: np.ndarray
    fps: float
    rate: float | None = None
    stride: int = CLIP_FRAMES
    together: int = 1

    @property
    def frames_a_clip(self) -> int:
        """Sampled frames that a clip speaks for: its own, and with gaps those between it and the next one."""
        return max(CLIP_FRAMES, self.stride)

    @property
    def ends(self) -> np.ndarray:
        """`(frames,)` float64: the seconds at which each frame goes off display."""
        return np.append(self.times[1:], self.times[-1] + last_seconds(self.fps))

    def by_clip(self, frame_labels: np.ndarray, clips: int) -> tuple[np.ndarray, np.ndarray]:
        """`(frames,)` labels -> labels of the frames of each clip and which of these are real, `(clips, 16)` float32.

        Clips beyond the video's end hold no real frame.
        """
        labels = sampled_labels(frame_labels, self.times, self.fps, self.rate)
        index, inside = clip_frames(len(labels), self.stride, "pad", self.together)
        targets = np.zeros((clips, CLIP_FRAMES), dtype=np.float32)
        real = np.zeros_like(targets)
        known = min(clips, len(index))
        real[:known] = inside[:known]
        targets[:known] = labels[index[:known]] * inside[:known]
        return targets, real

    def by_frame(self, clip_scores: np.ndarray) -> np.ndarray:
        """`(clips, 16)` -> `(frames,)`: the mean where clips overlap; frames after the last clip take its score."""
        return spread(clip_scores, self.times, self.fps, self.rate, self.stride, self.together)

    def clip_of_frame(self, clips: int) -> np.ndarray:
        """`(frames,)` int64: a clip that holds each frame or is nearest to it, the last one for frames after it."""
        return clip_of_frame(self.times, self.rate, self.stride, clips, self.together)

    def seen(self, frames: Sequence[int]) -> np.ndarray:
        """Source frames -> the one nearest to each that a clip shows."""
        shown = sample_indices(self.times, self.fps, self.rate)
        index, _ = clip_frames(len(shown), self.stride, "pad", self.together)
        places = nearest_covered(nearest_sampled(self.times, self.rate)[list(frames)], self.stride, self.together)
        return shown[np.minimum(places, index[-1, -1])]

    def clip_times(self, clips: int) -> np.ndarray:
        """`(clips, 2)` float64: the seconds at which each clip begins and ends."""
        return clip_times(self.times, self.fps, self.rate, self.stride, "pad", self.together)[:clips]


def evenly_spaced(
    frames: int, fps: float, rate: float | None = None, stride: int = CLIP_FRAMES, together: int = 1
) -> Timeline:
    """The timeline of so many frames a second."""
    return Timeline(np.arange(frames) / fps, fps, rate, stride, together)
