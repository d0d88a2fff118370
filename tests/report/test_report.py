"""`lad report`: what the folder holds, and what it does to files that were there."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from helpers.reported import Made, bumps, scored_work
from helpers.small import write_data
from helpers.videos import frame_folder, write_video

from lad.dataset import Video
from lad.events import Event
from lad.report.build import PAGE, script
from lad.report.curves import Curve, block_categories, block_peaks, packed, times_data
from lad.report.moments import Moment, choose_parts, choose_stills
from lad.report.truth import FALSE_ALARM, HIT

UPLOT = {  # of the npm package uplot 1.6.32
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot.LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}


def given(page: Path, name: str) -> dict:
    """What a data file of a report gives the page."""
    text = (page / "data" / f"{name}.js").read_text(encoding="ascii")
    return json.loads(text.removeprefix(f'LAD.give("{name}",').removesuffix(");\n"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Two videos: one with a true event that is found and a false alarm, one whose true event is missed."""
    first = Video("a", write_video(tmp_path / "a.mp4", 120), "test", "run", (Event(20, 40),))
    second = Video(
        "b/c", frame_folder(tmp_path / "b", [f"{n}.png" for n in range(60)]), "test", "fall", (Event(10, 30),)
    )
    made = [Made(first, bumps(120, (25, 45, 0.9), (80, 100, 0.7))), Made(second, bumps(60, (15, 20, 0.4)))]
    return scored_work(tmp_path / "work", made)


@pytest.mark.slow
def test_a_report_tells_events_worst_first_and_holds_all_that_it_shows(work, lad) -> None:
    status, out, _ = lad("report", "--work", str(work))
    page = work / "report"
    assert (status, out.splitlines()[-1]) == (0, (page / "index.html").absolute().as_uri())
    run = given(page, "run")
    events = run["events"]
    assert [(e, v) for e, v in zip(events["peak"], events["verdict"], strict=True)] == [(0.9, HIT), (0.7, FALSE_ALARM)]
    assert (events["start"], events["end"], events["frame"]) == ([25, 80], [45, 100], [35, 90])
    assert [(run["misses"][key]) for key in ("video", "start", "end", "frame")] == [[1], [10], [30], [17]]
    assert run["truth"] == [[[20, 40]], [[10, 30]]]
    for pictures in (run["stills"], run["clips"]):
        assert set(pictures["video"]) == {0, 1}
        assert all((page / name).stat().st_size > 100 for name in pictures["file"])
    assert all((page / name).is_file() for name in PAGE)
    scores = np.frombuffer(base64.b64decode(given(page, f"video-{run['videos']['data'][0]}")["scores"]), "<u2") / 65535
    assert scores[35] == pytest.approx(0.9, abs=1e-4)


@pytest.mark.slow
def test_a_run_ends_with_a_report_where_it_is_asked_for(tmp_path, lad) -> None:
    words = write_data(tmp_path / "data")
    status, out, _ = lad("run", *words, "--work", str(tmp_path / "work"), "--report", "-o", "score.threshold=0")
    assert (status, out.splitlines()[-1]) == (0, (tmp_path / "work" / "report" / "index.html").as_uri())
    run = given(tmp_path / "work" / "report", "run")
    numbers = {name: value for name, value, _, _ in run["facts"]["numbers"]}
    assert list(numbers)[:2] == ["Frame AUC, all videos", "Frame AUC, mean over videos (macro)"]
    metrics = json.loads((tmp_path / "work" / "metrics.json").read_text())
    assert numbers["Frame AUC, all videos"] == f"{metrics['auc']:.4f}"
    assert numbers["Events never alarmed"] == str(metrics["never_alarmed"]), "a count is no decimal"
    assert run["facts"]["detector"] == "aed_t, trained in this run"
    assert {"plots/roc.png", "plots/confusion.png"} <= set(run["plots"])
    assert dict(run["facts"]["protocol"])["detector"] == "aed_t"
    assert len(dict(run["facts"]["fingerprints"])["evaluation"]) == 64
    assert set(run["events"]["video"]) == set(range(6))


@pytest.mark.slow
def test_where_no_video_can_be_scored_there_is_no_report_and_the_reasons_are_told(tmp_path, lad) -> None:
    words = write_data(tmp_path / "data")
    lad("run", *words, "--work", str(tmp_path / "work"))
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    checkpoint = str(tmp_path / "work" / "checkpoints" / "best.pt")
    place = str(tmp_path / "other")
    status, _, err = lad("score", "--checkpoint", checkpoint, "--work", place, "--report", str(tmp_path / "bad.mp4"))
    assert status == 1
    assert "1 video failed" in err


