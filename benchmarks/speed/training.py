"""Training on the CPU, against code as it is usually written: a step, a validation, and what both cost of many videos.

In float32, both steps must have the same losses, and both validations the same scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.speed.rows import WORK, Row, medians
from lad.config import TrainConfig
from lad.detector.scoring import score_features
from lad.detector.training_windows import TrainingVideo, WindowBatch, WindowSampler
from lad.detector.validation import scores_of
from lad.device import multiplies_bfloat16
from lad.features.video import VideoFeatures
from lad.models.aed import AED, ConvLSTMCell, multi_task_loss

VIDEOS, CLIPS, DIM, CATEGORIES = 60, 160, 2048, 14  # every second video is abnormal from its first to its last frame
WINDOW, BATCH, HIDDEN = 5, 60, 128
STEPS = 20  # whose losses are compared
TARGET = 1.4
HELD_OUT = 8  # videos that are validated
# Of 2,000 videos a fifth is held out; their clips as `benchmarks.loading` has them. So many steps lie between two
# evaluations, of which 12,000 steps have 60.
MANY, MANY_CLIPS, EPOCH = 400, 210, TrainConfig().evaluate_every
EPOCH_TARGET = 1.3
NOISE = 1e-3  # of the first loss. Rounding may come to so much, since Adam makes a step of the smallest gradient

Window = tuple[int, int, int]  # video, first clip, crop


def measure() -> list[Row]:
    """Time steps and validations. What is compared takes turns.

    Raises:
        RuntimeError: losses or scores differ by more than rounding.
    """
    videos = _videos()
    rows = _in_float32(videos)
    return rows + (_in_bfloat16(videos) if multiplies_bfloat16("cpu") else [])


def _in_float32(videos: list[TrainingVideo]) -> list[Row]:
    plain = Training(lambda windows: stack_windows(videos, windows), plain_detector, fused=False)
    ours = _training(videos)
    for _ in range(STEPS):
        plain.step()
        ours.step()
    apart = max(abs(a - b) for a, b in zip(ours.losses, plain.losses, strict=True)) / plain.losses[0]
    if apart > NOISE:
        raise RuntimeError(f"the losses of {STEPS} steps differ by {apart:.1e}")
    plain_step, step = medians([plain.step, ours.step])

    usual, of_ours = Validation(videos[:HELD_OUT], usual=True), Validation(videos[:HELD_OUT])
    difference = usual.difference(of_ours)
    if difference > NOISE:
        raise RuntimeError(f"the scores of {HELD_OUT} videos differ by {difference:.1e}")
    plain_clip, clip = (taken / HELD_OUT / CLIPS for taken in medians([usual.scores, of_ours.scores]))
    curve = f"{_curve(ours)}, the same to {apart:.0e} of the first"
    return [
        _row(f"training step, {BATCH} windows ({STEPS} steps: {curve})", plain_step, step, TARGET),
        _row(f"validation, a clip (scores are the same to {difference:.0e})", plain_clip, clip),
        _row(
            f"... of {MANY} videos with {MANY * MANY_CLIPS:,} clips, and {EPOCH} steps before it",
            _epoch(step, plain_clip),
            _epoch(step, clip),
        ),
    ]


def _in_bfloat16(videos: list[TrainingVideo]) -> list[Row]:
    """Against float32; both together against steps in float32 and a validation as it is usually written."""
    fine, coarse = _training(videos), _training(videos)
    coarse.model.multiply_in(torch.bfloat16)
    for _ in range(STEPS):
        fine.step()
        coarse.step()
    usual, of_fine, of_coarse = (Validation(videos[:HELD_OUT], usual=usual) for usual in (True, False, False))
    of_coarse.model.multiply_in(torch.bfloat16)
    works = [fine.step, coarse.step, usual.scores, of_fine.scores, of_coarse.scores]
    step, coarse_step, *scored = medians(works)
    plain_clip, clip, coarse_clip = (taken / HELD_OUT / CLIPS for taken in scored)
    return [
        _row(f"training step in bfloat16, against float32 ({STEPS} steps: {_curve(coarse)})", step, coarse_step),
        _row(
            f"validation in bfloat16, a clip, against float32 (scores differ by {of_fine.difference(of_coarse):.0e})",
            clip,
            coarse_clip,
        ),
        _row(
            "... both of so many in bfloat16, against steps in float32 and validation as it is usually written",
            _epoch(step, plain_clip),
            _epoch(coarse_step, coarse_clip),
            EPOCH_TARGET,
        ),
    ]


def _epoch(step: float, clip: float) -> float:
    """The seconds of `EPOCH` steps and of the validation after them."""
    return EPOCH * step + MANY * MANY_CLIPS * clip


def _row(what: str, before: float, after: float, target: float | None = None) -> Row:
    """Seconds against seconds."""
    ratio, told = before / after, "" if target is None else f">= {target}x"
    return Row(what, _shown(before), _shown(after), f"{ratio:.1f}x", told, None if target is None else ratio >= target)


def _shown(seconds: float) -> str:
    if seconds < 0.1:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def _curve(training: Training) -> str:
    return f"loss {training.losses[0]:.2f} to {training.losses[STEPS - 1]:.2f}"


class Validation:
    """The validation of a detector on some videos.

    Args:
        videos: to score.
        usual: as it is usually written: one video after the other, and every block of windows transforms the kernels.
    """

    def __init__(self, videos: list[TrainingVideo], *, usual: bool = False) -> None:
        self.videos, self.usual = videos, usual
        torch.manual_seed(0)
        self.model = AED(feature_dim=DIM, classes=CATEGORIES, window=WINDOW, hidden=HIDDEN)
        if usual:
            weights = self.model.state_dict()
            self.model.convlstm1, self.model.convlstm2 = (
                ForgetfulLayer(DIM // 16, HIDDEN),
                ForgetfulLayer(HIDDEN, HIDDEN),
            )
            self.model.load_state_dict(weights)

    def scores(self) -> list[np.ndarray]:
        """Of each video's clips."""
        if not self.usual:
            return [found.clips for found in scores_of(self.model, self.videos)]
        self.model.eval()
        return [score_features(self.model, video.features).clips for video in self.videos]

    def difference(self, other: Validation) -> float:
        """The largest of two scores of a frame."""
        return max(float(np.abs(a - b).max()) for a, b in zip(self.scores(), other.scores(), strict=True))


