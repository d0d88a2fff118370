"""One run on several machines: `lad extract --shard I/N`, `lad merge`, and what comes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.places import REPOSITORY
from helpers.videos import numbered_frame, write_video

from lad.dataset import Video
from lad.pipeline.shards import Shard
from lad.work.lock import hold

VIDEOS = 7
SMALL = ("-o", "extract.backbone=tiny", "-o", "threads=1", "-o", "extract.streams=[rgb,flow]")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS):
        frames = (numbered_frame((40 * number + frame) % 256, (32, 32)) for frame in range(20 + 8 * number))
        write_video(root / "yard" / f"{number}.mp4", frames, size=(32, 32))
    (root / "yard" / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(400))
    return root


@pytest.fixture
def extract(lad, data):
    def call(work: Path, *more: str) -> tuple[int, str, str]:
        return lad("extract", "--data", str(data), "--work", str(work), *SMALL, *more)

    return call


def features(work: Path) -> dict[str, bytes]:
    return {str(path.relative_to(work)): path.read_bytes() for path in (work / "features").rglob("*.npy")}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_every_video_is_in_one_part_and_parts_are_about_as_large(count: int, tmp_path: Path) -> None:
    videos = []
    for number in range(40):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(bytes(1000 + 100 * number))
        videos.append(Video(path.stem, path))
    parts = [Shard(number, count).videos(videos) for number in range(1, count + 1)]
    assert sorted(video.id for part in parts for video in part) == sorted(video.id for video in videos)
    sizes = [sum(video.path.stat().st_size for video in part) for part in parts]
    assert max(sizes) - min(sizes) <= max(video.path.stat().st_size for video in videos)


@pytest.mark.slow
def test_parts_that_are_merged_are_what_one_machine_would_have_made(extract, lad, tmp_path: Path) -> None:
    alone, work = tmp_path / "alone", tmp_path / "work"
    assert extract(alone)[0] == 1  # one video is broken
    statuses = [extract(work, "--shard", f"{number}/3")[0] for number in (1, 2, 3)]
    assert sorted(statuses) == [0, 0, 1]
    assert not (work / "manifest.sqlite").exists(), "no part writes where another one may"
    status, out, err = lad("merge", "--work", str(work), "--json")
    stage = json.loads(out)["stages"]["merge"]
    assert (
        status == 1 and stage["done"] == 2 * VIDEOS and set(stage["failed"]) == {"rgb/yard/broken", "flow/yard/broken"}
    )
    assert features(work) == features(alone)
    place, part = work / "features/rgb/yard/6.npy", next((work / "shards").glob("*/features/rgb/yard/6.npy"))
    assert place.samefile(part), "on one disk nothing is copied"

    shutil.rmtree(work / "shards")
    status, out, err = extract(work)
    assert status == 1 and "7 done before, 1 failed" in out, out + err


@pytest.mark.slow
def test_what_was_merged_is_not_extracted_again_by_a_part(extract, lad, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for number in (1, 2):
        extract(work, "--shard", f"{number}/2")
    assert lad("merge", "--work", str(work))[0] == 1
    shutil.rmtree(work / "shards")
    outs = [extract(work, "--shard", f"{number}/4")[1] for number in (1, 2, 3, 4)]
    assert (
        sum("nothing to do" in out for out in outs) == 3 and sum("1 done before, 1 failed" in out for out in outs) == 1
    )
    (work / "features/rgb/yard/3.npy").unlink()
    outs = [extract(work, "--shard", f"{number}/4")[1] for number in (1, 2, 3, 4)]
    assert sum("1 done" in out.replace("1 done before", "") for out in outs) == 1


@pytest.mark.slow
def test_a_merge_says_which_parts_are_missing_in_use_or_not_finished(extract, lad, tmp_path: Path) -> None:
    work = tmp_path / "work"
    status, _, err = lad("merge", "--work", str(work))
    assert status == 2 and "no parts here: run lad extract --shard 1/N" in err
    assert not work.exists(), "its name may be a slip"
    extract(work, "--shard", "1/3")
    status, _, err = lad("merge", "--work", str(work))
    assert status == 1 and "parts that did not begin: 2/3, 3/3" in err
    with hold(work / "shards" / "1-of-3"):
        status, _, err = lad("merge", "--work", str(work))
    assert status == 1 and "1-of-3: another lad works here" in err
    status, _, err = lad("merge", "--work", str(work), str(tmp_path / "none"))
    assert status == 1 and "none: no work directory of lad" in err


@pytest.mark.slow
def test_a_file_of_a_part_that_was_altered_is_not_taken(extract, lad, tmp_path: Path) -> None:
    part, work = tmp_path / "part", tmp_path / "work"
    extract(part)
    altered = part / "features/rgb/yard/2.npy"
    np.save(altered, np.zeros_like(np.load(altered)))
    status, _, err = lad("merge", "--work", str(work), str(part))
    assert status == 1 and f"{altered}: it is not as it was made: run lad extract there again" in err
    extract(part)
    status, out, _ = lad("merge", "--work", str(work), str(part))
    assert "merge: 1 done, 13 done before" in out
    assert features(work) == features(part)


@pytest.mark.slow
def test_a_part_without_videos_has_nothing_to_do(extract, tmp_path: Path) -> None:
    status, out, err = extract(tmp_path / "work", "--shard", "50/50")
    assert status == 0 and "extract: nothing to do, 0 done before" in out, err


@pytest.mark.parametrize("part", ["0/4", "5/4", "3", "1/0", "a/b", "1/-4"])
def test_what_is_no_part_is_refused(part: str, extract, tmp_path: Path) -> None:
    status, _, err = extract(tmp_path / "work", "--shard", part)
    assert status == 2 and f"{part!r} is no part: the parts of 16 are 1/16 to 16/16" in err
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_the_script_for_slurm_extracts_the_part_of_its_task(data, tmp_path: Path) -> None:
    config, work = tmp_path / "yard.yaml", tmp_path / "work"
    config.write_text("extract: {backbone: tiny}\nthreads: 1\n")
    (tmp_path / "lad").write_text(f'#!/bin/sh\nexec {sys.executable} -m lad "$@"\n')
    (tmp_path / "lad").chmod(0o755)
    task = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MAX": "3", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [REPOSITORY / "deploy" / "slurm.sh", config, data, work]
    subprocess.run(command, env={**os.environ, **task}, cwd=REPOSITORY, check=True, capture_output=True)
    assert [path.name for path in (work / "shards").iterdir()] == ["1-of-3"]
    assert features(work / "shards" / "1-of-3")
