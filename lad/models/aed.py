"""The detector: ConvLSTM over a window of clips, then a category and a score for every frame.

Wan et al., "Anomaly detection in video sequences: A benchmark and computational model", IET Image Processing 15, 2021.
Names of parameters and the order of the gates (input, forget, output, candidate) are those of the checkpoints that the
authors' training code writes, so that those load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from lad.clip import CLIP_FRAMES
from lad.models.cpu.winograd import winograd_matrices

GRID = 4  # a clip's feature vector is viewed as (feature_dim / 16, 4, 4)
RELEASED_STATE_KEYS = ("convlstm1.Gates.weight", "reg_head.fc_2.weight", "cls_head.fc_2.weight")


def factors_of_maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Winograd's F(4x4, 3x3) of a whole 4x4 map, zeros around it: a 3x3 convolution by 36 products instead of 144.

    Returns:
        What takes a map's pixels to the products' first factors `(36, 16)`, a kernel's weights to their second factors
        `(36, 9)`, and the products to the pixels of the result `(16, 36)`; all float32.
    """
    pixels, weights, products = winograd_matrices(GRID, 3)
    rows = (pixels[:, 1:-1], weights, products)  # the first and last of six pixels are the zeros around the map
    of_maps, of_kernels, of_products = (torch.kron(matrix, matrix).float() for matrix in rows)
    return of_maps, of_kernels, of_products


class ConvLSTMCell(nn.Module):
    """One ConvLSTM layer, 3x3, run over all steps of a sequence.

    The gates' convolution is linear in [input, hidden], so the input's share is computed for all steps at once
    (`project`) and the hidden state's share step by step, skipped where the state is still zero. Maps are
    `(16, n, channels)`, pixels first: so every part of Winograd's convolution is one product of matrices.
    """

    of_maps: torch.Tensor
    of_kernels: torch.Tensor
    of_products: torch.Tensor

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.Gates = nn.Conv2d(in_channels + hidden, 4 * hidden, 3, padding=1)
        for name, matrix in zip(("of_maps", "of_kernels", "of_products"), factors_of_maps(), strict=True):
            self.register_buffer(name, matrix, persistent=False)

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """The input's share of the gates: `(16, n, in_channels)` -> `(16, n, 4 * hidden)`."""
        bias = self.Gates.get_parameter("bias")
        return self._convolve(x, self._factors(self.Gates.weight[:, : self.in_channels])) + bias

    def forward(self, projected: torch.Tensor) -> torch.Tensor:
        """`(16, steps, batch, 4 * hidden)` from `project` -> hidden states `(16, steps, batch, hidden)`."""
        recurrent_factors = self._factors(self.Gates.weight[:, self.in_channels :])
        hidden_states: list[torch.Tensor] = []
        cell: torch.Tensor | None = None
        for gates in projected.unbind(1):
            if hidden_states:
                gates = gates + self._convolve(hidden_states[-1], recurrent_factors)
            input_gate, forget_gate, output_gate, candidate = gates.chunk(4, dim=-1)
            new = torch.sigmoid(input_gate) * torch.tanh(candidate)
            cell = new if cell is None else torch.sigmoid(forget_gate) * cell + new
            hidden_states.append(torch.sigmoid(output_gate) * torch.tanh(cell))
        return torch.stack(hidden_states, dim=1)

    def _factors(self, weight: torch.Tensor) -> torch.Tensor:
        """`(out, in, 3, 3)` -> `(36, in, out)`: the second factors of the products."""
        by_input = weight.flatten(1).t().reshape(weight.shape[1], 9, weight.shape[0])
        return (self.of_kernels @ by_input).transpose(0, 1)

    def _convolve(self, maps: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """`(16, n, in)` -> `(16, n, out)`."""
        products = (self.of_maps @ maps.flatten(1)).view(-1, *maps.shape[1:]) @ factors
        return (self.of_products @ products.flatten(1)).view(-1, *products.shape[1:])


class Head(nn.Module):
    """Two fully connected layers without bias, ReLU between them."""

    def __init__(self, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.fc_1 = nn.Linear(in_features, hidden, bias=False)
        self.fc_2 = nn.Linear(hidden, out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc_2(F.relu(self.fc_1(x)))


class AED(nn.Module):
    """The multi-task detector with one (`aed`) or two (`aed_t`) ConvLSTM layers.

    Args:
        feature_dim: length D of a clip's feature vector, divisible by 16.
        classes: number of categories.
        window: K, clips a window.
        layers: ConvLSTM layers, 1 or 2.
        hidden: channels of the hidden state.
        dropout: share of the window's representation dropped in training; 0 is the paper's.

    Raises:
        ValueError: `feature_dim` is not divisible by 16.
    """

    feature_mean: torch.Tensor  # (D,) of the training split; 0 and 1 leave features as they are
    feature_std: torch.Tensor

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

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """What each clip contributes wherever it stands in a window: `(n, D)` -> `(n, 16, 4 * hidden)`.

        Overlapping windows share it: computed once a clip, not once a window.
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
    """L1 * cross-entropy + L2 * smooth-L1 (the paper's loss), the scores' share over real frames only.

    Args:
        labels: `(batch,)` int64 category of each window.
        targets: `(batch, 16 K)` 1.0 on anomalous frames.
        mask: `(batch, 16 K)` 0.0 on frames beyond the video's end, which count for nothing.
    """
    per_frame = F.smooth_l1_loss(frame_scores, targets, reduction="none")
    score_loss = (per_frame * mask).sum() / mask.sum()
    return class_weight * F.cross_entropy(class_logits, labels) + score_weight * score_loss


def detector_from_state(state: Mapping[str, torch.Tensor]) -> AED:
    """Build the detector that a state dict belongs to, with every size inferred from its shapes.

    Reads this project's state dicts and those of the authors' training code (`iter_*.pkl`), which have no feature
    statistics: theirs stay at mean 0 and deviation 1.

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
