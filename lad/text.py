"""Text for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text without what a terminal would obey: names and messages come out of files."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
