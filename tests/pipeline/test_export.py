"""What is exported in the authors' layout is what was extracted, and `read_released` reads it back."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.projects import opened

from lad.config import load_config
from lad.dataset import COLUMNS, Video
from lad.datasets.released import read_released
from lad.events import parse_events
from lad.pickles import load_plain_pickle
from lad.pipeline.export import export_released
from lad.pipeline.project import Project
from lad.pipeline.reporter import StageError, StageResult

pytestmark = pytest.mark.slow

ROWS = [  # video, split, label, events, frames
    ("street/a", "train", "run", "8-30", 40),
    ("street/b", "val", "walk", "", 33),
    ("park/a", "test", "run", "0-", 16),
    ("park/c", "", "walk", "", 20),
    ("park/d", "train", "", "", 17),  # no label
]
BOTH = "extract.streams=[rgb, flow]"
FEATURES = "features_video/i3d"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_video) -> Path:
    root = tmp_path_factory.mktemp("videos")
    with (root / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for video, split, label, events, frames in ROWS:
            (root / video).parent.mkdir(exist_ok=True)
            make_video(root / f"{video}.mp4", frames)
            writer.writerow([video, f"{video}.mp4", split, label, events, frames, 25, ""])
        (root / "broken.mp4").write_bytes(b"no video")
        writer.writerow(["broken", "broken.mp4", "train", "run", "", 20, 25, ""])
    return root


def settings(folder: Path, *more: str) -> list[str]:
    return ["data.dataset=dataset.csv", f"data.root={folder}", "extract.backbone=tiny", "threads=1", *more]


@pytest.fixture(scope="module")
def extracted(folder, tmp_path_factory) -> Path:
    """A work directory with the features of both streams."""
    work = tmp_path_factory.mktemp("extracted") / "work"
    overrides = [word for setting in settings(folder, BOTH) for word in ("-o", setting)]
    command = [sys.executable, "-m", "lad", "extract", "-q", "--work", str(work), *overrides]
    done = subprocess.run(command, timeout=300, capture_output=True, text=True)
    assert done.returncode == 1 and "broken" in done.stdout + done.stderr, "one video is no video"
    return work


@pytest.fixture
def export(folder, extracted) -> Callable[..., StageResult]:
    def call(out: Path, *more: str, change: Callable[[Project], Project] = lambda project: project) -> StageResult:
        with opened(load_config(None, settings(folder, BOTH, *more)), extracted) as run:
            return export_released(*run._replace(project=change(run.project)), out)

    return call


def test_what_is_exported_is_read_back(export, extracted, tmp_path):
    result = export(tmp_path)
    assert (result.stage, result.done, result.skipped, list(result.failed)) == ("export", 5, 0, ["broken"])
    listing = read_released(tmp_path, "any", ["run", "walk"], ["rgb", "flow"])
    assert listing.missing == [
        "park__d: no frame labels in GT/frame_label_IET.pickle, no video labels in GT/video_label_IET.pickle"
    ]
    read = {video.id: video for video in listing.videos}
    assert list(read) == ["street__a", "street__b", "park__a", "park__c"]
    for name, split, label, events, frames in ROWS[:4]:
        video = read[name.replace("/", "__")]
        assert video.split == {"val": "train"}.get(split, split) and video.label == label and video.n_frames == frames
        assert [(event.start, event.end) for event in video.events] == {"": [], "0-": [(0, 16)]}.get(events, [(8, 30)])
        for stream in ("rgb", "flow"):
            exported = np.load(str(video.path).replace("{stream}", stream), allow_pickle=False)
            ours = np.load(extracted / "features" / stream / f"{name}.npy", allow_pickle=False)
            assert exported.dtype == np.float32 and exported.shape == (-(-frames // 16), 128)
            assert exported.tobytes() == ours.tobytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_combined_features_are_rgb_beside_flow(export, tmp_path):
    export(tmp_path)
    rgb, flow, both = (
        np.load(tmp_path / FEATURES / folder / "street__a" / "feature.npy") for folder in ("rgb", "flow", "combine")
    )
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both, np.hstack([rgb, flow]))


def test_labels_are_what_the_authors_code_expects(export, tmp_path):
    export(tmp_path, "data.classes=[walk, other, run]")
    frames = load_plain_pickle(tmp_path / "GT" / "frame_label_IET.pickle")
    labels = load_plain_pickle(tmp_path / "GT" / "video_label_IET.pickle")
    assert labels == {"street__a": 2, "street__b": 0, "park__a": 2, "park__c": 0}
    assert {type(label) for label in labels.values()} == {int}
    assert frames["street__a"].dtype == np.uint8 and frames["street__a"].shape == (1, 40)
    assert frames["street__a"].nonzero()[1].tolist() == list(range(8, 30))
    assert b"numpy._core" not in (tmp_path / "GT" / "frame_label_IET.pickle").read_bytes(), "numpy 1 cannot read that"
    assert (tmp_path / "train_split.txt").read_text() == "street__a\nstreet__b\npark__d\n"
    assert (tmp_path / "test_split.txt").read_text() == "park__a\n"


def test_of_a_weak_video_no_frame_labels_are_made_up(export, tmp_path):
    def weak(project: Project) -> Project:
        return replace(
            project, videos=[replace(v, events=parse_events("?" if v.events else "")) for v in project.videos]
        )

    export(tmp_path, change=weak)
    assert sorted(load_plain_pickle(tmp_path / "GT" / "frame_label_IET.pickle")) == ["park__c", "street__b"]
    assert len(load_plain_pickle(tmp_path / "GT" / "video_label_IET.pickle")) == 4


def test_a_second_export_writes_nothing_and_mends_what_changed(export, tmp_path):
    export(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    result = export(tmp_path)
    assert (result.done, result.skipped) == (0, 5)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    damaged = tmp_path / FEATURES / "flow" / "park__a" / "feature.npy"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # as long as before, and younger than its source
    result = export(tmp_path)
    assert (result.done, result.skipped) == (1, 4) and damaged.read_bytes() == content


def test_one_stream_has_no_combined_features(export, tmp_path):
    export(tmp_path, "extract.streams=[flow]")
    assert [path.name for path in (tmp_path / FEATURES).iterdir()] == ["flow"]


def test_streams_in_another_order_are_combined_in_the_layout_s(export, extracted, tmp_path):
    export(tmp_path, "extract.streams=[flow, rgb]")
    parts = [np.load(extracted / "features" / stream / "park" / "a.npy") for stream in ("rgb", "flow")]
    for stream, part in zip(("rgb", "flow"), parts, strict=True):
        np.testing.assert_array_equal(np.load(tmp_path / FEATURES / stream / "park__a" / "feature.npy"), part)
    both = np.load(tmp_path / FEATURES / "combine" / "park__a" / "feature.npy")
    np.testing.assert_array_equal(both, np.hstack(parts))


def test_two_videos_of_one_name_are_refused(export, tmp_path):
    def change(project: Project) -> Project:
        return replace(project, videos=[*project.videos, Video("street__a", project.videos[0].path)])

    with pytest.raises(StageError, match="street/a and street__a would both be street__a"):
        export(tmp_path, change=change)
    assert not list(tmp_path.iterdir())


def test_features_that_are_not_there_are_asked_for(export, tmp_path):
    with pytest.raises(StageError, match="lad extract"):
        export(tmp_path, "extract.batch_clips=3")


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("extract.crops=5", "no place for crops"),
        ("extract.clip_stride=8", "16 frames"),
        ("extract.fps=10", "16 frames"),
    ],
)
def test_features_that_the_layout_has_no_place_for_are_refused(folder, tmp_path, setting, advice):
    from lad.pipeline.extract import extract_features

    with opened(load_config(None, settings(folder, setting)), tmp_path / "work") as run:
        extract_features(*run)
        with pytest.raises(StageError, match=advice):
            export_released(*run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_given_combined_features_are_exported_again(tmp_path):
    features = np.random.default_rng(0).standard_normal((3, 256)).astype(np.float32)
    np.save(tmp_path / "a.npy", features)
    (tmp_path / "dataset.csv").write_text("video,path,split,label,n_frames\na,a.npy,train,run,48\n")
    with opened(load_config(None, settings(tmp_path, BOTH)), tmp_path / "work") as run:
        result = export_released(*run, tmp_path / "out")
    assert result.done == 1 and not result.failed
    parts = {folder: np.load(tmp_path / "out" / FEATURES / folder / "a/feature.npy") for folder in ("rgb", "combine")}
    np.testing.assert_array_equal(parts["combine"], features)
    np.testing.assert_array_equal(parts["rgb"], features[:, :128])


def test_labels_for_another_number_of_frames_fail(export, tmp_path):
    def change(project: Project) -> Project:
        return replace(project, videos=[replace(project.videos[0], n_frames=100), *project.videos[1:]])

    result = export(tmp_path, change=change)
    assert "100" in result.failed["street/a"] and result.done == 4
    assert not (tmp_path / FEATURES / "rgb" / "street__a").exists()
