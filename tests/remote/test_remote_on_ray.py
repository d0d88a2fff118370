"""Videos at a URL, extracted by actors of Ray: each fetches for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.elsewhere import features, left_behind
from helpers.videos import write_video
from helpers.web import Served, Web

pytest.importorskip("ray", reason="NO RAY: --engine ray is not tested: pip install 'lad-video[ray]'")

pytestmark = pytest.mark.slow
SMALL = ("-o", "extract.backbone=tiny", "-o", "threads=1", "--device", "cpu")


def extract(*words: str, **env: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "lad", "extract", *words, *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **env})
    return done.returncode, done.stdout, done.stderr


def test_actors_fetch_from_web_servers_and_buckets(web: Web, s3: Any, tmp_path: Path) -> None:
    videos, scratch = tmp_path / "videos", tmp_path / "scratch"
    frames = {"a": 33, "b": 41, "c": 49}
    contents = {name: write_video(videos / f"{name}.mp4", count).read_bytes() for name, count in frames.items()}
    web.files["a.mp4"] = Served(contents["a"], etag='"a"', cuts=1)
    web.files["b.mp4"] = Served(contents["b"], etag='"b"', password="geheim77")
    s3.put_object(Bucket="cams", Key="yard/c.mp4", Body=contents["c"])
    secret = web.address.replace("://", "://bob:geheim77@")
    places = {"a": web.url("a.mp4"), "b": f"{secret}/b.mp4", "c": "s3://cams/yard/c.mp4", "none": web.url("none.mp4")}
    listed = tmp_path / "dataset.csv"
    listed.write_text("video,path\n" + "".join(f"{name},{place}\n" for name, place in places.items()))
    scratch.mkdir()

    work, local = tmp_path / "work", tmp_path / "local"
    words = ["--work", str(work), "-o", f"data.dataset={listed}", "--engine", "ray", "--actors", "1"]
    status, out, err = extract(*words, TMPDIR=str(scratch), RAY_TMPDIR="/tmp")
    assert status == 1 and "3 done, 1 failed" in out and "no such file (404)" in err, out + err
    assert not list(scratch.iterdir()) and not left_behind(work)
    assert "geheim77" not in out + err
    assert not [path for path in work.rglob("*") if path.is_file() and b"geheim77" in path.read_bytes()]

    assert extract("--work", str(local), "--data", str(videos))[0] == 0
    assert len(features(work)) == 2 * 3 and features(work) == features(local)