@pytest.mark.slow
def test_a_second_report_makes_nothing_anew_and_removes_only_what_is_stale(work, lad) -> None:
    lad("report", "--work", str(work))
    page = work / "report"
    (page / "mine.txt").write_text("mine")
    (page / "clips" / "mine.mp4").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in page.rglob("*") if path.is_file() and path.name != "files.json"}
    _, out, _ = lad("report", "--work", str(work))
    assert "0 pictures made" in out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    _, out, _ = lad("report", "--work", str(work), "--videos", "none", "--thumbnails", "1")
    assert [path.name for path in (page / "clips").iterdir()] == ["mine.mp4"]
    assert len(list((page / "thumbnails").iterdir())) == 1
    assert (page / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_report_that_was_stopped_goes_on_where_it_was(work, lad, monkeypatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lad.report.pictures.write_clip", stop)
        with pytest.raises(KeyboardInterrupt):
            lad("report", "--work", str(work))
    status, _, _ = lad("report", "--work", str(work))
    assert status == 0
    assert (work / "report" / "index.html").is_file()
    assert not list((work / "report").rglob(".lad-*"))


@pytest.mark.slow
def test_files_that_lad_did_not_write_are_not_replaced(work, tmp_path, lad) -> None:
    out = tmp_path / "site"
    out.mkdir()
    (out / "index.html").write_text("my site")
    status, _, err = lad("report", "--work", str(work), "--out", str(out))
    assert status == 2
    assert "index.html: lad did not write it" in err
    assert [path.name for path in out.iterdir()] == ["index.html"]
    status, _, _ = lad("report", "--work", str(work), "--out", str(out), "--force", "--videos", "none")
    assert status == 0
    assert (out / "index.html").read_text() != "my site"


def test_a_list_of_files_that_leads_out_of_the_folder_removes_nothing_there(work, lad) -> None:
    (work / "report").mkdir()
    (work / "precious").write_text("mine")
    listed = {"format": "lad report 1", "files": ["../precious"]}
    (work / "report" / "files.json").write_text(json.dumps(listed))
    lad("report", "--work", str(work), "--videos", "none", "--thumbnails", "0")
    assert (work / "precious").read_text() == "mine"


def test_a_video_that_is_gone_is_shown_without_pictures(work, tmp_path, lad) -> None:
    (tmp_path / "a.mp4").unlink()
    status, out, _ = lad("report", "--work", str(work), "--json")
    data = json.loads(out)
    assert (status, list(data["failed"])) == (1, ["a"])
    run = given(work / "report", "run")
    assert "is not there any more" in run["videos"]["problem"][0]
    assert set(run["stills"]["video"]) == {1}
    assert len(run["events"]["video"]) == 2


def test_given_features_have_no_pictures_and_that_is_no_failure(tmp_path, lad) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 4), np.float32))
    made = [Made(Video("a", tmp_path / "a.npy"), bumps(50, (10, 30, 0.8)))]
    status, _, _ = lad("report", "--work", str(scored_work(tmp_path / "work", made, listed=False)))
    assert status == 0
    run = given(tmp_path / "work" / "report", "run")
    assert (run["labelled"], run["events"]["verdict"], run["truth"]) == (False, [0], [None])


def test_where_nothing_was_scored_there_is_one_line(tmp_path, lad) -> None:
    status, _, err = lad("report", "--work", str(tmp_path))
    assert (status, len(err.splitlines())) == (2, 1)
    status, _, err = lad("report", "--work", str(scored_work(tmp_path / "w", [])))
    assert (status, err.splitlines()) == (2, [f"error: {tmp_path}/w: no video was scored here: run `lad score` first"])


def test_splits_are_named_by_their_number(work, lad) -> None:
    status, _, err = lad("report", "--work", str(work), "--split", "3")
    assert status == 2
    assert "has no random splits" in err


def test_nothing_in_a_data_file_can_end_its_script() -> None:
    text = script("run", {"id": "</script><!--\u2028\u2029é\ud800"})
    assert re.fullmatch(rb'LAD\.give\("run",\{"id":"[^<\n\x80-\xff]*"\}\);\n', text)


def test_uplot_is_the_package_s_own_file() -> None:
    vendor = files("lad.report") / "page" / "vendor"
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in vendor.iterdir()}
    assert found == UPLOT


def test_times_of_an_even_rate_are_one_number_and_others_are_told_to_the_microsecond() -> None:
    assert times_data(np.arange(100) / 25) == {"step": pytest.approx(0.04)}
    gaps = np.array([0.04, 0.5, 0.033333])
    data = times_data(np.append(0, np.cumsum(gaps)))
    assert np.frombuffer(base64.b64decode(data["gaps"]), "<u4").tolist() == [40000, 500000, 33333]


def test_a_block_s_peak_is_never_below_the_scores_in_it() -> None:
    scores = np.random.default_rng(0).uniform(0, 1, 100)
    peaks = block_peaks(scores, 16)
    assert (len(peaks), len(base64.b64decode(packed(peaks)))) == (7, 7)
    assert all(0 <= peak / 255 - scores[16 * n : 16 * n + 16].max() < 1 / 255 for n, peak in enumerate(peaks))


def test_short_videos_are_shown_whole_and_long_ones_around_their_events_within_the_budget() -> None:
    hour, short = np.arange(90_000) / 25, np.arange(500) / 25
    moments = [
        Moment(0, 1000, 1050, 1020, 0.9),
        Moment(0, 1100, 1150, 1120, 0.8),
        Moment(1, 100, 110, 105, 0.7),
        Moment(0, 50_000, 50_050, 50_020, 0.6),
    ]
    parts = choose_parts(moments, [hour, short].__getitem__, before=5, after=5, budget=40)
    assert parts == {0: [(875, 1275)], 1: [(0, 500)]}
    parts = choose_parts(moments, [hour, short].__getitem__, before=5, after=5, budget=60)
    assert parts[0] == [(875, 1275), (49_875, 50_175)]
    assert choose_stills(moments, 2) == {0: {1020, 1120}}


def test_at_another_threshold_no_event_is_called_normal() -> None:
    shares = np.array([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]])
    curve = Curve(np.zeros(32), np.arange(32) / 25, ["Normal", "fight", "fall"], shares)
    assert block_categories(curve, 16).tolist() == [1, 2]
    assert block_categories(replace(curve, classes=["Normal"], probabilities=shares[:, :1]), 16).tolist() == [0, 0]
