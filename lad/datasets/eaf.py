"""Annotations of ELAN (https://archive.mpi.nl/tla/elan): an `.eaf` file for each video, in and out.

The format is that of `EAFv3.0.xsd`: times in milliseconds in TIME_ORDER, annotations that refer to them in tiers. lad
writes two tiers: `truth`, what dataset.csv says, and `found`, what a detector found. All tiers but `found` are read, so
that other people's files are, too. Each annotation with a time is an event, and its value is the category.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes
from xml.parsers import expat

from lad.dataset import DatasetError
from lad.datasets.common import Listing, Options
from lad.datasets.exchange import Mark, video_of
from lad.files import check_readable
from lad.finding import video_ids
from lad.text import printable

SUFFIX = ".eaf"
TRUTH, FOUND = "truth", "found"
PROPERTY = "lad"
MAX_BYTES = 64 << 20
SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
TYPE = "default-lt"
DATE = "1970-01-01T00:00:00+00:00"  # the same events give the same file
MIME = {".mp4": "video/mp4", ".mpg": "video/mpeg", ".mpeg": "video/mpeg", ".mov": "video/quicktime"}


@dataclass(frozen=True)
class Eaf:
    """What an `.eaf` file says.

    Attributes:
        media: where its video may lie, the likeliest first.
        tiers: the events in each, by its name.
        record: what lad wrote into it; None: nothing.
    """

    media: list[Path]
    tiers: dict[str, list[Mark]]
    record: object = None


def eaf_bytes(file: Path, media: Path, tiers: Mapping[str, Sequence[Mark]], record: object) -> bytes:
    """An `.eaf` file.

    Args:
        file: what it will be called.
        media: its video.
        tiers: events by the name of their tier, in whole milliseconds.
        record: plain data that comes back; None: nothing.
    """
    ET.register_namespace("xsi", XSI)
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "lad",
            "DATE": DATE,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{XSI}}}noNamespaceSchemaLocation": SCHEMA,
        },
    )
    header = ET.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    relative = quote(os.fsencode(os.path.relpath(media, file.absolute().parent)))
    place = {
        "MEDIA_URL": media.absolute().as_uri(),
        "MIME_TYPE": MIME.get(media.suffix.lower(), "video/*"),
        "RELATIVE_MEDIA_URL": relative if relative.startswith("..") else f"./{relative}",
    }
    ET.SubElement(header, "MEDIA_DESCRIPTOR", place)
    if record is not None:
        ET.SubElement(header, "PROPERTY", {"NAME": PROPERTY}).text = json.dumps(record)
    order = ET.SubElement(root, "TIME_ORDER")
    number = slot = 0
    for name, marks in tiers.items():
        tier = ET.SubElement(root, "TIER", {"LINGUISTIC_TYPE_REF": TYPE, "TIER_ID": name})
        for mark in marks:
            number += 1
            refs = {"ANNOTATION_ID": f"a{number}"}
            for key, time in (("TIME_SLOT_REF1", mark.start), ("TIME_SLOT_REF2", mark.end)):
                slot += 1
                refs[key] = f"ts{slot}"
                ET.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": f"ts{slot}", "TIME_VALUE": str(int(time))})
            annotation = ET.SubElement(ET.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", refs)
            ET.SubElement(annotation, "ANNOTATION_VALUE").text = printable(mark.value)
    kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": TYPE, "TIME_ALIGNABLE": "true"}
    ET.SubElement(root, "LINGUISTIC_TYPE", kind)
    ET.indent(root)
    return ET.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def read_eaf_file(path: Path) -> Eaf:
    """What an `.eaf` file says.

    Raises:
        DatasetError: it is none.
    """
    root = _parsed(path)
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    tiers: dict[str, list[Mark]] = {}
    for tier in root.iter("TIER"):
        name = tier.get("TIER_ID", "")
        marks = tiers.setdefault(name, [])
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            times = [slots.get(one.get(key)) for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2")]
            what = f"{path}: annotation {one.get('ANNOTATION_ID')} of tier {name!r}"
            if None in times:
                raise DatasetError(f"{what} has no time: align it, or remove it")
            try:
                start, end = (int(time or "") for time in times)
            except ValueError:
                raise DatasetError(f"{what} has times that are no milliseconds: {times[0]!r}, {times[1]!r}") from None
            marks.append(Mark(start, end, one.findtext("ANNOTATION_VALUE") or ""))
    texts = [entry.text or "" for entry in root.iter("PROPERTY") if entry.get("NAME") == PROPERTY]
    try:
        record = json.loads(texts[0]) if texts else None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: what lad wrote into it was damaged: {error}") from error
    return Eaf(_media(path, root), tiers, record)


def _parsed(path: Path) -> ET.Element:
    """The XML of a file. One that declares entities, by which a few bytes become all memory, is refused.

    Raises:
        DatasetError: it is no such file.
    """

    def refuse(*_: object) -> None:
        raise DatasetError(f"{path}: it has a DOCTYPE, which no file of ELAN has")

    try:
        check_readable(path, MAX_BYTES)
        content = path.read_bytes()
        first = expat.ParserCreate()
        first.StartDoctypeDeclHandler = refuse
        first.Parse(content, True)
        root = ET.fromstring(content)
    except (OSError, expat.ExpatError, ET.ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{path}: no .eaf file: {error}") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise DatasetError(f"{path}: no .eaf file: it begins with {printable(root.tag)[:80]}")
    units = next((header.get("TIME_UNITS") for header in root.iter("HEADER")), None) or "milliseconds"
    if units != "milliseconds":
        raise DatasetError(f"{path}: its times are in {units}: save it with a newer ELAN")
    return root


def _media(path: Path, root: ET.Element) -> list[Path]:
    places: list[Path] = []
    for descriptor in root.iter("MEDIA_DESCRIPTOR"):
        for url in (descriptor.get("RELATIVE_MEDIA_URL"), descriptor.get("MEDIA_URL")):
            if url:
                text = os.fsdecode(unquote_to_bytes(url.removeprefix("file://")))
                places += [path.parent / text] if "\0" not in text else []
    return places


def read_eaf(root: Path, options: Options) -> Listing:
    """Every `.eaf` file below a folder: a video each.

    Raises:
        DatasetError: there is none, one cannot be understood, or two are of one video.
    """
    files = sorted(root.rglob(f"*{SUFFIX}"))
    if not files:
        raise DatasetError(f"{root}: holds no {SUFFIX} file")
    listing = Listing([])
    found: list[tuple[Path, Eaf, Path]] = []
    for file in files:
        eaf = read_eaf_file(file)
        media = next((place for place in eaf.media if place.exists()), None)
        if media is None:
            said = eaf.media[0] if eaf.media else "which it does not name"
            listing.missing.append(f"the video of {file}: {said}")
        else:
            found.append((file, eaf, Path(os.path.normpath(media.absolute()))))
    names = video_ids([media for _, _, media in found], root)
    taken: dict[str, Path] = {}
    for (file, eaf, media), name in zip(found, names, strict=True):
        marks = sorted(
            (mark for tier, some in eaf.tiers.items() if tier != FOUND for mark in some), key=lambda mark: mark.start
        )
        video = video_of(file, eaf.record, marks, media, name, _in_seconds)
        if video.id in taken:
            raise DatasetError(f"{file}: {taken[video.id]} is of the video {video.id!r} too: remove one of them")
        taken[video.id] = file
        listing.videos.append(video)
    return listing


def _in_seconds(mark: Mark) -> str:
    return f"{mark.start / 1000:.3f}s-{mark.end / 1000:.3f}s"


def to_mark(start: float, end: float, value: str) -> Mark:
    """An event at times in seconds."""
    return Mark(round(start * 1000), round(end * 1000), value)
