"""Text for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import combinations


def printable(text: str) -> str:
    """Text without what a terminal would obey: names and messages come out of files."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that somebody meant who wrote `word`; None where no name is near enough."""
    known = {name.casefold(): name for name in names}
    written = word.casefold().strip()
    longer = [name for name in known if name and written.startswith(name)]  # `validation` for `val`
    matches = longer or get_close_matches(written, known, n=1, cutoff=0.6)
    return known[matches[0]] if matches else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the one that was meant, or nothing."""
    meant = nearest(word, names)
    return f": did you mean {meant!r}?" if meant else ""


def unknown(key: str, value: str, names: Iterable[str]) -> list[str]:
    """What is to be said of a value that is none of `names`; nothing where it is one."""
    known = sorted(names)
    return [] if value in known else [f"{key}: {value!r} is not one of {', '.join(known)}{did_you_mean(value, known)}"]


def look_alikes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names of which one may be a slip of the finger: they differ in case, a plural, or a letter or two."""
    return [(a, b) for a, b in combinations(sorted(names), 2) if _look_alike(a.casefold(), b.casefold())]


def _look_alike(a: str, b: str) -> bool:
    plain = [re.sub(r"[\W_]+", "", word) for word in (a, b)]
    if plain[0] == plain[1] or a in (f"{b}s", f"{b}es") or b in (f"{a}s", f"{a}es"):
        return True
    shorter = min(len(a), len(b))
    # `normal` and `abnormal`, `class1` and `class2` are no slips.
    if shorter < 5 or a.endswith(b) or b.endswith(a) or re.sub(r"[0-9]+", "", a) == re.sub(r"[0-9]+", "", b):
        return False
    return _edits(a, b) <= (1 if shorter < 8 else 2)


def _edits(a: str, b: str) -> int:
    """Letters to insert, drop, replace or swap with the next one, to make `b` of `a`."""
    before, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and other == a[i - 2]:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]


LONG_WORD = re.compile(r"(\S{90})\S{70,}(\S{90})")  # a path too long to be one, or what somebody pasted


def shortened(text: str) -> str:
    """Printable text in which words that are too long for anybody to read are cut in the middle."""
    return printable(LONG_WORD.sub(r"\1...\2", text))


FORMULA = re.compile(r"'*[=+\-@\t\r]")  # how cells begin that a spreadsheet would take for a formula, or do from here


def to_cell(text: str) -> str:
    """Text for a cell of a CSV that a spreadsheet shows as it is, and never computes: with an apostrophe before it."""
    return f"'{text}" if FORMULA.match(text) else text


def from_cell(text: str) -> str:
    """What `to_cell` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def as_utf8(text: str) -> str:
    """Text that is UTF-8: what is not, as in names of files, is written as `\\xNN`."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def not_utf8(text: str) -> bool:
    """Whether text stands for bytes that are no UTF-8, as names of files may be."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def name_splits(numbers: Sequence[int]) -> str:
    """`split 3 is`, `splits 3 to 9 are`, `splits 3, 5 are`."""
    if len(numbers) == 1:
        return f"split {numbers[0]} is"
    if list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"splits {numbers[0]} to {numbers[-1]} are"
    return f"splits {', '.join(map(str, numbers))} are"


def timecode(seconds: float) -> str:
    """`75.5` -> `0:01:15.500`: hours, minutes, seconds, milliseconds."""
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{ms // 1000:02d}.{ms % 1000:03d}"
