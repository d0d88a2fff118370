"""Pages whose tables a measurement writes: between two marks, `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

from __future__ import annotations

import re
from collections.abc import Sequence


def between(text: str, marks: str, lines: Sequence[str]) -> str:
    """The page with `lines` between the two marks of this name.

    Raises:
        ValueError: the page has no such marks.
    """
    pattern = re.compile(f"(<!-- {marks}: begin -->\n).*(<!-- {marks}: end -->)", re.DOTALL)
    page, places = pattern.subn(lambda match: match[1] + "\n".join(lines) + "\n" + match[2], text)
    if not places:
        raise ValueError(f"the page has no marks <!-- {marks}: begin --> and <!-- {marks}: end -->")
    return page
