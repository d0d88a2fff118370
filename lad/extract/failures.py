"""How a feature network fails, and what is to be said of it. Imports torch only where something has failed."""

from __future__ import annotations

# What torch says when it has no memory left, beside `torch.OutOfMemoryError`.
OUT_OF_MEMORY = (
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",
)
# What CUDA says when nothing will run in this process any more:
# https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html ("must be terminated and relaunched")
BROKEN = (
    "device-side assert",
    "unspecified launch failure",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "launch timed out",
    "uncorrectable ECC",
    "hardware stack error",
)
LESS_MEMORY = "less is needed with a smaller extract.batch_clips or extract.rgb_short_side"


class NotFinite(ArithmeticError):
    """Features of which some are infinite, or not a number.

    Attributes:
        stream: of the network.
        clip: the first such one in its batch.
        dtype: that the network ran in.
    """

    def __init__(self, stream: str, clip: int, dtype: str) -> None:
        super().__init__(f"{stream} features are not finite")
        self.stream, self.clip, self.dtype = stream, clip, dtype


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a network failed for want of memory, which a smaller batch may mend."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)


def has_broken_device(error: BaseException) -> bool:
    """Whether no network can run any more in this process."""
    return any(sign in str(error) for sign in BROKEN)


def why_it_failed(error: BaseException) -> str:
    """What is to be said of an error of a network, in one line."""
    said = " ".join(str(error).partition("\n")[0].split())[:300] or type(error).__name__
    return f"the network failed: {said}" + (f"; {LESS_MEMORY}" if is_out_of_memory(error) else "")
