"""Text for people."""

from __future__ import annotations

import re
from collections.abc import Iterable


def printable(text: str) -> str:
    """Text without what a terminal would obey: names and messages come out of files."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def unknown(key: str, value: str, names: Iterable[str]) -> list[str]:
    """What is to be said of a value that is none of `names`; nothing where it is one."""
    known = sorted(names)
    return [] if value in known else [f"{key}: {value!r} is not one of {', '.join(known)}"]


LONG_WORD = re.compile(r"(\S{90})\S{70,}(\S{90})")  # a path too long to be one, or what somebody pasted


def shortened(text: str) -> str:
    """Printable text in which words that are too long for anybody to read are cut in the middle."""
    return printable(LONG_WORD.sub(r"\1...\2", text))
