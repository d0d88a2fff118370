"""What `lad status` promises of drift: recent footage against the first, and when to train again."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lad.detector.scoring import Scores
from lad.detector.tail import BEYOND
from lad.pipeline.drift import drift_data, drift_lines
from lad.work.manifest import Manifest, open_manifest

DAY = date(2026, 11, 1)


def add(manifest: Manifest, video: str, share: float, clips: int = 200, **info: Any) -> None:
    found = {"clips": clips, "beyond": round(share * clips), "recorded": None}
    manifest.start("score", video, "today")
    manifest.finish("score", video, [], {"checkpoint": "a", "drift": found, **info})


@pytest.fixture
def manifest(tmp_path: Path):
    with open_manifest(tmp_path / "work") as opened:
        yield opened


def days(manifest: Manifest, count: int, share_at_end: float, **info: Any) -> None:
    for number in range(count):
        share = share_at_end if number >= count - 7 else 0.01
        add(manifest, f"{info.get('camera', 'cam')}_{DAY + timedelta(days=number)}_0700", share, **info)


def test_the_last_week_is_held_against_the_first_where_names_have_dates(manifest: Manifest) -> None:
    days(manifest, 30, 0.05)
    (found,) = drift_data(manifest)
    assert (found["by"], found["first"]["videos"], found["last"]["videos"]) == ("weeks", 7, 7)
    assert (found["first"]["from"], found["last"]["to"]) == ("2026-11-01", "2026-11-30")
    assert found["first"]["share"] == pytest.approx(0.01) and found["last"]["share"] == pytest.approx(0.05)
    drift, retrain = drift_lines([found], Path("runs/yard"))
    assert drift.startswith("drift: 5.0% of the clips") and "in the first 1.0%" in drift
    assert retrain.startswith("retrain: ") and retrain.endswith("run `lad train --work runs/yard`")


def test_footage_that_has_not_moved_needs_no_training(manifest: Manifest) -> None:
    days(manifest, 30, 0.02)
    assert [line.partition(":")[0] for line in drift_lines(drift_data(manifest), Path("my runs"))] == ["drift"]


def test_a_camera_that_moved_is_named(manifest: Manifest) -> None:
    days(manifest, 21, 0.06, camera="gate")
    days(manifest, 21, 0.01, camera="yard")
    lines = drift_lines(drift_data(manifest), Path("my runs"))
    assert [line.partition(":")[0] for line in lines] == ["drift of gate", "retrain of gate", "drift of yard"]
    assert lines[1].endswith("`lad train --work 'my runs' --add gate`")


def test_the_file_says_better_than_the_name_when_it_was_recorded(manifest: Manifest) -> None:
    for number in range(20):
        found = {"clips": 100, "beyond": 0, "recorded": f"2025-01-{number + 1:02}T10:00:00.000+00:00"}
        add(manifest, f"cam_2026-12-{31 - number}", 0, drift=found)
    (found,) = drift_data(manifest)
    assert (found["first"]["from"], found["last"]["to"]) == ("2025-01-01", "2025-01-20")


def test_without_times_the_last_videos_are_held_against_the_first(manifest: Manifest) -> None:
    for number in range(12):
        add(manifest, f"clip{number}", 0.10 if number >= 9 else 0.0)
    (found,) = drift_data(manifest)
    assert (found["by"], found["first"]["share"], found["last"]["share"]) == ("videos", 0, pytest.approx(0.10))
    assert found["last"]["videos"] == 3 and found["last"]["from"] is None


def test_of_few_clips_no_advice_is_given(manifest: Manifest) -> None:
    add(manifest, "only", 0.5, clips=20)
    (found,) = drift_data(manifest)
    assert found["first"] is None and not found["retrain"]
    assert (
        drift_lines([found], Path("runs/yard"))[1] == "20 clips are too few to say whether to train again: 300 would do"
    )


def test_what_taught_what_holds_an_event_and_other_detectors_do_not_count(manifest: Manifest) -> None:
    add(manifest, "old", 1.0, checkpoint="another")
    for video in ("taught", "fall", "today"):
        add(manifest, video, 0.0 if video == "today" else 1.0)
    (manifest.work / "dataset.csv").write_text("video,path,split,events\ntaught,a.mp4,train,\nfall,b.mp4,test,3-9\n")
    (found,) = drift_data(manifest)
    assert (found["last"]["videos"], found["last"]["share"]) == (1, 0)


def test_no_drift_is_told_where_no_detector_of_normal_footage_scored(manifest: Manifest) -> None:
    manifest.start("score", "a", "today")
    manifest.finish("score", "a", [], {"checkpoint": "a"})
    assert drift_data(manifest) == []


def test_a_clip_has_the_score_of_its_middle() -> None:
    frames = np.zeros(40)
    frames[8], frames[31] = 0.995, 0.995  # the middle of the first clip, the end of the second
    scores = Scores(
        *(frames, np.arange(40) / 25, 25.0, 1.6, 0.5, [], ["event"], np.ones((3, 1), np.float32)),
        clip_of_frame=np.arange(40) // 16,
        votes=np.zeros(1, int),
        peak=8,
    )
    assert scores.clips_above(BEYOND) == {"clips": 3, "beyond": 1}
