"""What `import lad` promises: the numbers of the command, and nothing else done to whoever imports it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.detectors import CLASSES, write_detector

import lad

MakeVideo = Callable[..., Path]
Lad = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def video(folder: Path, make_video: MakeVideo) -> Path:
    return make_video(folder / "street.mp4", 75)


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    return write_detector(folder / "best.pt")


@pytest.fixture(scope="module")
def detector(checkpoint: Path) -> lad.Detector:
    return lad.load(checkpoint, device="cpu", workers=2)


@pytest.fixture
def lad_command(request: pytest.FixtureRequest) -> Lad:
    """The fixture `lad`, whose name is the library's here."""
    return request.getfixturevalue("lad")


def run_script(tmp_path: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_video_has_a_score_and_a_time_for_each_frame(detector: lad.Detector, video: Path) -> None:
    scores = detector.score(video)
    assert scores.frames.shape == scores.times.shape == scores.clip_of_frame.shape == (75,)
    assert ((scores.frames >= 0) & (scores.frames <= 1)).all()
    assert np.allclose(np.diff(scores.times), 1 / 25)
    assert scores.seconds == pytest.approx(3.0)
    assert scores.clip_classes.shape == (5, len(CLASSES))
    assert scores.classes == detector.classes == CLASSES
    assert np.allclose(scores.clip_classes.sum(axis=1), 1)
    assert scores.warnings == []


def test_events_are_the_frames_above_the_threshold(checkpoint: Path, video: Path) -> None:
    scores = lad.load(checkpoint, device="cpu").score(video)
    middle = float(np.median(scores.frames))
    scores = lad.load(checkpoint, device="cpu", threshold=middle).score(video)
    inside = np.zeros(75, dtype=bool)
    for event in scores.events:
        inside[event.start : event.end] = True
        assert event.start_time == scores.times[event.start]
        assert event.peak == scores.frames[event.start : event.end].max()
        assert event.category in CLASSES
    assert 0 < inside.sum() < 75
    assert (inside == (scores.frames > middle)).all()


def test_the_command_gives_the_same_numbers(
    checkpoint: Path, detector: lad.Detector, video: Path, tmp_path: Path, lad_command: Lad
) -> None:
    words = ["score", "--checkpoint", str(checkpoint), str(video), "--work", str(tmp_path / "work"), "--device", "cpu"]
    status, out, _ = lad_command(*words, "--json")
    assert status == 0
    ((name, said),) = json.loads(out)["scores"].items()
    scores = detector.score(video)
    rows = list(csv.reader((tmp_path / "work" / "scores" / f"{name}.csv").open()))[1:]
    assert [row[2] for row in rows] == [f"{score:.7g}" for score in scores.frames.tolist()]
    assert [(event["start"], event["end"], event["category"]) for event in said["events"]] == [
        (event.start, event.end, event.category) for event in scores.events
    ]
    ours = lad.extract_features(video, streams=["rgb"], backbone="tiny", device="cpu")
    theirs = np.load(tmp_path / "work" / "features" / "rgb" / f"{name}.npy")
    assert np.array_equal(ours["rgb"], theirs)


def test_features_come_by_stream_with_the_seconds_of_each_clip(video: Path) -> None:
    features = lad.extract_features(video, streams=["rgb", "flow"], backbone="tiny", device="cpu")
    assert list(features) == ["rgb", "flow"]
    assert features["rgb"].shape == features["flow"].shape == (5, 128)
    assert features["rgb"].dtype == np.float32
    assert features.clip_times.shape == (5, 2)
    assert features.clip_times[0].tolist() == [0.0, pytest.approx(0.64)]
    assert features.clip_times[-1, 1] == pytest.approx(3.0)
    assert features.weights["rgb"].startswith("random:tiny")


def test_crops_are_an_axis_of_their_own(make_video: MakeVideo, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", 20)
    assert lad.extract_features(video, backbone="tiny", crops=5, device="cpu")["rgb"].shape == (5, 2, 128)


def test_a_broken_video_is_an_error_and_the_others_are_scored(
    detector: lad.Detector, video: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    found = dict(detector.score_many([video, broken, str(tmp_path / "absent.mp4")]))
    assert isinstance(found[video], lad.Scores)
    refusal, absent = found[broken], found[str(tmp_path / "absent.mp4")]
    assert isinstance(refusal, lad.VideoError)
    assert refusal.kind == "content"
    assert str(broken) in str(refusal)
    assert isinstance(absent, lad.VideoError)
    assert absent.kind == "io"
    with pytest.raises(lad.VideoError, match=r"broken\.mp4"):
        detector.score(broken)


@pytest.mark.parametrize("content", [None, b"no checkpoint"])
def test_what_is_no_checkpoint_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(lad.CheckpointError, match=r"best\.pt") as caught:
        lad.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"backbone": "i4d"}, {"streams": ["sound"]}, {"clip_strid": 4}, {"flow": "none"}])
def test_a_wrong_option_is_named(options: dict[str, object], video: Path) -> None:
    with pytest.raises(lad.LadError) as caught:
        lad.extract_features(video, **options)  # type: ignore[arg-type]
    assert str(next(iter(options))) in str(caught.value)


def test_nothing_is_printed_and_no_file_is_left(
    checkpoint: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lad.load(checkpoint, device="cpu").score(video)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_torch_keeps_its_number_of_threads(checkpoint: Path, video: Path) -> None:
    before = torch.get_num_threads()
    lad.load(checkpoint, device="cpu", threads=1).score(video)
    assert torch.get_num_threads() == before


def test_it_works_in_a_thread(detector: lad.Detector, video: Path) -> None:
    found: list[lad.Scores] = []
    thread = threading.Thread(target=lambda: found.append(detector.score(video)))
    thread.start()
    thread.join(60)
    assert np.array_equal(found[0].frames, detector.score(video).frames)


@pytest.mark.slow
def test_a_script_needs_no_main_guard(checkpoint: Path, video: Path, tmp_path: Path) -> None:
    text = "import sys, lad\nprint('begins')\nprint(len(lad.load(sys.argv[1]).score(sys.argv[2]).frames))\n"
    done = run_script(tmp_path, text, str(checkpoint), str(video))
    assert done.stdout.split() == ["begins", "75"], done.stderr  # once: no process ran the script again
    assert done.stderr == ""


@pytest.mark.slow
def test_a_loop_that_is_left_early_leaves_no_process(checkpoint: Path, video: Path, tmp_path: Path) -> None:
    text = (
        "import sys, subprocess, os, lad\n"
        "for path, scores in lad.load(sys.argv[1]).score_many([sys.argv[2]] * 6):\n    break\n"
        "print(subprocess.run(['pgrep', '-P', str(os.getpid()), '-f', 'lad.extract.worker'],"
        " capture_output=True, text=True).stdout.split())\n"
    )
    done = run_script(tmp_path, text, str(checkpoint), str(video))
    assert done.stdout.strip() == "[]", done.stderr


def test_importing_it_imports_nothing_slow(tmp_path: Path) -> None:
    text = "import sys, lad\ndir(lad)\nprint(sorted({'torch', 'av', 'cv2', 'numpy', 'pydantic'} & set(sys.modules)))\n"
    assert run_script(tmp_path, text).stdout.strip() == "[]"


def test_its_names_are_those_that_it_lists() -> None:
    assert set(lad.__all__) <= set(dir(lad))
    for name in lad.__all__:
        assert getattr(lad, name) is not None
    with pytest.raises(AttributeError, match="lod"):
        lad.lod  # noqa: B018


def test_it_is_typed() -> None:
    assert (Path(lad.__file__).parent / "py.typed").is_file()
