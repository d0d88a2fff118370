"""What `lad` calls its files in a work directory, and how it knows a work directory when it meets one."""

from __future__ import annotations

from pathlib import Path

DATABASE = "manifest.sqlite"
JOURNAL = "manifest.jsonl"
LOCK = ".lock"
CONFIG = "config.yaml"
DATASET = "dataset.csv"
VERDICTS = "labels.csv"
FLEET = "fleet.json"  # who is at work, while many are
SHARDS = "shards"  # below it each part that one machine of many extracts is a work directory of its own
LOGS = ("lad.log", "lad.log.1", "lad.log.2")  # the newest first
# What is written right in a work directory beside those of `_SIGNS`, now or by the plan in docs/architecture.md.
NAMES = (
    *(
        CONFIG,
        DATASET,
        FLEET,
        "metrics.json",
        "features",
        "partial",
        "checkpoints",
        "scores",
        "plots",
        "logs",
        "splits",
    ),
    *("evaluations", "report", "review", "previews", VERDICTS, *LOGS),
)
UNHELD = frozenset({"report", "review", "previews"})  # of them, what is written while another command holds the rest
_SIGNS = ((DATABASE,), (JOURNAL,), (LOCK, CONFIG))
_REPORT = ("files.json", "index.html", "data/run.js")  # of `lad report`, wherever its folder is


def is_work_directory(folder: Path) -> bool:
    """Whether `lad` works in a folder, or did."""
    return any(all((folder / name).exists() for name in sign) for sign in _SIGNS)


def holds_no_footage(folder: Path) -> bool:
    """Whether videos in a folder are what `lad` made of others: it is a work directory or a report."""
    return is_work_directory(folder) or all((folder / name).is_file() for name in _REPORT)


def foreign_names(folder: Path) -> list[str]:
    """The names that are taken in a folder where `lad` never worked, though it would write there.

    An empty folder is nobody's: it may be where a disk is mounted.
    """
    if any((folder / name).exists() for name in (DATABASE, JOURNAL, LOCK)):
        return []
    return [name for name in NAMES if _is_taken(folder / name)]


def _is_taken(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir())
    return path.exists() or path.is_symlink()
