"""What a work directory says of the videos that were scored in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.projects import opened
from helpers.videos import write_video

from lad.config import load_config
from lad.pipeline.reporter import StageError
from lad.pipeline.scored import scored_videos
from lad.work.layout import Work
from lad.work.manifest import open_manifest, read_manifest

SMALL = ["extract.backbone=tiny", "extract.streams=[rgb]", "threads=1", "train.steps=1", "train.evaluate_every=1",
         "train.hidden=4", "score.threshold=0.0", "score.min_seconds=0"]  # fmt: skip


@pytest.mark.slow
def test_scored_videos_are_told_with_their_events_places_and_labels(tmp_path: Path) -> None:
    rows = ["video,path,split,label,events"]
    for number, split in enumerate(("train", "train", "test")):
        write_video(tmp_path / f"{number}.mp4", 40 + number)
        rows.append(f"{number},{number}.mp4,{split},run,10-30")
    (tmp_path / "dataset.csv").write_text("\n".join(rows) + "\n")
    config = load_config(None, ["data.dataset=dataset.csv", f"data.root={tmp_path}", *SMALL])
    with opened(config, tmp_path / "work") as run:
        run.run("extract", "train", "score")
    with read_manifest(tmp_path / "work") as manifest:
        videos = scored_videos(Work(manifest))
    assert [(video.id, video.path, video.frames) for video in videos] == [
        (str(number), tmp_path / f"{number}.mp4", 40 + number) for number in range(3)
    ]
    video = videos[2]
    assert [(event.start, event.end, event.category) for event in video.events] == [(0, 42, "run")]
    assert 0 < video.events[0].peak == video.peak < 1
    assert video.events[0].end_time == pytest.approx(42 / 25)
    assert video.known is not None and str(video.known.events[0]) == "10-30"
    assert video.scores.is_file()


def test_where_nothing_was_scored_there_is_nothing_to_show(tmp_path: Path) -> None:
    with open_manifest(tmp_path) as manifest, pytest.raises(StageError, match="no video was scored here"):
        scored_videos(Work(manifest))
