"""The last state of each event as a file, beside its clip."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lad.files import write_json
from lad.watch.payload import FORMAT, VERSION, place, read_notice
from lad.watch.sink import RefusedError, SinkError


class FolderOptions(BaseModel):
    """Where events are kept."""

    model_config = ConfigDict(extra="forbid")

    path: Path  # the folder of events


@dataclass
class FolderSink:
    """Writes `<folder>/<camera>/<day>/<id>.json`, each time anew: the event's last notice, without its `before`."""

    options: FolderOptions
    durable = True

    def deliver(self, line: str, notice_type: str) -> None:
        try:
            notice = read_notice(line)
        except ValueError as error:  # another version of lad left it in the queue
            raise RefusedError(str(error)) from error
        path = self.options.path / f"{place(notice.after)}.json"
        content = {"format": FORMAT, "version": VERSION, "type": notice.type, "before": None}
        try:
            write_json(path, content | {"after": asdict(notice.after)})
        except OSError as error:
            raise SinkError(f"{path}: {error.strerror or error}") from error

    def status(self, camera: str, status: str) -> None:
        pass

    def close(self) -> None:
        pass
