"""What the property-based tests share: mutations of real input, and how many examples are tried how long.

Each reader gets arbitrary and mutated input and may raise what it documents, nothing else, and soon; what it accepts
has to hold. Bounded by default; `LAD_FUZZ=20 pytest tests/*/test_fuzz_*.py` tries twenty times as many examples.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from lad.dataset import SPLITS, Video, is_safe_id, read_dataset, write_dataset
from lad.events import Event, TimedEvent, last_frame

MULTIPLIER = int(os.environ.get("LAD_FUZZ", "1"))
SOON = 5.0  # seconds; no input here is larger than a few kilobytes


def examples(count: int) -> settings:
    slow = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=count * MULTIPLIER,
        deadline=None,
        suppress_health_check=slow,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    )


@contextmanager
def soon() -> Iterator[None]:
    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    assert time.monotonic() - begun < SOON


PLACE = st.floats(0, 1, exclude_max=True)
EDIT = st.one_of(
    st.tuples(st.just("set"), PLACE, st.integers(0, 255)),
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=6)),
    st.tuples(st.just("overwrite"), PLACE, st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff" * 8])),
    st.tuples(st.just("delete"), PLACE, st.integers(1, 40)),
    st.tuples(st.just("cut"), PLACE, st.none()),
    st.tuples(st.just("copy"), PLACE, PLACE),
)


def edited(data: bytes, edits: list[tuple[str, float, Any]]) -> bytes:
    out = bytearray(data)
    for kind, place, value in edits:
        at = int(place * len(out))
        if kind == "insert":
            out[at:at] = value
        elif not out:
            continue
        elif kind == "set":
            out[at] = value
        elif kind == "flip":
            out[at] ^= 1 << value
        elif kind == "overwrite":
            out[at : at + len(value)] = value
        elif kind == "delete":
            del out[at : at + value]
        elif kind == "cut":
            del out[at:]
        else:
            source = int(value * len(out))
            out[at:at] = out[source : source + 30]
    return bytes(out)


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(EDIT, min_size=1, max_size=4).map(lambda edits: edited(data, edits))


ODD = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "0",
            "-1",
            "-0",
            "1e400",
            "nan",
            "inf",
            "9" * 30,
            "9" * 5000,
            "0x10",
            "1_0",
            "٣",
            "1:2",
            "..",
            "/",
            "\\",
            "\x00",
            "\x85",
            "\u2028",
            "\ud7ff",
            "\ufeff",
            '"',
            "'",
            ",",
            ";",
            "|",
            "#",
            "%",
            "{stream}",
            ".mp4",
            "..mp4",
            "0-",
            "0-1;",
            "3-2",
            "train",
            "TEST",
            "summary",
            "[",
            "]",
            "a" * 300,
            "./ x",
            "a/ /",
            "A",
        ]
    ),
    st.text(max_size=8),
    st.integers().map(str),
)
LINE_EDIT = st.tuples(st.sampled_from(["drop", "twice", "word", "insert", "glue", "swap"]), PLACE, PLACE, ODD)


def edited_lines(text: str, edits: list[tuple[str, float, float, str]]) -> str:
    lines = text.splitlines()
    for kind, place, other, odd in edits:
        at = int(place * len(lines))
        if kind == "insert" or not lines:
            lines.insert(at, odd)
        elif kind == "drop":
            del lines[at]
        elif kind == "twice":
            lines.insert(int(other * len(lines)), lines[at])
        elif kind == "glue":
            lines[at] += odd
        elif kind == "swap":
            to = int(other * len(lines))
            lines[at], lines[to] = lines[to], lines[at]
        else:
            words = lines[at].split(" ")
            words[int(other * len(words))] = odd
            lines[at] = " ".join(words)
    return "\n".join(lines)


def line_mutations(text: str) -> st.SearchStrategy[bytes]:
    changed = st.lists(LINE_EDIT, min_size=1, max_size=4).map(lambda edits: edited_lines(text, edits))
    whole = st.sampled_from(
        [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-8", "\r"), ("utf-16", "\n"), ("latin-1", "\n")]
    )
    return st.tuples(changed, whole).map(lambda pair: pair[0].replace("\n", pair[1][1]).encode(pair[1][0], "replace"))


def any_mutation(data: bytes) -> st.SearchStrategy[bytes]:
    try:
        return mutations(data) | line_mutations(data.decode())
    except UnicodeDecodeError:
        return mutations(data)


def check_videos(videos: list[Video], root: Path, folder: Path) -> None:
    """What holds of every list of videos: safe and different ids, sound events; and `dataset.csv` keeps all of it."""
    assert len({video.id for video in videos}) == len(videos)
    for video in videos:
        assert is_safe_id(video.id)
        assert video.split in ("", *SPLITS)
        assert video.n_frames is None or video.n_frames > 0
        assert video.fps is None or 0 < video.fps < math.inf
        for event in video.events:
            last = last_frame(event)
            assert last is None or 0 <= last < (video.n_frames or math.inf)
            assert not isinstance(event, Event | TimedEvent) or event.start < (event.end or math.inf)
        if not video.is_weak:
            assert video.frame_labels(50).any() or all(event.start >= 50 for event in video.events)
    again = folder / "again.csv"
    if videos:
        write_dataset(again, videos, root)
        assert read_dataset(again, root) == [*videos]
