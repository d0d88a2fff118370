"""What a checkpoint may ask of this machine: it says how features are made, and a file from elsewhere may say anything.

What the user says himself is obeyed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from lad.config import Config, ExtractConfig
from lad.extract.cost import extraction_bytes, work
from lad.features.recipe import clip_spec
from lad.memory import machine_memory

GIB = 1 << 30
MAX_WORK = 64.0  # times the usual, for each second of video: 10 crops of clips every 4 frames are 40
WORK_KEYS = ("fps", "clip_stride", "crops", "rgb_short_side")


def check_demands(config: Config, said: Config) -> Iterator[str]:
    """What of a configuration goes beyond what this machine should be asked for, one line each.

    Args:
        config: as the checkpoint and the user have it.
        said: as it would be if the checkpoint said nothing: what that comes to is what the user wants.
    """
    limit = config.score.max_memory or machine_memory() / 2 / GIB
    needed, wanted = (_memory(one) / GIB for one in (config, said))
    if needed > max(limit, wanted):
        asked = _differing(config.extract, said.extract, ("batch_clips", *WORK_KEYS, "context"))
        yield (
            f"its features ({asked}) would take {needed:.3g} GiB of memory, and it may take {limit:.3g}: if you trust "
            f"it, allow more with -o score.max_memory={ceil(needed)}"
        )
    needed, wanted = (work(clip_spec(one.extract, "cpu")) for one in (config, said))
    if needed > max(MAX_WORK, wanted):
        keys = [key for key in WORK_KEYS if getattr(config.extract, key) != getattr(said.extract, key)]
        own = " ".join(f"-o extract.{key}={getattr(config.extract, key)}" for key in keys)
        yield (
            f"its features would take {needed:.0f} times the usual work for each second of video: if you trust it, say "
            f"so yourself: {own}"
        )


def _memory(config: Config) -> int:
    extract = config.extract
    return extraction_bytes(clip_spec(extract, "cpu"), extract.backbone, extract.context, workers=config.workers)


def _differing(config: ExtractConfig, said: ExtractConfig, keys: Sequence[str]) -> str:
    pairs = ((key, getattr(config, key)) for key in keys if getattr(config, key) != getattr(said, key))
    return ", ".join(f"{key} {value}" for key, value in pairs)
