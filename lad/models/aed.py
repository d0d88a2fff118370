"""The paper's detector: a ConvLSTM over a window of clips, then a category and a score for every frame.

The paper is Wan et al., "Anomaly detection in video sequences: A benchmark and computational model", IET Image
Processing 15, 2021. Parameters have the names that the authors' training code gives them in its checkpoints. The gates
have the same order: input, forget, output, candidate. So those checkpoints load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from lad.clip import CLIP_FRAMES
from lad.models.cpu.winograd import winograd_matrices

GRID = 4  # a clip's feature vector is seen as a map, (feature_dim / 16, 4, 4)
UNKNOWN_CATEGORY = -100  # label of a window of which nobody said what it shows
RELEASED_STATE_KEYS = ("convlstm1.Gates.weight", "reg_head.fc_2.weight", "cls_head.fc_2.weight")


def matrices_of_maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Winograd's F(4x4, 3x3), by which a padded 3x3 convolution of a 4x4 map needs 36 products instead of 144.

    Returns:
        `pixels_to_points` `(36, 16)`, `weights_to_points` `(36, 9)` and `points_to_pixels` `(16, 36)`, float32. They
        are what `lad.models.cpu.winograd` calls so, in two dimensions.
    """
    pixels_to_points, *others = winograd_matrices(GRID, 3)
    inside = pixels_to_points[:, 1:-1]  # the first and last of six pixels are the zeros around the map
    pixels, weights, products = (torch.kron(matrix, matrix).float() for matrix in (inside, *others))
    return pixels, weights, products


def tanh(x: torch.Tensor) -> torch.Tensor:
    """By the logistic function, which takes torch a third of the time of its own `tanh` on a CPU."""
    return 2 * torch.sigmoid(2 * x) - 1


