"""What a work directory says of the videos that were scored in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.projects import opened
from helpers.scored import Found, write_scored
from helpers.videos import write_video

from lad.config import load_config
from lad.pipeline.project import Project
from lad.pipeline.reporter import StageError
from lad.pipeline.reviewed import with_verdicts
from lad.pipeline.scored import scored_videos
from lad.work.layout import Work
from lad.work.manifest import open_manifest, read_manifest
from lad.work.verdicts import Verdict, append

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


def test_what_was_scored_in_a_random_split_is_of_that_split_alone(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 20)
    write_scored(tmp_path / "work", [Found("yard/a", path)], split=0)
    with read_manifest(tmp_path / "work") as manifest:
        assert [video.id for video in scored_videos(Work(manifest, 0))] == ["yard/a"]
        with pytest.raises(StageError, match=r"splits/1: no video was scored here"):
            scored_videos(Work(manifest, 1))
        with pytest.raises(StageError, match="each random split has scores of its own: name one with --split"):
            scored_videos(Work(manifest))


def test_a_folder_may_be_called_like_a_split(tmp_path: Path) -> None:
    write_scored(tmp_path / "work", [Found("split_0/a", write_video(tmp_path / "a.mp4", 20))])
    with read_manifest(tmp_path / "work") as manifest:
        assert [video.id for video in scored_videos(Work(manifest))] == ["split_0/a"]


def test_a_verdict_is_of_the_video_that_it_names_and_not_of_one_in_a_folder(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / name, 20) for name in ("monday.mp4", "yard/monday.mp4")]
    write_scored(tmp_path / "work", [Found("monday", paths[0]), Found("yard/monday", paths[1])])
    append(tmp_path / "work" / "labels.csv", [Verdict("monday", "event", 5, 10, "run")])
    said: list[str] = []
    for gone in (False, True):
        if gone:
            paths[0].unlink()
        with open_manifest(tmp_path / "work") as manifest:
            project = with_verdicts(Project(load_config(None, []), []), Work(manifest), said.append)
        assert [video.path for video in project.videos] == ([] if gone else [paths[0]])
    assert "not used: 1 verdict on 1 video (monday, ...), neither in the dataset nor scored here, or gone" in said[-1]
