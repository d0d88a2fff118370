"""Videos scored in an actor: by features that it finds where the driver does, or that were sent to it."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lad.detector.checkpoint import CheckpointError, load_checkpoint
from lad.detector.looks import tell_looks
from lad.detector.score_video import ScoreSettings, ToKnow, ToScore, VideoScorer
from lad.detector.scoring import ScoreError
from lad.device import check_device, kind_of, repeatable
from lad.engine.handover import BLOCK_BYTES, cached_weights
from lad.engine.messages import Doing, File, Known, Result, Scored, Setup, Task, Unseen
from lad.errors import LadError
from lad.extract.jobs import Failed
from lad.features.video import FeaturesError
from lad.files import file_sha256
from lad.held import held_folder
from lad.models.actions import WEIGHTS
from lad.models.registry import detector_source, is_outside
from lad.version import SCORES, versions

SCRATCH = "lad-score-"  # how the names of folders for what was sent begin
CSV = "scores"  # what is in the file
CLOSE_SECONDS = 1.0  # for the video that is being scored: a file that it wrote later would stay


@dataclass(frozen=True, kw_only=True)
class ScoreSetup(Setup):
    """For scoring.

    Attributes:
        settings: of all videos.
        detector: the content of its checkpoint.
        path: of that, where the driver has it, for errors.
        source: hash of the file of a detector's class that is somebody else's; empty: there is none.
    """

    settings: ScoreSettings
    detector: bytes
    path: Path
    source: str


def setup_of(settings: ScoreSettings, checkpoint: Path, *, looks: bool) -> ScoreSetup:
    """What actors are told first; `looks`: they say what events look like, where features can tell."""
    return ScoreSetup(
        versions=versions(*SCORES),
        weights=cached_weights([WEIGHTS]) if looks and tell_looks(settings.recipe) else {},
        settings=replace(settings, recipe=replace(settings.recipe, device=kind_of(settings.recipe.device))),
        detector=checkpoint.read_bytes(),
        path=checkpoint,
        source=_source(settings.allowed),
    )


def _source(detector: str) -> str:
    return detector_source(detector) if is_outside(detector) else ""


@dataclass(frozen=True)
class Input:
    """A file that features lie in.

    Attributes:
        path: where the driver has it.
        stamp: its bytes, and its time of change there: a file that has both is the same one.
        blocks: what stands for its content; None: it is not sent.
    """

    path: Path
    stamp: tuple[int, int]
    blocks: Sequence[Any] | None = None


@dataclass(frozen=True)
class Packed:
    """A job as an actor is told it."""

    job: ToScore | ToKnow
    inputs: Sequence[Input]


def packed(job: ToScore | ToKnow, put: Callable[[bytes], Any] | None) -> Packed:
    """A job for an actor.

    Args:
        job: of the driver.
        put: a block of a file to what stands for it, where an actor does not see the files of the driver.

    Raises:
        OSError: a file cannot be read.
    """
    files = [path.absolute() for path in job.features.files]
    return Packed(job, [Input(path, _stamp(path), _blocks(path, put) if put else None) for path in files])


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _blocks(path: Path, put: Callable[[bytes], Any]) -> list[Any]:
    with path.open("rb") as whole:
        return [put(block) for block in iter(partial(whole.read, BLOCK_BYTES), b"")]


class Scoring:
    """Scores one video after the other, or gets to know cameras by them: a `Worker` of an actor.

    The features of the next video are on their way meanwhile.

    Args:
        setup: what is the same for all videos.
        fetch: a block from what stands for it; None: Ray does.

    Raises:
        LadError: the detector cannot be used or is another one here, or the device is not there.
    """

    is_shared = False  # scores are sent: the driver alone writes them

    def __init__(self, setup: ScoreSetup, fetch: Callable[[Any], Any] | None = None) -> None:
        if _source(setup.settings.allowed) != setup.source:
            raise LadError(f"its class {setup.settings.allowed} is another one: install the same on all nodes")
        self._setup, self._fetch, self._one = setup, fetch or _of_ray, threading.Lock()
        self._doing: dict[str, Doing] = {}
        self._closing = ExitStack()
        self._scratch = self._closing.enter_context(held_folder(Path(tempfile.gettempdir()), SCRATCH))
        path = self._scratch / f"detector{setup.path.suffix}"
        path.write_bytes(setup.detector)
        checkpoint = load_checkpoint(path)
        path.unlink()
        self._scorer = VideoScorer(setup.settings, lambda: checkpoint, setup.path)
        check_device(setup.settings.recipe.device)
        self._scorer.of_camera(next(iter(checkpoint.cameras), ""))  # now: later it would be a video's fault
        if setup.weights:
            _ = self._scorer.looks

    def do(self, task: Task) -> Result | Unseen:
        """Score a video; returns when it is done."""
        folder, is_sent = self._scratch / task.name, False
        try:
            folder.mkdir()
            result = self._result(task, folder)
            is_sent = isinstance(result, Scored)
            return result
        except (CheckpointError, ScoreError) as error:
            return Failed(task.name, "content", str(error))
        except (OSError, FeaturesError) as error:
            return Failed(task.name, "io", str(error))
        finally:
            self._doing.pop(task.name, None)
            if not is_sent:  # else whoever sends the CSV removes it
                shutil.rmtree(folder, ignore_errors=True)

    def _result(self, task: Task, folder: Path) -> Scored | Known | Unseen:
        job, csv, settings = self._here(task.job, folder), folder / CSV, self._setup.settings
        if job is None:
            return Unseen(task.name)
        with self._one, repeatable(settings.recipe.device, settings.threads):
            self._doing[task.name] = Doing(task.name)
            if isinstance(job, ToKnow):
                return Known(task.name, {}, self._scorer.get_to_know(job))
            info = self._scorer.score(job, csv, partial(self._note, task.name, job.features.open().clips))
        for path in folder.glob("*.npy"):
            path.unlink()
        return Scored(task.name, {CSV: File(csv, file_sha256(csv))}, info)

    def _note(self, name: str, clips: int, share: float) -> None:
        self._doing[name] = Doing(name, round(share * clips))

    def _here(self, packed: Packed, folder: Path) -> ToScore | ToKnow | None:
        """A job with its features where they are on this node; None: they are not, and were not sent."""
        places: list[Path] = []
        for number, one in enumerate(packed.inputs):
            if one.blocks is not None:
                places.append(folder / f"{number}.npy")
                with places[-1].open("wb") as file:
                    file.writelines(map(self._fetch, one.blocks))
            elif _is_same(one):
                places.append(one.path)
            else:
                return None
        return replace(packed.job, features=packed.job.features.moved(places))

    def doing(self) -> list[Doing]:
        """How far the videos are."""
        return list(self._doing.copy().values())

    def close(self) -> None:
        """Leave nothing behind: nothing is scored from now on."""
        self._one.acquire(timeout=CLOSE_SECONDS)
        self._closing.close()


def _is_same(one: Input) -> bool:
    """Whether a file of the driver is here, too."""
    try:
        return _stamp(one.path) == one.stamp
    except OSError:
        return False


def _of_ray(block: Any) -> Any:
    import ray

    return ray.get(block)
