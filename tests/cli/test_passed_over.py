"""A command that searches a folder says what it passed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Lad = Callable[..., tuple[int, str, str]]
TINY = ("-o", "extract.backbone=tiny", "-o", "workers=1", "-o", "threads=1")


def test_what_a_folder_passed_over_is_said_and_in_the_json(
    lad: Lad, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    folder = tmp_path / "footage"
    folder.mkdir()
    make_video(tmp_path / "a.h264", 20, format="h264").rename(folder / "camera")
    (folder / "notes.txt").write_text("x")
    status, out, err = lad("extract", *TINY, str(folder), "--work", str(tmp_path / "work"), "--json")
    assert status == 0, err
    assert "passed over, being no videos: 1 .txt (notes.txt)" in " ".join(err.split())
    said = json.loads(out)
    assert said["passed_over"] == {"files": 1, "suffixes": {".txt": 1}, "names": ["notes.txt"]}
    assert len(said["videos"]) == 1