class ConvLSTMCell(nn.Module):
    """A ConvLSTM layer with a 3x3 kernel, run over all steps of a sequence.

    The convolution for the gates is linear in the input and the hidden state. So `project` computes the input's share
    for all steps at once, and `forward` adds the hidden state's share step by step. In the first step the state is
    zero, and its share is skipped.

    Maps are `(16, n, channels)`, with their 4x4 pixels first. So each part of the convolution, which is Winograd's, is
    one product of matrices.

    Attributes:
        dtype: in which maps and kernel are multiplied at the points; all else is float32.
    """

    dtype = torch.float32
    pixels_to_points: torch.Tensor  # (36, 16)
    weights_to_points: torch.Tensor  # (36, 9)
    points_to_pixels: torch.Tensor  # (16, 36)

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.Gates = nn.Conv2d(in_channels + hidden, 4 * hidden, 3, padding=1)
        self._kept: dict[int, tuple[int, torch.Tensor]] = {}  # first channel -> version of the weights, kernel
        pixels_to_points, weights_to_points, points_to_pixels = matrices_of_maps()
        self.register_buffer("pixels_to_points", pixels_to_points, persistent=False)
        self.register_buffer("weights_to_points", weights_to_points, persistent=False)
        self.register_buffer("points_to_pixels", points_to_pixels, persistent=False)

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """The input's share of the gates, with the bias: `(16, n, in_channels)` -> `(16, n, 4 * hidden)`."""
        return self._convolve(x, self._kernel(0, self.in_channels)) + self.Gates.get_parameter("bias")

    def forward(self, projected: torch.Tensor) -> torch.Tensor:
        """`(16, steps, batch, 4 * hidden)` from `project` -> hidden states `(16, steps, batch, hidden)`."""
        recurrent_kernel = self._kernel(self.in_channels)
        hidden_states: list[torch.Tensor] = []
        cell: torch.Tensor | None = None
        for gates in projected.unbind(1):
            if hidden_states:
                gates = gates + self._convolve(hidden_states[-1], recurrent_kernel)
            input_gate, forget_gate, output_gate, candidate = gates.chunk(4, dim=-1)
            new = torch.sigmoid(input_gate) * tanh(candidate)
            cell = new if cell is None else torch.sigmoid(forget_gate) * cell + new
            hidden_states.append(torch.sigmoid(output_gate) * tanh(cell))
        return torch.stack(hidden_states, dim=1)

    def multiply_in(self, dtype: torch.dtype) -> None:
        self.dtype, self._kept = dtype, {}

    def train(self, mode: bool = True) -> ConvLSTMCell:
        self._kept = {}  # a fused optimizer changes weights, but not their `_version`
        return super().train(mode)

    def _kernel(self, first: int, end: int | None = None) -> torch.Tensor:
        """The kernel of these channels of input and hidden state, at the points: `(36, in, out)`.

        In inference it is transformed once, and not for each block of windows.
        """
        weight, keep = self.Gates.weight, torch.is_inference_mode_enabled() and not self.training
        version, kernel = self._kept.get(first, (None, None))
        if not keep or kernel is None or version != weight._version:
            at_points = self._kernel_at_points(weight[:, first:end])
            # In order: else torch copies a kernel in bfloat16 anew for each gradient.
            kernel = at_points.to(self.dtype, memory_format=torch.contiguous_format)
            if keep:
                self._kept[first] = (weight._version, kernel)
        return kernel

    def _kernel_at_points(self, weight: torch.Tensor) -> torch.Tensor:
        """`(out, in, 3, 3)` -> `(36, in, out)`."""
        by_input = weight.flatten(1).t().reshape(weight.shape[1], 9, weight.shape[0])  # (in, 9, out)
        return (self.weights_to_points @ by_input).transpose(0, 1)

    def _convolve(self, maps: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Maps `(16, n, in)` and a kernel at the points `(36, in, out)` -> `(16, n, out)`."""
        values = (self.pixels_to_points @ maps.flatten(1)).view(-1, *maps.shape[1:])  # (36, n, in)
        products = (values.to(self.dtype) @ kernel).float()  # (36, n, out)
        return (self.points_to_pixels @ products.flatten(1)).view(-1, *products.shape[1:])


class Head(nn.Module):
    """Two fully connected layers without bias, with ReLU between them."""

    def __init__(self, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.fc_1 = nn.Linear(in_features, hidden, bias=False)
        self.fc_2 = nn.Linear(hidden, out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc_2(F.relu(self.fc_1(x)))


class AED(nn.Module):
    """The multi-task detector with one (`aed`) or two (`aed_t`) ConvLSTM layers.

    Args:
        feature_dim: D, the length of a clip's feature vector, divisible by 16.
        classes: number of categories.
        window: K, the number of clips in a window.
        layers: number of ConvLSTM layers, 1 or 2.
        hidden: number of channels of the hidden state.
        dropout: share of the window's representation that is dropped in training. The paper has none.

    Raises:
        ValueError: `feature_dim` is not divisible by 16.
    """

    feature_mean: torch.Tensor  # (D,), of the training split
    feature_std: torch.Tensor  # (D,); a mean of 0 and a deviation of 1 leave features as they are

    def __init__(
        self, *, feature_dim: int, classes: int, window: int, layers: int = 2, hidden: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if feature_dim % GRID**2:
            raise ValueError(
                f"the detector views a feature vector as (D/16, 4, 4): {feature_dim} is not divisible by 16"
            )
        self.feature_dim, self.classes, self.window, self.layers = feature_dim, classes, window, layers
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.convlstm1 = ConvLSTMCell(feature_dim // GRID**2, hidden)
        self.convlstm2 = ConvLSTMCell(hidden, hidden) if layers == 2 else None
        self.fc_down = nn.Linear(hidden * GRID**2, 1024)
        self.dropout = nn.Dropout(dropout)
        self.cls_head = Head(1024, 512, classes)
        self.reg_head = Head(1024, 512, CLIP_FRAMES * window)

    def multiply_in(self, dtype: torch.dtype) -> None:
        """In which precision the convolutions multiply from now on; the parameters and all else stay float32."""
        self.convlstm1.multiply_in(dtype)
        if self.convlstm2 is not None:
            self.convlstm2.multiply_in(dtype)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """The part that does not depend on a clip's place in a window: `(n, D)` -> `(n, 16, 4 * hidden)`.

        It is computed once for each clip, and overlapping windows share it.
        """
        standardised = (features - self.feature_mean) / self.feature_std
        maps = standardised.view(-1, self.feature_dim // GRID**2, GRID**2).permute(2, 0, 1)
        return self.convlstm1.project(maps).transpose(0, 1)

    def detect(self, projected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(K, batch, 16, 4 * hidden)` from `project` -> class logits `(batch, classes)`, scores `(batch, 16 K)`."""
        states = self.convlstm1(projected.movedim(2, 0))
        if self.convlstm2 is not None:
            states = self.convlstm2(self.convlstm2.project(states.flatten(1, 2)).unflatten(1, states.shape[1:3]))
        shared = self.dropout(F.relu(self.fc_down(states[:, -1].permute(1, 2, 0).flatten(1))))
        return self.cls_head(shared), torch.sigmoid(self.reg_head(shared))

    def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows `(K, batch, D)` float32 -> class logits `(batch, classes)`, frame scores `(batch, 16 K)` in [0,1]."""
        steps, batch = windows.shape[:2]
        return self.detect(self.project(windows.flatten(0, 1)).unflatten(0, (steps, batch)))


def multi_task_loss(
    class_logits: torch.Tensor,
    frame_scores: torch.Tensor,
    labels: torch.Tensor,
    targets: torch.Tensor,
    mask: torch.Tensor,
    class_weight: float,
    score_weight: float,
) -> torch.Tensor:
    """The paper's loss: `class_weight` * cross-entropy + `score_weight` * smooth-L1 of the scores.

    Args:
        class_logits: `(batch, classes)` float32.
        frame_scores: `(batch, 16 K)` float32, in [0,1].
        labels: `(batch,)` int64, the category of each window; `UNKNOWN_CATEGORY` counts for nothing.
        targets: `(batch, 16 K)` float32, 1.0 on anomalous frames.
        mask: `(batch, 16 K)` float32, 0.0 on frames that are left out: beyond the video's end, or not labelled.
        class_weight: the paper's L1.
        score_weight: the paper's L2.

    Returns:
        A scalar.
    """
    per_frame = F.smooth_l1_loss(frame_scores, targets, reduction="none")
    score_loss = (per_frame * mask).sum() / mask.sum()
    class_loss = F.cross_entropy(class_logits, labels, ignore_index=UNKNOWN_CATEGORY, reduction="sum")
    class_loss = class_loss / (labels != UNKNOWN_CATEGORY).sum().clamp(min=1)
    return class_weight * class_loss + score_weight * score_loss


def detector_from_state(state: Mapping[str, torch.Tensor]) -> AED:
    """Build the detector that a state dict belongs to. Every size is inferred from the shapes of its tensors.

    State dicts of the authors' training code (`iter_*.pkl`) are read as well. They have no feature statistics, so a
    mean of 0 and a deviation of 1 are used.

    Raises:
        ValueError: the tensors are not those of such a detector.
    """
    missing = [key for key in RELEASED_STATE_KEYS if key not in state]
    if missing:
        raise ValueError(f"not a detector's parameters: no {', '.join(missing)}")
    gates = state["convlstm1.Gates.weight"]
    hidden = gates.shape[0] // 4
    model = AED(
        feature_dim=(gates.shape[1] - hidden) * GRID**2,
        classes=state["cls_head.fc_2.weight"].shape[0],
        window=state["reg_head.fc_2.weight"].shape[0] // CLIP_FRAMES,
        layers=2 if "convlstm2.Gates.weight" in state else 1,
        hidden=hidden,
    )
    statistics = {"feature_mean": model.feature_mean, "feature_std": model.feature_std}
    try:
        model.load_state_dict({**statistics, **state})
    except RuntimeError as error:
        raise ValueError(f"not a detector's parameters: {error}") from error
    return model.eval()
