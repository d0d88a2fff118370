"""`lad watch` on files: the scores of `lad score`, events with their clips, one line for each mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.detectors import write_detector
from helpers.videos import frame_folder, write_video

Lad = Callable[..., tuple[int, str, str]]


def read_csv(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)


def watch(lad: Lad, tmp_path: Path, *words: str) -> tuple[list[dict[str, Any]], str]:
    status, out, err = lad("watch", *words, "--out", str(tmp_path / "out"), "--device", "cpu")
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()], err


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["extract.fps=8"],
        ["extract.clip_stride=5"],
        ["extract.clip_stride=40"],
        ["extract.clip_stride=24", "extract.context=batch", "extract.batch_clips=2"],
        ["extract.context=batch", "extract.batch_clips=3"],
        ["extract.tail=drop"],
        ["extract.fps=40", "extract.crops=5", "score.merge=max"],
    ],
    ids=lambda options: " ".join(options) or "as it is",
)
def test_a_files_scores_are_those_of_lad_score(lad: Lad, detector: Path, tmp_path: Path, options: list[str]) -> None:
    more = [word for option in options for word in ("-o", option)]
    watched_and_scored(lad, detector, tmp_path, more)


@pytest.mark.slow
@pytest.mark.parametrize("latency", ["exact", "low"])
def test_a_causal_detector_of_whole_videos_watches(lad: Lad, tmp_path: Path, latency: str) -> None:
    detector = write_detector(tmp_path / "causal.pt", name="mil_causal")
    watched_and_scored(lad, detector, tmp_path, ["-o", "extract.batch_clips=2"], "--latency", latency)


def watched_and_scored(lad: Lad, detector: Path, tmp_path: Path, options: list[str], *of_watch: str) -> None:
    path = write_video(tmp_path / "street.mp4", 155, size=(96, 64))
    words = [str(path), "--checkpoint", str(detector), *options]
    watch(lad, tmp_path, *words, "--scores", str(tmp_path / "scores"), "-q", *of_watch)
    status, _, err = lad("score", *words, "--work", str(tmp_path / "work"), "--device", "cpu", "-q")
    assert status == 0, err
    (expected,) = (tmp_path / "work" / "scores").glob("street*.csv")
    found, wanted = read_csv(tmp_path / "scores" / "street.csv"), read_csv(expected)
    assert found.shape == wanted.shape == (155, 5)
    np.testing.assert_allclose(found[:, 2], wanted[:, 2], atol=1e-6)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
def test_a_file_that_decord_gives_up_is_told_once(lad: Lad, detector: Path, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", 200, size=(96, 64), codec_options={"g": "20"})
    data = bytearray(whole.read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 60] = bytes(60)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(bytes(data))
    words = [str(path), "--checkpoint", str(detector)]
    watch(lad, tmp_path, *words, "--scores", str(tmp_path / "scores"), "-q")
    lad("score", *words, "--work", str(tmp_path / "work"), "--device", "cpu", "-q")
    (expected,) = (tmp_path / "work" / "scores").glob("damaged*.csv")
    found, wanted = read_csv(tmp_path / "scores" / "damaged.csv"), read_csv(expected)
    np.testing.assert_allclose(found[:, :3], wanted[:, :3], atol=1e-3)
    np.testing.assert_array_equal(found[:, 0], np.arange(len(wanted)))


@pytest.mark.slow
def test_an_event_is_told_with_a_clip_and_a_picture(
    lad: Lad, detector: Path, clip: Path, threshold: str, tmp_path: Path
) -> None:
    words = [str(clip), "--checkpoint", str(detector), "--threshold", threshold]
    notices, err = watch(lad, tmp_path, *words)
    assert [notice["type"] for notice in notices] == ["new", "end"]
    event = notices[-1]["after"]
    assert 1.0 < event["start_time"] < 3.0 < event["end_time"] < 5.5
    assert (event["camera"], event["threshold"], len(event["model_sha256"])) == ("clip", float(threshold), 64)
    assert event["has_clip"]
    with av.open(str(tmp_path / "out" / event["clip"])) as film:
        frames = [frame.pts for frame in film.decode(video=0)]
    assert len(frames) == 160  # five seconds before and after are all of it
    picture = (tmp_path / "out" / event["thumb"]).read_bytes()
    assert picture[:2] == b"\xff\xd8"
    kept = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*.json")]
    assert [one["after"] for one in kept] == [event]
    assert "scores (exact) come at most 80 frames after theirs (3.2 s at 25 a second)" in err


@pytest.mark.slow
def test_low_latency_scores_a_clip_by_what_came_before(lad: Lad, detector: Path, clip: Path, tmp_path: Path) -> None:
    words = ["--checkpoint", str(detector), "--latency", "low", "-q", "--no-clips"]
    watch(lad, tmp_path, str(clip), *words, "--scores", str(tmp_path / "whole"))
    with av.open(str(clip)) as film:
        frames = [frame.to_ndarray(format="rgb24") for _, frame in zip(range(96), film.decode(video=0), strict=False)]
    lossless = {"codec_options": {"qp": "0", "bf": "0"}, "pix_fmt": "yuv444p", "size": (96, 64)}
    part = write_video(tmp_path / "part.mp4", frames, **lossless)  # type: ignore[arg-type]
    with av.open(str(clip)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    whole = write_video(tmp_path / "again.mp4", frames, **lossless)  # type: ignore[arg-type]
    for path in (part, whole):
        watch(lad, tmp_path, str(path), *words, "--scores", str(tmp_path / "scores"))
    first, all_of_it = (read_csv(tmp_path / "scores" / f"{name}.csv")[:, 2] for name in ("part", "again"))
    np.testing.assert_allclose(first, all_of_it[: len(first)], atol=1e-5)


@pytest.mark.slow
def test_a_file_at_its_own_pace_takes_as_long_as_it_lasts_and_has_the_same_scores(
    lad: Lad, detector: Path, clip: Path, tmp_path: Path
) -> None:
    words = [str(clip), "--checkpoint", str(detector), "-q", "--no-clips"]
    watch(lad, tmp_path, *words, "--scores", str(tmp_path / "fast"))
    watch(lad, tmp_path, *words, "--realtime", "--scores", str(tmp_path / "paced"))
    fast, paced = read_csv(tmp_path / "fast" / "clip.csv"), read_csv(tmp_path / "paced" / "clip.csv")
    np.testing.assert_allclose(paced[:, 1:3], fast[:, 1:3], atol=1e-3)


@pytest.mark.slow
def test_a_file_at_its_own_pace_that_is_over_is_over_and_its_last_event_has_its_clip(
    lad: Lad, detector: Path, clip: Path, threshold: str, tmp_path: Path
) -> None:
    config = tmp_path / "cameras.yaml"
    config.write_text(f"offline_seconds: 1\ncameras: {{film: {{url: '{clip}', realtime: true}}}}\n")
    notices, err = watch(lad, tmp_path, "-c", str(config), "--checkpoint", str(detector), "--threshold", threshold)
    assert [notice["type"] for notice in notices] == ["new", "end"]
    assert notices[-1]["after"]["has_clip"]
    assert "offline" not in err


@pytest.mark.slow
def test_a_folder_of_images_is_a_video(lad: Lad, detector: Path, tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", [f"{number:03d}.png" for number in range(40)])
    notices, _ = watch(lad, tmp_path, str(folder), "--checkpoint", str(detector), "--threshold", "0")
    assert [notice["type"] for notice in notices] == ["new", "end"]
    assert not notices[-1]["after"]["has_clip"]


@pytest.mark.slow
def test_videos_that_cannot_be_read_fail_and_the_others_are_watched(
    lad: Lad, detector: Path, clip: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    words = ["--checkpoint", str(detector), "--out", str(tmp_path / "out"), "--scores", str(tmp_path / "scores")]
    status, _, err = lad("watch", str(bad), str(clip), *words)
    assert status == 1
    assert f"failed: {bad}: not a video: it begins like no container that lad reads" in err
    assert len(read_csv(tmp_path / "scores" / "clip.csv")) == 160


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.mp4"], "error: nowhere.mp4: no such file, folder or match"),
        ([], "name a SOURCE: rtsp://user@camera/stream, a file; or -c cameras.yaml"),
        (["ftp://bob:secret@host/a"], "error: ftp://bob:***@host/a: lad watch opens rtsp, rtsps, http, https"),
        (["rtsp://bob:${NO_SUCH_WORD}@host/a"], "the environment has no NO_SUCH_WORD: set it"),
        (["-c", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["a.mp4", "--threshold", "nan"], "nan is no number"),
        (["rtsp://[::1/a"], "rtsp://[::1/a: names no camera"),
        (["--realtime", "--follow", "a"], "--realtime and --follow: choose one of them"),
    ],
)
def test_a_mistake_is_one_line(lad: Lad, words: list[str], said: str) -> None:
    status, out, err = lad("watch", *words)
    assert (status, out) == (2, "")
    assert said in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "cameras: {yard: {url: 'rtsp://a:secret@b/c', treshold: 1}}",
            "unknown key 'cameras.yard.treshold': did you mean",
        ),
        ("cameras: {yard: {url: 'rtsp://a:secret@b/c', threshold: 3}}", "cameras.yard.threshold: input should be less"),
        ("cameras: {yard: {url: 'rtsp://a:${NO_SUCH}@b/c'}}", "cameras.yard.url: the environment has no NO_SUCH"),
        ("cameras: [1]", "cameras: input should be a valid dictionary"),
        ("sinks: {phone: {url: 'http://secret'}}", "sinks.phone: no kind of sink 'phone'"),
        ("sinks: {webhook: {adress: 'http://secret'}}", "sinks.webhook"),
        ("1: 2", "keys should be strings"),
        ("cameras: {a: {url: 'rtsp://b', realtime: true, follow: true}}", "realtime and follow: choose one of them"),
        ("camera: 1", "unknown key 'camera': did you mean 'cameras'?"),
    ],
)
def test_what_is_wrong_in_cameras_yaml_is_named_with_its_line(
    lad: Lad, tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(f"# cameras\n{content}\n")
    status, _, err = lad("watch", "-c", str(path))
    assert status == 2
    assert f"{path}:2: " in err
    assert said in err
    assert "secret" not in err


@pytest.mark.real
@pytest.mark.slow
def test_the_included_detector_scores_a_real_video_as_lad_score_does(
    lad: Lad, shared_data: Path, real_weights: str, tmp_path: Path
) -> None:
    path = shared_data / "surveillance" / "videos" / "Fighting" / "fi018.mp4"
    words = [str(path), "--scores", str(tmp_path / "scores"), "--no-clips", "--threshold", "0.1"]
    notices, err = watch(lad, tmp_path, *words)
    assert len(notices[-1]["after"]["looks_like"]) == 3
    assert "scores (exact) come at most 96 frames after theirs (3.8 s at 25 a second)" in err
    status, _, err = lad("score", str(path), "--work", str(tmp_path / "work"), "--device", "cpu", "-q")
    assert status == 0, err
    (expected,) = (tmp_path / "work" / "scores").glob("fi018*.csv")
    np.testing.assert_allclose(read_csv(tmp_path / "scores" / "fi018.csv")[:, 2], read_csv(expected)[:, 2], atol=1e-6)
