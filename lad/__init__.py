"""lad: raw video in, anomaly scores out (the LAD2000 system, Wan et al. 2021).

The library's names are imported when they are first used, so that `import lad` and `lad --help` are quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lad.version import VERSION

if TYPE_CHECKING:
    from lad.api import (
        CheckpointError,
        Detector,
        Event,
        Features,
        LadError,
        Scores,
        VideoError,
        extract_features,
        extract_many,
        load,
    )

__version__ = VERSION

__all__ = [
    "CheckpointError",
    "Detector",
    "Event",
    "Features",
    "LadError",
    "Scores",
    "VideoError",
    "__version__",
    "extract_features",
    "extract_many",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lad import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
