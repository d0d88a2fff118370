"""Windows of clips for training: drawn by video and start, gathered from the disk or where the device has features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lad.clip import CLIP_FRAMES
from lad.config import TrainConfig
from lad.dataset import Video
from lad.errors import LadError
from lad.events import Click
from lad.features.video import ClipFeatures, VideoFeatures
from lad.files import READERS
from lad.models.aed import UNKNOWN_CATEGORY, multi_task_loss


class TrainingError(LadError):
    """There is nothing to learn from, or it cannot be used."""


@dataclass(frozen=True)
class TrainingVideo:
    """A video ready for training or validation.

    Attributes:
        source: its features as files, and which frames they tell of.
        features: of its clips.
        frame_labels: `(frames,)` bool, true for anomalous.
        label: index of its category; `UNKNOWN_CATEGORY`: nobody said.
        labelled: `(frames,)` bool, false for the frames of which nobody knows what they show; None: all are known.
        clicks: the frames that are labelled, where those are single ones inside events; empty: they are not.
        group: videos of one group stay together when videos are divided; a camera's, where their sources name one.
        targets: `(clips, 16)` float32, 1 on anomalous frames.
        mask: `(clips, 16)` float32, 1 on real frames that are labelled: the last clip may reach beyond the video's end.
    """

    source: VideoFeatures
    features: ClipFeatures
    frame_labels: np.ndarray
    label: int
    labelled: np.ndarray | None = None
    clicks: tuple[int, ...] = ()
    group: str = ""
    targets: np.ndarray = field(init=False)
    mask: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        timeline = self.source.timeline()
        targets, mask = timeline.by_clip(self.frame_labels, self.features.clips)
        if self.labelled is not None:
            mask, _ = timeline.by_clip(self.labelled, self.features.clips)
            targets *= mask
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "mask", mask)

    @property
    def is_abnormal(self) -> bool:
        return bool(self.frame_labels.any())

    @property
    def known_clips(self) -> np.ndarray | slice:
        """Those of which a frame is labelled."""
        if self.labelled is None:
            return slice(self.features.clips)
        return np.flatnonzero(self.mask.any(axis=1))

    def known(self, frames: np.ndarray) -> np.ndarray:
        """What `(frames,)` holds of the labelled frames."""
        return frames if self.labelled is None else frames[self.labelled]


def open_labelled(
    videos: Sequence[Video],
    features: Mapping[str, VideoFeatures],
    classes: Sequence[str],
    *,
    whole: bool = False,
    reference_clips: int = 0,
) -> Iterator[TrainingVideo]:
    """The videos with their labels and features, in order.

    Args:
        videos: to open.
        features: of each, by its id.
        classes: names of the categories.
        whole: each frame has the label of its video. Else, of a video with clicks no other frame is labelled.
        reference_clips: features are relative to the mean of so many first clips of their video; 0: as they are.
    """
    for video in videos:
        source = features[video.id]
        labelled = video.known_frames(source.frames) if video.unlabelled else None
        clicks: tuple[int, ...] = ()
        if whole:
            truth = np.full(source.frames, video.is_abnormal)
        elif clicks := tuple(min(one.frame, source.frames - 1) for one in video.events if isinstance(one, Click)):
            truth = np.zeros(source.frames, dtype=bool)
            truth[source.timeline().seen(clicks)] = True
            labelled = truth
        else:
            truth = video.frame_labels(source.frames)
        label = classes.index(video.categories[0]) if video.categories else UNKNOWN_CATEGORY
        opened = source.open().relative_to_start(reference_clips)
        yield TrainingVideo(source, opened, truth, label, labelled, clicks, video.group)


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
    `0 .. clips - K`, or 0 alone in a video shorter than K clips; then one of its crops. A window is abnormal where it
    overlaps an event. One without a labelled frame is never drawn.

    Args:
        videos: all that may be drawn from.
        window: K, clips.
        device: where batches are needed; a GPU that has room for the features gets all of them at once.

    Raises:
        TrainingError: no window is abnormal.
    """

    def __init__(self, videos: Sequence[TrainingVideo], window: int, device: str = "cpu") -> None:
        self.videos, self.window, self.device = list(videos), window, device
        self.abnormal_starts: list[tuple[int, np.ndarray]] = []
        self.normal_starts: list[tuple[int, np.ndarray]] = []
        for index, video in enumerate(self.videos):
            clips = len(video.targets)
            starts = np.arange(max(clips - window, 0) + 1)
            anomalous = np.concatenate([[0], np.cumsum(video.targets.max(axis=1) > 0)])  # clips before each clip
            overlaps = anomalous[np.minimum(starts + window, clips)] > anomalous[starts]
            normal = ~overlaps
            if video.labelled is not None:
                labelled = np.concatenate([[0], np.cumsum(video.mask.max(axis=1) > 0)])
                normal &= labelled[np.minimum(starts + window, clips)] > labelled[starts]
            for pool, chosen in ((self.abnormal_starts, starts[overlaps]), (self.normal_starts, starts[normal])):
                if len(chosen):
                    pool.append((index, chosen))
        if not self.abnormal_starts and any(video.frame_labels.any() for video in self.videos):
            raise TrainingError(
                "the events of the training videos lie where no clip is: behind the last whole one, which "
                "extract.tail=pad mends, or between clips, which extract.clip_stride=16 mends"
            )
        if not self.abnormal_starts:
            raise TrainingError("no training video has an event: there is nothing to learn from")
        features = [video.features for video in self.videos]
        self.on_device = _OnDevice(features, device) if fits_on_device(features, device) else None

    @property
    def feature_dim(self) -> int:
        return self.videos[0].features.dim

    def loss(self, model: Any, config: TrainConfig) -> torch.Tensor:
        """The paper's loss of a detector on a batch of them."""
        batch = self.draw(config.abnormal_windows, config.normal_windows)
        logits, scores = model(batch.features)
        return multi_task_loss(
            logits, scores, batch.labels, batch.targets, batch.mask, config.class_weight, config.score_weight
        )

    def draw(self, abnormal: int, normal: int) -> WindowBatch:
        """A batch of so many abnormal and normal windows, from torch's own random numbers."""
        drawn = [self._draw_window(self.abnormal_starts) for _ in range(abnormal)]
        drawn += [self._draw_window(self.normal_starts) for _ in range(normal if self.normal_starts else 0)]
        return self.gather(drawn)

    def _draw_window(self, pool: list[tuple[int, np.ndarray]]) -> tuple[int, int, int]:
        video, starts = pool[draw(len(pool))]
        start = int(starts[draw(len(starts))])
        crops = self.videos[video].features.crops
        return video, start, draw(crops) if crops > 1 else 0

    def gather(self, windows: Sequence[tuple[int, int, int]]) -> WindowBatch:
        """The windows (index of the video, first clip, crop)."""
        targets = np.zeros((len(windows), self.window, CLIP_FRAMES), dtype=np.float32)
        mask = np.zeros_like(targets)
        for place, (index, start, _) in enumerate(windows):
            video = self.videos[index]
            real = slice(start, start + self.window)
            targets[place, : len(video.targets[real])] = video.targets[real]
            mask[place, : len(video.mask[real])] = video.mask[real]
        labels = np.array([self.videos[index].label for index, _, _ in windows])
        arrays = (labels, targets.reshape(len(windows), -1), mask.reshape(len(windows), -1))
        features = self._read(windows) if self.on_device is None else self.on_device.gather(windows, self.window)
        return WindowBatch(*(tensor.to(self.device) for tensor in (features, *map(torch.from_numpy, arrays))))

    def _read(self, windows: Sequence[tuple[int, int, int]]) -> torch.Tensor:
        """Their features `(K, batch, D)` float32; a video shorter than K clips is filled up with its last one."""
        features = np.empty((self.window, len(windows), self.feature_dim), dtype=np.float32)
        for place, (index, start, crop) in enumerate(windows):
            rows = self.videos[index].features.rows(crop, slice(start, start + self.window))
            features[: len(rows), place] = rows
            features[len(rows) :, place] = rows[-1]
        return torch.from_numpy(features)


