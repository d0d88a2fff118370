"""Which code this is: the version, and what tells one state of the sources from another."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

VERSION = "0.1.0"
PACKAGE = Path(__file__).resolve().parent
UNKNOWN = "unknown"
COMMIT_DIGITS, HASH_DIGITS = 7, 8
DECODES, TORCHCODEC = ("torch", "av", "decord"), "torchcodec"  # of extraction, by any reader; by that one
SCORES = ("torch", "numpy")
DRAWS = ("matplotlib", "numpy", "pillow")


@cache
def code_version() -> str:
    """Which code makes a result: `0.1.0+g1234abc.s89abcdef`.

    After `g` comes the commit of a checkout, after `s` a hash of the package's sources: they may have been edited
    since, and an installed package has no commit.
    """
    commit = _commit(PACKAGE.parent)
    sources = _hash_of_sources(PACKAGE)[:HASH_DIGITS]
    return f"{VERSION}+{f'g{commit[:COMMIT_DIGITS]}.' if commit else ''}s{sources}"


def versions(*packages: str) -> dict[str, str]:
    """Of `lad` itself, by a hash of its sources, and of packages, by their number."""
    found = {"lad": f"{VERSION}+s{_hash_of_sources(PACKAGE)[:HASH_DIGITS]}"}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = UNKNOWN
    return found


def _hash_of_sources(package: Path) -> str:
    """SHA-256 of the modules and what they are called."""
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(package).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def _commit(root: Path) -> str:
    """The commit that is checked out in `root`; empty where it is no checkout. Reads files, and asks no git."""
    if not (root / "pyproject.toml").is_file():  # a folder of installed packages, within somebody's repository
        return ""
    try:
        git = root / ".git"
        if git.is_file():  # of a worktree: `gitdir: PLACE`
            git = root / git.read_text().removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        name = head.removeprefix("ref:").strip()
        shared = git / (git / "commondir").read_text().strip() if (git / "commondir").is_file() else git
        for place in (git, shared):
            if (place / name).is_file():
                return (place / name).read_text().strip()
        packed = (shared / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    except (OSError, UnicodeDecodeError):
        return ""
