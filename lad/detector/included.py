"""The detectors that come with `lad`: each a file `NAME.safetensors` and a card `NAME.json` that tells of it.

`benchmarks/included_detector.py` makes both. What a result was made with is told by the checksum of the first file,
which the card has too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lad.detector.checkpoint import CheckpointError
from lad.detector.detector_file import SUFFIX
from lad.files import file_sha256
from lad.text import did_you_mean

FOLDER = Path(__file__).resolve().parents[1] / "detectors"
DIGITS = 16  # of a checksum that `taught_by` keeps
DEFAULT = "surveillance"  # of `lad score` where nobody names a detector


@dataclass(frozen=True)
class Measured:
    """A number of a card.

    Attributes:
        what: the number is.
        of: which detector: the one in the file, or another one of the same recipe.
        on: which videos.
        value: such as 0.826.
        interval: of 95 %, low and high; None: there is none.
        how: the interval was made; empty: there is none.
    """

    what: str
    of: str
    on: str
    value: float
    interval: tuple[float, float] | None = None
    how: str = ""

    def __str__(self) -> str:
        interval = f" [{self.interval[0]:.2f}, {self.interval[1]:.2f}]" if self.interval else ""
        return f"{self.value:.3f}{interval}"


@dataclass(frozen=True)
class Card:
    """What a person should know of a detector before using it.

    Attributes:
        name: by which `lad score --checkpoint NAME` and `lad.load(NAME)` take it.
        summary: what it finds, in a few words.
        sha256, bytes: of its file.
        licence: of the file.
        categories: that it tells apart.
        kind: of detector, in words.
        features: that it takes: backbone, streams, weights with their checksum, and how frames become clips.
        threshold: of its scores, above which there is an event.
        trained: on how many `videos` of how many `sources`, with which `configuration`, for how many `steps`, and
            `data`: where the videos are from, with their licences.
        headline: the number to quote. It is the first of `measured` in few words.
        measured: how good it is.
        tested: whether the detector in the file was itself measured, in a sentence.
        intended: what it is for.
        must_not: what it must not be used for.
        limits: where it stops working.
        taught_by: how the SHA-256 of each video begins that it learned from.
    """

    name: str
    summary: str
    sha256: str
    bytes: int
    licence: str
    categories: list[str]
    kind: str
    features: dict[str, Any]
    threshold: float
    trained: dict[str, Any]
    headline: str
    measured: list[Measured]
    tested: str
    intended: list[str]
    must_not: list[str]
    limits: list[str]
    taught_by: list[str]

    def learned_from(self, sha256: str) -> bool:
        """Whether it learned from a video with this content."""
        return sha256[:DIGITS] in self.taught_by

    @property
    def path(self) -> Path:
        """The detector."""
        return FOLDER / f"{self.name}{SUFFIX}"

    @property
    def is_of_its_file(self) -> bool:
        """Whether the file is as it was made."""
        return self.path.is_file() and file_sha256(self.path) == self.sha256

    @property
    def line(self) -> str:
        """Its name and its number."""
        return f"detector: {self.name} ({self.summary}), {self.headline}; `lad detectors show {self.name}` has more"


def names() -> list[str]:
    """Those of the detectors that come with `lad`."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_card(name: str) -> Card:
    """The card of a detector that comes with `lad`.

    Raises:
        CheckpointError: there is none of this name.
    """
    if name not in names():
        raise CheckpointError(
            f"no detector {name!r} comes with lad{did_you_mean(name, names()) or ':'} there is {', '.join(names())}"
        )
    data = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Card(**{**data, "measured": [_measured(one) for one in data["measured"]]})


def _measured(data: dict[str, Any]) -> Measured:
    low_and_high = data["interval"]
    return Measured(**{**data, "interval": tuple(low_and_high) if low_and_high else None})


def find_detector(place: str | Path) -> Path:
    """The file itself, or that of the detector which comes with `lad` and has this name.

    Raises:
        CheckpointError: a detector that comes with `lad` is not as it was made.
    """
    path = Path(place)
    if path.is_file() or str(place) not in names():  # a folder of data may have the same name
        return path
    card = read_card(str(place))
    if not card.is_of_its_file:
        raise CheckpointError(f"{card.path}: not as it came with lad (other checksum): install lad again")
    return card.path


def card_of(path: Path | None) -> Card | None:
    """The card of a detector that comes with `lad`, or None where the file is another one."""
    if path is None or path.absolute().parent != FOLDER or path.stem not in names():
        return None
    card = read_card(path.stem)
    return card if card.is_of_its_file else None


def name_of(sha256: str) -> str:
    """The name of the detector that comes with `lad` and has this checksum; empty where it is another one."""
    return next((name for name in names() if read_card(name).sha256 == sha256), "")
