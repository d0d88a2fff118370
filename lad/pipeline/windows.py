"""Windows of clips for training: every video's clips in one matrix, windows drawn from it by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lad.dataset import Video
from lad.extract.clips import CLIP_FRAMES


@dataclass(frozen=True)
class LabelledFeatures:
    """A video ready for training or validation.

    Attributes:
        video: the video.
        features: `(clips, D)` float32.
        n_frames: frames that were decoded; the last clip may reach beyond them.
        label: index of its category.
    """

    video: Video
    features: np.ndarray
    n_frames: int
    label: int


@dataclass(frozen=True)
class WindowBatch:
    """A training batch of windows of K clips: `features` (K, batch, D), `labels` (batch,), the rest (batch, 16 K)."""

    features: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor


class WindowSampler:
    """Draws balanced batches of abnormal and normal windows.

    A video is drawn first, so that long ones do not dominate, then one of its starts, each as likely as the others:
    `0 .. clips - K`, or 0 alone in a video shorter than K clips. A window is abnormal where it overlaps an event.

    Args:
        videos: all that may be drawn from.
        window: K, clips.
        device: where batches are assembled; the features of all videos are held there.

    Raises:
        ValueError: no window is abnormal.
    """

    def __init__(self, videos: Sequence[LabelledFeatures], window: int, device: str = "cpu") -> None:
        self.window, self.device = window, device
        lengths = np.array([len(video.features) for video in videos])
        first_rows = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.features = torch.from_numpy(np.concatenate([video.features for video in videos])).to(device)
        self.first_row, self.last_row, self.labels = (
            torch.from_numpy(array).to(device)
            for array in (first_rows, first_rows + lengths - 1, np.array([video.label for video in videos]))
        )
        targets = np.zeros((lengths.sum(), CLIP_FRAMES), dtype=np.float32)
        mask = np.zeros((lengths.sum(), CLIP_FRAMES), dtype=np.float32)
        self.abnormal_starts: list[tuple[int, torch.Tensor]] = []
        self.normal_starts: list[tuple[int, torch.Tensor]] = []
        for index, video in enumerate(videos):
            rows = slice(first_rows[index], first_rows[index] + lengths[index])
            frames = np.arange(lengths[index] * CLIP_FRAMES).reshape(-1, CLIP_FRAMES)
            mask[rows] = frames < video.n_frames
            targets[rows] = video.video.frame_labels(frames.size).reshape(-1, CLIP_FRAMES) * mask[rows]
            abnormal_clips: np.ndarray = targets[rows].max(axis=1) > 0
            starts = np.arange(max(lengths[index] - window, 0) + 1)
            overlaps = np.array([abnormal_clips[start : start + window].any() for start in starts])
            for pool, chosen in ((self.abnormal_starts, starts[overlaps]), (self.normal_starts, starts[~overlaps])):
                if len(chosen):
                    pool.append((index, torch.from_numpy(chosen)))
        self.targets, self.mask = torch.from_numpy(targets).to(device), torch.from_numpy(mask).to(device)
        if not self.abnormal_starts:
            raise ValueError("no training video has an event: there is nothing to learn from")

    def draw(self, abnormal: int, normal: int) -> WindowBatch:
        """A batch of so many abnormal and normal windows, from torch's own random numbers."""
        pairs = [self._draw_window(self.abnormal_starts) for _ in range(abnormal)]
        pairs += [self._draw_window(self.normal_starts) for _ in range(normal if self.normal_starts else 0)]
        videos, starts = (torch.tensor(column, device=self.device) for column in zip(*pairs, strict=True))
        return self.gather(videos, starts)

    def _draw_window(self, pool: list[tuple[int, torch.Tensor]]) -> tuple[int, int]:
        video, starts = pool[int(torch.randint(len(pool), ()))]
        return video, int(starts[int(torch.randint(len(starts), ()))])

    def gather(self, videos: torch.Tensor, starts: torch.Tensor) -> WindowBatch:
        """The windows that begin at clip `starts[i]` of video `videos[i]`; both `(batch,)` int64."""
        rows = self.first_row[videos] + starts + torch.arange(self.window, device=self.device)[:, None]
        inside = rows <= self.last_row[videos]
        rows = torch.minimum(rows, self.last_row[videos])  # short videos are filled up with their last clip

        def by_frame(table: torch.Tensor) -> torch.Tensor:
            return (table[rows] * inside[..., None]).transpose(0, 1).flatten(1)

        return WindowBatch(self.features[rows], self.labels[videos], by_frame(self.targets), by_frame(self.mask))
