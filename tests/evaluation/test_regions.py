"""RBDC and TBDC against values worked out by hand, and the files that they are read from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lad.evaluation.regions import (
    FoundRegions,
    TrueRegions,
    area_up_to_one,
    match_regions,
    read_detections,
    read_tracks,
    region_metrics,
)

Lad = Callable[..., tuple[int, str, str]]
Box = tuple[float, float, float, float]

HERE, THERE, ELSEWHERE = (0, 0, 9, 9), (50, 50, 59, 59), (20, 20, 29, 29)
# 5 of the 10 * 10 pixels each way are shared: 25 of 175.
BESIDE_THERE = (55, 55, 64, 64)


def true_regions(*rows: tuple[int, int, Box]) -> TrueRegions:
    """Of `(track, frame, box)`."""
    tracks, frames, boxes = zip(*rows, strict=True) if rows else ((), (), ())
    return TrueRegions(np.array(frames, int), np.array(boxes, float).reshape(-1, 4), np.array(tracks, int))


def found_regions(*rows: tuple[int, Box, float]) -> FoundRegions:
    """Of `(frame, box, score)`."""
    frames, boxes, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return FoundRegions(np.array(frames, int), np.array(boxes, float).reshape(-1, 4), np.array(scores, float))


TRUE = true_regions(*((0, frame, HERE) for frame in range(5)), (1, 2, THERE), (1, 3, THERE))
FOUND = found_regions(
    (4, HERE, 0.5),
    (9, HERE, 0.5),  # false: nothing is there
    (1, HERE, 0.55),
    (3, ELSEWHERE, 0.6),  # false: something is there, elsewhere
    (7, HERE, 0.7),  # false
    (2, BESIDE_THERE, 0.8),
    (0, HERE, 0.9),
)


def test_both_criteria_by_hand() -> None:
    # False ones a frame, of ten -> regions of seven: 0 -> 2, .2 -> 2 and then 3, .3 -> 4 together with a false one.
    by_hand = 0.2 * 2 / 7 + 0.1 * (3 / 7 + 4 / 7) / 2 + 0.7 * 4 / 7
    assert region_metrics([(TRUE, FOUND)], 10) == {
        "rbdc": pytest.approx(by_hand),
        "tbdc": pytest.approx(1),  # a region of each is found before the first false one
        "tracks": 2,
        "regions": 7,
        "detections": 7,
    }


def test_the_published_toy_example_is_found_perfectly() -> None:
    """As github.com/lilygeorgescu/AED says of its `toy_tracks` and `toy_anomalies`."""
    box = (10, 10, 20, 20)
    true = true_regions(*((0, frame, box) for frame in range(5)))
    found = found_regions(*((frame, box, 0.5) for frame in range(5)), (3, (0, 0, 20, 20), 0.1))
    metrics = region_metrics([(true, found)], 10)
    assert (metrics["rbdc"], metrics["tbdc"]) == (pytest.approx(1), pytest.approx(1))


@pytest.mark.parametrize(("regions", "needed"), [(1, 1), (10, 1), (11, 2), (25, 3), (30, 3), (31, 4)])
def test_a_track_is_found_with_a_tenth_of_its_regions(regions: int, needed: int) -> None:
    true = true_regions(*((7, frame, HERE) for frame in range(regions)))
    for found, share in ((needed - 1, 0.0), (needed, 1.0)):
        detections = found_regions(*((frame, HERE, 0.5) for frame in range(found)))
        assert region_metrics([(true, detections)], regions)["tbdc"] == share


def test_what_overlaps_too_little_is_false_and_one_detection_may_find_two_regions() -> None:
    true = true_regions((0, 0, HERE), (1, 0, (10, 0, 19, 9)), (2, 1, HERE))
    found = found_regions(
        (0, (0, 0, 19, 9), 0.9),  # half of it is each of the two
        (0, HERE, 0.8),  # finds again
        (1, (9, 0, 18, 9), 0.7),  # a column of ten pixels, of 190
        (1, (8, 0, 17, 9), 0.6),  # two columns: 20 of 180
        (2, HERE, 0.5),  # where nothing is
    )
    highest, overlaps = match_regions(true, found)
    assert highest.tolist() == [0.9, 0.9, 0.6]
    assert overlaps.tolist() == [True, True, False, True, False]


def test_the_area_ends_at_one_false_detection_a_frame() -> None:
    assert area_up_to_one(np.zeros(0), np.zeros(0)) == 0
    assert area_up_to_one(np.array([0.25]), np.array([0.5])) == pytest.approx(0.25 * 0.5 / 2 + 0.75 * 0.5)
    assert area_up_to_one(np.array([0.5, 0.5, 1.5]), np.array([0, 0.4, 0.8])) == pytest.approx(0.5 * (0.4 + 0.6) / 2)
    assert area_up_to_one(np.array([0, 1, 1, 2]), np.array([0.2, 0.2, 0.9, 1])) == pytest.approx(0.2)


def test_videos_are_apart_and_nothing_true_has_no_number() -> None:
    normal = (true_regions(), found_regions((0, HERE, 0.95)))
    metrics = region_metrics([(TRUE, FOUND), normal], 10)
    assert metrics["tbdc"] == pytest.approx(0.9), "the first detection is false now"
    assert metrics["tracks"] == 2 and metrics["detections"] == 8
    nothing = region_metrics([normal], 10)
    assert nothing["rbdc"] is nothing["tbdc"] is None
    assert region_metrics([(TRUE, found_regions())], 10)["rbdc"] == 0


def one_by_one(videos: Sequence[tuple[TrueRegions, FoundRegions]], frames: int) -> tuple[float, float]:
    """RBDC and TBDC with loops, for scores that all differ."""

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        pixels = [
            {(x, y) for x in range(int(c[0]), int(c[2]) + 1) for y in range(int(c[1]), int(c[3]) + 1)} for c in (a, b)
        ]
        return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])

    detections = sorted(
        ((score, place, n) for place, (_, found) in enumerate(videos) for n, score in enumerate(found.scores)),
        reverse=True,
    )
    sizes: dict[tuple[int, int], int] = {}
    for place, (true, _) in enumerate(videos):
        for track in true.tracks:
            sizes[place, int(track)] = sizes.get((place, int(track)), 0) + 1
    done: set[tuple[int, int]] = set()
    false, areas = 0, np.zeros(2)
    for _, place, n in detections:
        true, found = videos[place]
        hit = [k for k in np.flatnonzero(true.frames == found.frames[n]) if iou(true.boxes[k], found.boxes[n]) >= 0.1]
        done |= {(place, int(k)) for k in hit}
        counts = dict.fromkeys(sizes, 0)
        for where, k in done:
            counts[where, int(videos[where][0].tracks[k])] += 1
        rates = [len(done) / sum(sizes.values()), np.mean([counts[key] / sizes[key] >= 0.1 for key in sizes])]
        if not hit and false < frames:
            false += 1
            areas += np.array(rates) / frames
    return tuple(areas + np.array(rates) * (1 - false / frames))


@pytest.mark.parametrize("frames", [12, 100])
def test_both_agree_with_a_loop_over_pixels(frames: int) -> None:
    random = np.random.default_rng(frames)
    videos = []
    for number in range(3):
        corners = random.integers(0, 12, (80, 2))
        boxes = np.hstack([corners, corners + random.integers(0, 8, (80, 2))]).astype(float)
        when = random.integers(0, 12, 80)
        true = TrueRegions(when[:25], boxes[:25], random.integers(0, 4, 25))
        videos.append((true, FoundRegions(when[25:], boxes[25:], random.permutation(55) + number / 7)))
    metrics = region_metrics(videos, frames)
    assert (metrics["rbdc"], metrics["tbdc"]) == pytest.approx(one_by_one(videos, frames))
    assert 0 < metrics["rbdc"] < metrics["tbdc"] < 1


def test_a_million_frames_take_seconds() -> None:
    random, frames = np.random.default_rng(0), np.arange(1_000_000)
    boxes = np.tile(np.array(HERE, float), (len(frames), 1))
    true = TrueRegions(frames, boxes, frames // 500)
    found = FoundRegions(
        random.permutation(frames), boxes + random.integers(0, 12, (len(frames), 1)), random.random(len(frames))
    )
    began = time.process_time()
    assert 0.3 < region_metrics([(true, found)], len(frames))["rbdc"] < 1
    assert time.process_time() - began < 20


# Files --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The video of `test_both_criteria_by_hand` in the format of ShanghaiTech, and one without tracks."""
    regions, tracks = tmp_path / "mine", tmp_path / "tracks"
    regions.mkdir()
    tracks.mkdir()
    rows = zip(TRUE.tracks, TRUE.frames, TRUE.boxes.tolist(), strict=True)
    write(tracks / "01_0014.txt", [[track, frame, *map(int, box)] for track, frame, box in rows])
    found = zip(FOUND.frames, FOUND.boxes.tolist(), FOUND.scores, strict=True)
    write(regions / "01_0014.txt", [[frame, *box, score] for frame, box, score in found])
    (regions / "02_0001.txt").write_text("")
    return regions, tracks