class _OnDevice:
    """The features of all videos in a device's memory.

    Attributes:
        rows: `(rows, D)` float32 on the device: of every video, of each of its crops, of each clip.
        first: `(videos,)` int64, each video's first row.
        clips: `(videos,)` int64.
    """

    def __init__(self, features: Sequence[ClipFeatures], device: str) -> None:
        self.clips = np.array([one.clips for one in features])
        *first, rows = np.cumsum([0, *(one.crops * one.clips for one in features)])
        self.first = np.array(first)
        self.rows = torch.empty((int(rows), features[0].dim), device=device)
        for one, place in zip(features, first, strict=True):
            crops = [one.rows(crop, slice(one.clips)) for crop in range(one.crops)]
            self.rows[place : place + one.crops * one.clips] = torch.from_numpy(np.concatenate(crops))

    def gather(self, windows: Sequence[tuple[int, int, int]], length: int) -> torch.Tensor:
        """`(length, batch, D)` on the device, the same numbers as from the files."""
        index, start, crop = np.array(windows).T
        clips = np.minimum(start + np.arange(length)[:, None], self.clips[index] - 1)
        return self.rows[torch.from_numpy(self.first[index] + crop * self.clips[index] + clips).to(self.rows.device)]


def fits_on_device(features: Sequence[ClipFeatures], device: str) -> bool:
    """Whether the features take at most half of a GPU's free memory; a CPU reads them from the system's page cache."""
    if not device.startswith("cuda"):
        return False
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return sum(one.crops * one.clips * one.dim for one in features) * 4 <= free // 2


def draw(choices: int) -> int:
    """One of so many, each as likely as the others, by torch's own random numbers."""
    return int(torch.randint(choices, ()))


def feature_statistics(videos: Sequence[TrainingVideo]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of all labelled clips and crops, each `(D,)` float32, in one pass over the features.

    Merged from those of each video by Chan, Golub and LeVeque's formula (1979), so that memory stays that of a video.
    By numpy: torch's own, over the rows of so small a matrix, takes 15 times as long.

    Raises:
        TrainingError: a video's features are not finite; names its file.
    """
    count = 0
    mean = np.zeros(videos[0].features.dim)
    squares = np.zeros_like(mean)  # sum of squared distances from the mean
    with ThreadPoolExecutor(READERS) as readers:
        for video, crops in zip(videos, readers.map(_crop_statistics, videos), strict=True):
            for n, middle, spread in crops:
                if not np.isfinite(spread).all():
                    raise TrainingError(f"{video.source.paths[0]}: holds numbers that are not finite")
                distance = middle - mean
                squares += spread + distance**2 * (count * n / (count + n))
                mean += distance * (n / (count + n))
                count += n
    return torch.from_numpy(mean).float(), torch.from_numpy(np.sqrt(squares / count)).float()


def _crop_statistics(video: TrainingVideo) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of each crop of a video: its clips, their mean, and the sum of their squared distances from that."""
    found = []
    for crop in range(video.features.crops if video.mask.any() else 0):
        rows = video.features.rows(crop, video.known_clips)
        middle = rows.mean(axis=0)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is named by who asks
            distances = rows - middle
            found.append((len(rows), middle, np.square(distances, out=distances).sum(axis=0)))
    return found
