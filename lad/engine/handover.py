"""Between the driver and the processes that extract: what they are told first, and how files come back.

Where both see the driver's work directory, features are written there. Else their bytes come in blocks, and those of
scores and pictures always do. In both cases they are checked by their hash.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lad.engine.messages import ExtractSetup, File, NotReceived
from lad.extract.jobs import Job
from lad.features.recipe import FeatureRecipe
from lad.files import file_sha256, leftover_name, replacing
from lad.models import weights
from lad.version import DECODES, TORCHCODEC, versions
from lad.work.partial import PARTIAL, folder_of

BLOCK_BYTES = 8 << 20


@contextmanager
def prepared(home: Path, recipe: FeatureRecipe, *, workers: int, stall_seconds: float) -> Iterator[ExtractSetup]:
    """What processes are told first.

    As long as they may be told it, there is a file in the work directory `home` by which they find out whether they see
    that. It lies where half-done videos do, so that their folder stays.
    """
    place, word = Path(PARTIAL, leftover_name()), secrets.token_hex(16)
    with replacing(home / place) as temporary:
        temporary.write_text(word, encoding="utf-8")
    needed = [*recipe.weights.values(), *([recipe.clips.flow_weights] if recipe.clips.flow_weights else [])]
    try:
        yield ExtractSetup(
            recipe=recipe,
            workers=workers,
            stall_seconds=stall_seconds,
            home=home.absolute(),
            token=place,
            word=word,
            versions=versions(*DECODES, *([TORCHCODEC] if recipe.clips.reader == TORCHCODEC else [])),
            weights=cached_weights(name for name in needed if name != "random"),
        )
    finally:
        with suppress(OSError):
            (home / place).unlink()
            (home / PARTIAL).rmdir()


def placed(file: File, path: Path, fetch: Callable[[Any], bytes | memoryview] = memoryview) -> None:
    """See that a file which a process made is complete at `path`, where it put it, or where its blocks are written.

    Args:
        file: what its process says of it.
        path: where it belongs.
        fetch: a block from what stands for it.

    Raises:
        NotReceived: it is not there, or not as it was made.
        OSError: it cannot be written.
    """
    if file.blocks:
        digest = hashlib.sha256()
        with replacing(path) as temporary, temporary.open("wb") as whole:
            for block in file.blocks:
                content = fetch(block)
                digest.update(content)
                whole.write(content)
            if digest.hexdigest() != file.sha256:
                raise NotReceived(f"{path} did not arrive as it was written")
    elif not path.exists() or file_sha256(path) != file.sha256:
        raise NotReceived(f"{path} is not as it was written")


def staged(home: Path, video_id: str, name: str, stream: str) -> Path:
    """Where the features of a try wait for the driver: beside what is saved of the video, and removed with it."""
    return folder_of(home, video_id) / f"{name}.{stream}.npy"


def cached_weights(names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of those of these weights that this machine has."""
    found = {name: weights.find(name) for name in names}
    return {name: one.sha256 for name, one in found.items() if one}


def for_others(job: Job) -> Job:
    """A job as another process is told it: with its whole path, and the size that the video should have there.

    One at a URL stays: whoever decodes it fetches it, and checks then what it is.
    """
    return job if job.remote else replace(job, path=job.path.absolute(), size=_size(job.path))


def _size(path: Path) -> int | None:
    """Bytes of a file; None of what has none of its own, as folders of frames."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:  # said where it is decoded
        return None