def write(path: Path, rows: Sequence[Sequence[object]], between: str = ",") -> None:
    path.write_text("".join(between.join(map(str, row)) + "\n" for row in rows))


def evaluate(folders: tuple[Path, Path], *more: str, frames: str = "10") -> list[str]:
    regions, tracks = folders
    words = ["evaluate", "--regions", str(regions), "--tracks", str(tracks), "--frames", frames]
    return [*words, "--work", str(regions.parent / "work"), *more]


def test_regions_are_evaluated_without_a_configuration(lad: Lad, folders) -> None:
    status, out, err = lad(*evaluate(folders))
    assert status == 0, err
    by_hand = 0.2 * 2 / 7 + 0.1 / 2 + 0.7 * 4 / 7
    assert f"RBDC {by_hand:.4f}" in out and "TBDC 1.0000" in out
    assert "videos: 2, frames: 10, tracks: 2, regions: 7, detections: 7" in out
    place = folders[0].parent / "work" / "evaluations" / "mine"
    metrics = json.loads((place / "metrics.json").read_text())
    assert metrics["rbdc"] == pytest.approx(by_hand) and metrics["undefined"] == {}
    assert metrics["protocol"]["min_iou"] == metrics["protocol"]["min_share_of_track"] == 0.1
    status, out, _ = lad(*evaluate(folders, "--json"))
    assert status == 0 and json.loads(out)["metrics"] == metrics

    status, out, _ = lad("compare", str(place), "--json")
    assert status == 0 and json.loads(out)["runs"][0]["metrics"]["rbdc"]["mean"] == metrics["rbdc"]
    assert "RBDC" in lad("compare", str(place))[1]


