"""Score curves drawn in an actor: of an evaluation they take longest."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lad.engine.messages import Doing, Done, File, Setup, Task
from lad.evaluation.plots import Curve, curve_of, draw_curve
from lad.evaluation.results import ScoredVideo
from lad.files import file_sha256
from lad.held import held_folder

SCRATCH = "lad-draw-"  # how the names of folders for pictures begin
PICTURE = "picture"  # what is in the file
CLOSE_SECONDS = 1.0  # for the picture that is being drawn: written later, it would stay


@dataclass(frozen=True)
class ToDraw:
    """The score curve of a video. `threshold`: that is drawn in it; None: none."""

    video: ScoredVideo
    threshold: float | None

    is_remote: ClassVar[bool] = False

    @property
    def item(self) -> str:
        """The video's id."""
        return self.video.video.id

    def packed(self) -> Curve:
        """What an actor is told of it."""
        return curve_of(self.video, self.threshold)


class Drawing:
    """Draws: a `Worker` of an actor."""

    is_shared = False  # pictures are sent: the driver alone writes them

    def __init__(self, setup: Setup) -> None:
        self._closing, self._one = ExitStack(), threading.Lock()
        self._scratch = self._closing.enter_context(held_folder(Path(tempfile.gettempdir()), SCRATCH))

    def do(self, task: Task) -> Done:
        """Draw a curve."""
        with self._one:  # Matplotlib draws in one thread at a time
            path = draw_curve(self._scratch / task.name / PICTURE, task.job)
        return Done(task.name, {PICTURE: File(path, file_sha256(path))})

    def doing(self) -> list[Doing]:
        """None takes so long that it would come forward."""
        return []

    def close(self) -> None:
        """Leave nothing behind: nothing is drawn from now on."""
        self._one.acquire(timeout=CLOSE_SECONDS)
        self._closing.close()
