"""What is promised of the version: it tells which code made a result."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from helpers.places import REPOSITORY

COMMIT = "1234abcd" * 5


def version_of(root: Path) -> str:
    command = [sys.executable, "-c", "from lad.version import code_version; print(code_version())"]
    return subprocess.run(
        command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True
    ).stdout.strip()


def test_the_version_tells_one_commit_and_one_edit_from_another(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "lad", tmp_path / "lad", ignore=shutil.ignore_patterns("__pycache__"))
    installed = version_of(tmp_path)
    assert installed.startswith("0.1.0+s"), "without a commit"
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / ".git" / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/main\n")
    assert version_of(tmp_path) == installed, "packages that lie in somebody else's repository"
    (tmp_path / "pyproject.toml").touch()
    assert version_of(tmp_path) == installed.replace("+s", "+g1234abc.s")
    (tmp_path / ".git" / "refs" / "heads" / "main").write_text("f" * 40)
    assert version_of(tmp_path) == installed.replace("+s", "+gfffffff.s")
    (tmp_path / ".git" / "HEAD").write_text(COMMIT)
    assert version_of(tmp_path) == installed.replace("+s", "+g1234abc.s"), "no branch"
    (tmp_path / "lad" / "clip.py").write_text("CLIP_FRAMES = 8\n")
    edited = version_of(tmp_path)
    assert edited.startswith("0.1.0+g1234abc.s") and edited != installed.replace("+s", "+g1234abc.s")


def test_lad_says_it(lad) -> None:
    from lad.version import code_version

    assert lad("--version") == (0, f"lad, version {code_version()}\n", "")
