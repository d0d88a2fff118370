"""What the stages share: the run that they belong to, what they report, how they show progress."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from lad.config import Config, ExtractConfig, Stream
from lad.dataset import Video, class_names
from lad.datasets import BENCHMARKS
from lad.extract.runtime import Dtype, Runtime, RuntimeMissing, choose_dtype, choose_runtime
from lad.models import weights
from lad.text import printable
from lad.work.manifest import Manifest

EXTRACT = "extract"


class StageError(Exception):
    """A stage cannot begin: one line that says why and what to do."""


@dataclass
class StageResult:
    """What a stage came to.

    Attributes:
        done: items worked on now.
        skipped: items whose result was there already.
        failed: item -> reason, old failures that were not tried again included.
        warnings: item -> what was odd about it.
    """

    stage: str
    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: StageResult) -> None:
        """Count in what the same stage came to in another split."""
        self.done += other.done
        self.skipped += other.skipped
        self.failed |= other.failed
        self.warnings |= other.warnings

    def summary(self) -> str:
        if not self.done and not self.failed:
            return f"{self.stage}: nothing to do, {self.skipped} done before"
        parts = [f"{self.done} done"]
        parts += [f"{self.skipped} done before"] if self.skipped else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        return f"{self.stage}: {', '.join(parts)}"


@dataclass(frozen=True)
class Run:
    """A configuration at work in a directory.

    Attributes:
        work: where checkpoints, scores and metrics go: the work directory, or its folder of one random split.
        videos: with the labels and splits that they have in this run.
        split: which of several random splits this is, empty where there is one.
        named: whether the videos were named on the command line, so that they are no dataset.
        force: do everything again, failures included.
        verify: trust no size and no mtime, hash again.
        verbose: log every step of the way.
    """

    config: Config
    work: Path
    manifest: Manifest
    videos: list[Video]
    console: Console
    split: str = ""
    named: bool = False
    force: bool = False
    verify: bool = False
    verbose: bool = False

    @property
    def home(self) -> Path:
        """The work directory, which holds the features whatever the split."""
        return self.manifest.work

    @cached_property
    def classes(self) -> list[str]:
        """The categories in the order of their index: as configured, as the benchmark has them, or alphabetical."""
        data = self.config.data
        benchmark = BENCHMARKS[data.benchmark].classes if data.benchmark else ()
        return data.classes or list(benchmark) or class_names(self.videos)

    def item(self, name: str) -> str:
        """How the manifest calls an item of this split."""
        return f"{self.split}/{name}" if self.split else name

    def say(self, text: str) -> None:
        """Log a line to stderr."""
        say(self.console, f"{self.split}: {text}" if self.split else text)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
        """A progress bar on stderr, only where it is a terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _NoteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        shown = self.console.is_terminal and not self.console.quiet
        with Progress(*columns, console=self.console, transient=True, disable=not shown) as bar:
            yield bar, bar.add_task(what, total=total, note="")


class _NoteColumn(ProgressColumn):
    """What is being worked on: a file's name, in which nothing is markup and nothing is for the terminal to obey."""

    def render(self, task: Task) -> Text:
        return Text(printable(task.fields["note"]))


def say(console: Console, text: str) -> None:
    """Log a line as it is: nothing in it is markup, and it is not wrapped."""
    console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


def folder_fps(run: Run, video: Video) -> float:
    """Frames a second of a video that has no times of its own."""
    return video.fps or run.config.data.frame_folder_fps


def weights_name(config: ExtractConfig, stream: Stream) -> str:
    """The weights of a stream: the configured ones, or its backbone's default."""
    return config.weights.get(stream) or weights.default_name(config.backbone, stream)


@lru_cache
def resolve_device(device: str) -> str:
    """`auto` -> `cuda` where the NVIDIA driver shows a device, else `cpu`. Asks the driver, not torch: it is quick."""
    if device != "auto":
        return device
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "cpu"
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return "cuda" if found else "cpu"


def thread_count(config: Config) -> int:
    """Threads of the network on a CPU; it moves the last digits of features, so it is part of fingerprints."""
    return config.threads or len(os.sched_getaffinity(0))


def numerics(config: Config) -> dict[str, object]:
    """What moves the numbers beside parameters and weights."""
    device = resolve_device(config.device).partition(":")[0]
    facts: dict[str, object] = {"device": device, "dtype": "float32"}
    return {**facts, "threads": thread_count(config)} if device == "cpu" else facts


def feature_runtime(config: Config) -> tuple[Runtime, Dtype]:
    """What the feature networks run on, and in which precision.

    Raises:
        StageError: the configured runtime cannot be had, or not in the configured precision.
    """
    extract, device = config.extract, resolve_device(config.device)
    try:
        runtime = choose_runtime(extract.runtime, device, extract.backbone)
        return runtime, choose_dtype(extract.dtype, device, extract.preset, runtime)
    except RuntimeMissing as error:
        raise StageError(str(error)) from error


def feature_numerics(config: Config) -> dict[str, object]:
    """What moves the numbers of features: `numerics`, the networks' precision and, unless it is torch, their runtime.

    Raises:
        StageError: as `feature_runtime`.
    """
    runtime, dtype = feature_runtime(config)
    facts = {**numerics(config), "dtype": dtype}
    return facts if runtime == "torch" else {**facts, "runtime": runtime}


def prepare_torch(config: Config) -> str:
    """Set torch up for repeatable results; returns the device.

    Raises:
        StageError: the device is not there.
    """
    import torch

    device = resolve_device(config.device)
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise StageError(f"device {device!r}: torch {torch.__version__} finds no usable GPU; pass --device cpu")
        index = torch.device(device).index or 0
        if index >= torch.cuda.device_count():
            raise StageError(f"device {device!r}: there are {torch.cuda.device_count()} GPUs")
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(thread_count(config))
    return device
