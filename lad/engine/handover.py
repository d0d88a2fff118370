"""Between the driver and the processes that extract: what they are told first, and how features come back.

Where both see the driver's work directory, features are written there. Else their bytes come in blocks. In both cases
they are checked by their hash.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lad.engine.messages import Extracted, NotReceived, Setup
from lad.features.recipe import FeatureRecipe
from lad.files import file_sha256, leftover_name, replacing
from lad.models import weights
from lad.version import versions
from lad.work.partial import PARTIAL, folder_of

BLOCK_BYTES = 8 << 20


@contextmanager
def prepared(home: Path, recipe: FeatureRecipe, *, workers: int, stall_seconds: float) -> Iterator[Setup]:
    """What processes are told first.

    As long as they may be told it, there is a file in the work directory `home` by which they find out whether they see
    that. It lies where half-done videos do, so that their folder stays.
    """
    place, word = Path(PARTIAL, leftover_name()), secrets.token_hex(16)
    with replacing(home / place) as temporary:
        temporary.write_text(word, encoding="utf-8")
    needed = [*recipe.weights.values(), *([recipe.clips.flow_weights] if recipe.clips.flow_weights else [])]
    cached = {name: weights.find(name) for name in needed if name != "random"}
    try:
        yield Setup(
            recipe=recipe,
            workers=workers,
            stall_seconds=stall_seconds,
            home=home.absolute(),
            token=place,
            word=word,
            versions=versions(),
            weights={name: found.sha256 for name, found in cached.items() if found},
        )
    finally:
        with suppress(OSError):
            (home / place).unlink()
            (home / PARTIAL).rmdir()


def received(
    found: Extracted, home: Path, video_id: str, fetch: Callable[[Any], bytes | memoryview] = memoryview
) -> dict[str, Path]:
    """The features of a video as complete files in the work directory `home`, stream -> path.

    Args:
        found: what its process says of them.
        home: the driver's work directory.
        video_id: the video.
        fetch: a block from what stands for it.

    Raises:
        NotReceived: a file is not there, or not as it was made.
        OSError: it cannot be written.
    """
    files: dict[str, Path] = {}
    for stream, file in found.files.items():
        path = staged(home, video_id, found.name, stream)
        if file.blocks:
            with replacing(path) as temporary, temporary.open("wb") as whole:
                for block in file.blocks:
                    whole.write(fetch(block))
        if not path.exists() or file_sha256(path) != file.sha256:
            raise NotReceived(f"{path} is not as it was written")
        files[stream] = path
    return files


def staged(home: Path, video_id: str, name: str, stream: str) -> Path:
    """Where the features of a try wait for the driver: beside what is saved of the video, and removed with it."""
    return folder_of(home, video_id) / f"{name}.{stream}.npy"
