"""Tables as text for other programs: CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from lad.text import printable, to_cell

MARKDOWN = str.maketrans(
    {"\\": "\\\\", "|": "\\|", "*": "\\*", "_": "\\_", "`": "\\`", "<": "\\<", "\n": " ", "\t": " "}
)
MINUS = re.compile(r"(?<!\S)-(?=[0-9])")
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "\n": " ",
        "\t": " ",
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    }
)


def csv_table(header: Sequence[str], rows: Sequence[Sequence[str | float | None]]) -> str:
    """A CSV with a line for each row. No text in it begins so that a spreadsheet would compute it; None is empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([to_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return out.getvalue()


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub's Markdown has them; all but the first column are to the right."""
    lines = [[printable(cell).translate(MARKDOWN) for cell in row] for row in (header, *rows)]
    lines.insert(1, ["---", *["---:"] * (len(header) - 1)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A `tabular` that needs no package."""
    lines = [" & ".join(map(_latex_cell, row)) + r" \\" for row in (header, *rows)]
    body = [r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
    return "\n".join([f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", *body, r"\end{tabular}"]) + "\n"


def _latex_cell(text: str) -> str:
    return MINUS.sub("$-$", printable(text).translate(LATEX))