class ForgetfulLayer(ConvLSTMCell):
    """It transforms its kernel whenever it needs it."""

    def _kernel(self, first: int, end: int | None = None) -> torch.Tensor:
        return self._kernel_at_points(self.Gates.weight[:, first:end])


@dataclass
class Training:
    """The training of one detector.

    Attributes:
        gather: puts a batch of windows together.
        detect: the detector and windows `(K, batch, D)` -> class logits and scores.
        fused: whether Adam is one function over all parameters.
        losses: of the steps so far.
    """

    gather: Callable[[list[Window]], WindowBatch]
    detect: Callable[[AED, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    fused: bool
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.model = AED(feature_dim=DIM, classes=CATEGORIES, window=WINDOW, hidden=HIDDEN)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-4, weight_decay=5e-4, fused=self.fused)
        self.rng = np.random.default_rng(0)

    def step(self) -> None:
        starts = self.rng.integers(0, CLIPS - WINDOW + 1, BATCH)
        batch = self.gather([(place % VIDEOS, int(start), 0) for place, start in enumerate(starts)])
        logits, scores = self.detect(self.model, batch.features)
        loss = multi_task_loss(logits, scores, batch.labels, batch.targets, batch.mask, 1, 10)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())


def _training(videos: list[TrainingVideo]) -> Training:
    """As `lad train` does it."""
    return Training(WindowSampler(videos, WINDOW).gather, lambda model, windows: model(windows), fused=True)


def stack_windows(videos: list[TrainingVideo], windows: list[Window]) -> WindowBatch:
    """A batch as it is usually put together. The file of each window's video is loaded, and windows are stacked."""
    features, targets, mask = [], [], []
    for index, start, _ in windows:
        video, clips = videos[index], slice(start, start + WINDOW)
        features.append(torch.from_numpy(np.load(video.source.paths[0])[clips]))
        targets.append(torch.from_numpy(video.targets[clips].ravel()))
        mask.append(torch.from_numpy(video.mask[clips].ravel()))
    labels = torch.tensor([videos[index].label for index, _, _ in windows])
    return WindowBatch(torch.stack(features, dim=1), labels, torch.stack(targets), torch.stack(mask))


def plain_detector(model: AED, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The detector as it is usually written, with a convolution of input and state for every clip, even the first."""
    assert model.convlstm2 is not None
    states = [clip.view(-1, DIM // 16, 4, 4) for clip in windows]
    for layer in (model.convlstm1, model.convlstm2):
        states = _plain_layer(layer, states)
    shared = F.relu(model.fc_down(states[-1].flatten(1)))
    return model.cls_head(shared), torch.sigmoid(model.reg_head(shared))


def _plain_layer(layer: ConvLSTMCell, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    state = cell = torch.zeros(len(inputs[0]), HIDDEN, 4, 4)
    states = []
    for clip in inputs:
        gates = layer.Gates(torch.cat([clip, state], dim=1))
        input_gate, forget_gate, output_gate, candidate = gates.chunk(4, dim=1)
        cell = torch.sigmoid(forget_gate) * cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
        state = torch.sigmoid(output_gate) * torch.tanh(cell)
        states.append(state)
    return states


def _videos() -> list[TrainingVideo]:
    """Videos whose features tell their category and whether they are abnormal, as those of a trained network would."""
    folder = WORK / "windows"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    signs = rng.standard_normal((CATEGORIES + 1, DIM), dtype=np.float32)  # of each category, and of an anomaly
    videos = []
    for number in range(VIDEOS):
        path, abnormal, label = folder / f"{number}.npy", number % 2, number % CATEGORIES
        noise = rng.standard_normal((CLIPS, DIM), dtype=np.float32)
        np.save(path, np.abs(noise + signs[label] + abnormal * signs[-1]))
        source = VideoFeatures([path], None, CLIPS * 16, fps=25)
        frame_labels = np.full(CLIPS * 16, bool(abnormal))
        videos.append(TrainingVideo(source, source.open(), frame_labels, label))
    return videos
