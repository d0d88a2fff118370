"""How a training goes, written down: `metrics.jsonl`, and a log for TensorBoard where that is installed."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lad.detector.validation import Evaluation
from lad.files import naming, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NEEDS = "it needs pip install 'lad-video[tensorboard]'; metrics.jsonl has the same numbers"


@dataclass(frozen=True)
class Logs:
    """Where the evaluations of a fit are written down.

    Attributes:
        folder: of its `metrics.jsonl`.
        name: of the fit.
        writer: of TensorBoard's log; None: it is not installed.
    """

    folder: Path
    name: str
    writer: SummaryWriter | None = None

    def add(self, evaluation: Evaluation, history: Sequence[Evaluation]) -> None:
        """Write an evaluation to TensorBoard's log, and the whole curve to `metrics.jsonl`."""
        if self.writer:
            for key, value in evaluation.as_dict().items():
                if key != "step" and value is not None:
                    self.writer.add_scalar(key, value, evaluation.step)
            self.writer.flush()
        lines = [json.dumps({"run": self.name, **one.as_dict()}) + "\n" for one in history]
        write_text(self.folder / "metrics.jsonl", "".join(lines))


def has_tensorboard() -> bool:
    """Whether TensorBoard is installed, which is an extra."""
    return find_spec("tensorboard") is not None


@contextmanager
def open_logs(folder: Path, name: str, step: int) -> Iterator[Logs]:
    """The logs of a fit in its folder, which is emptied where the fit begins; `step`: steps that it has done.

    Raises:
        OSError: they cannot be written; names the file.
    """
    if step == 0:
        shutil.rmtree(folder, ignore_errors=True)
    if not has_tensorboard():
        yield Logs(folder, name)
        return
    from torch.utils.tensorboard import SummaryWriter

    # Its thread raises again in this one what stops it, and shall not print it too.
    threading.excepthook, before = lambda _: None, threading.excepthook
    try:
        with naming(folder), SummaryWriter(str(folder), purge_step=step + 1) as writer:
            yield Logs(folder, name, writer)
    finally:
        threading.excepthook = before