def test_tracks_of_street_scene_have_pictures_middles_and_sizes(lad: Lad, folders) -> None:
    _, tracks = folders
    expected, _ = read_tracks(tracks / "01_0014.txt")
    rows = [
        [f"{frame + 1:03d}.jpg", track, (box[0] + box[2] + 1) / 2, (box[1] + box[3] + 1) / 2, 10, 10]
        for frame, track, box in zip(expected.frames, expected.tracks, expected.boxes, strict=True)
    ]
    (tracks / "01_0014.txt").unlink()
    write(tracks / "01_0014_gt.txt", rows, between=" ")
    found, replaced = read_tracks(tracks / "01_0014_gt.txt")
    assert replaced == 0
    for name in ("frames", "boxes", "tracks"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name
    status, out, _ = lad(*evaluate(folders))
    assert status == 0 and "TBDC 1.0000" in out, "Test001.txt goes with Test001_gt.txt"


def test_of_a_track_that_is_twice_in_a_frame_the_last_line_counts_and_that_is_said(lad: Lad, folders) -> None:
    path = folders[1] / "01_0014.txt"
    path.write_text("0,0,5,5,8,8\n" + path.read_text())
    true, replaced = read_tracks(path)
    assert replaced == 1 and true.frames.tolist() == TRUE.frames.tolist()
    assert true.boxes[0].tolist() == list(HERE)
    status, _, err = lad(*evaluate(folders))
    assert status == 0 and "01_0014.txt: 1 of its lines counts for nothing" in err


@pytest.mark.parametrize(
    ("which", "content", "said"),
    [
        (0, "0,1,2,3,4\n", "5 numbers on a line: a region has six"),
        (0, "0,1,2,3,4,high\n", "high"),
        (0, "0,1,2,3,4,nan\n", "not finite"),
        (0, "0,9,9,3,12,0.5\n", "region 1: the box ends before it begins"),
        (0, "0,0,0,1,1,0.5\n-1,0,0,1,1,0.5\n", "region 2: a frame or track is no whole number"),
        (0, b"\xff\xfe0,1", "not a UTF-8 text file"),
        (1, "0,0.5,1,1,2,2\n", "region 1: a frame or track is no whole number"),
        (1, "first.jpg 0 5 5 2 2\n", "first"),
        (1, b"\xff\xfe0,1", "not a UTF-8 text file"),
    ],
)
def test_a_file_that_is_none_is_a_mistake_in_one_line(lad: Lad, folders, which, content, said) -> None:
    path = folders[which] / "01_0014.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    status, out, err = lad(*evaluate(folders))
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert str(path) in err and said in err


def test_what_does_not_go_together_is_said(lad: Lad, folders) -> None:
    regions, tracks = folders
    status, _, err = lad(*evaluate(folders, frames="6"))
    assert status == 2 and "--frames 6: the files name 7 frames" in err
    for words in (["--regions", str(regions)], ["--tracks", str(tracks)], ["--frames", "3"]):
        status, _, err = lad("evaluate", *words)
        assert status == 2 and "--regions, --tracks and --frames go together" in err
    status, _, err = lad(*evaluate(folders, "--checkpoint", "best.pt"))
    assert status == 2 and "measured alone" in err
    (tracks / "03.txt").write_text("0,0,1,1,2,2\n")
    status, _, err = lad(*evaluate(folders))
    assert status == 0 and "1 of the 2 videos with tracks has no file there (03)" in err
    (tracks / "01_0014.txt").unlink()
    status, _, err = lad(*evaluate(folders))
    assert status == 2 and "no .txt file there is called as one in" in err


def test_a_file_without_a_line_has_no_detection(folders) -> None:
    assert len(read_detections(folders[0] / "02_0001.txt").frames) == 0
