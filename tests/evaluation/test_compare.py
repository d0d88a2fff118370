"""`lad compare`: runs side by side, their intervals, and the difference of two of the same test videos."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lad.dataset import COLUMNS
from lad.evaluation import bootstrap
from lad.evaluation.bootstrap import NUMBERS, Measured, interval, resampled, resampled_categories
from lad.evaluation.metrics import average_precision, latencies, macro_auc, roc_auc
from lad.intervals import intervals
from lad.tables import csv_table, latex_table, markdown_table

Lad = Callable[..., tuple[int, str, str]]
THRESHOLD = 0.6


def some_videos(sources: int, seed: int, frames: int = 40, digits: int = 2, noise: float = 0.4) -> list[Measured]:
    """Two videos of each source; in one of them something happens."""
    random = np.random.default_rng(seed)
    videos = []
    for number in range(2 * sources):
        truth = np.zeros(frames, dtype=bool)
        truth[: frames // 3] = number % 2
        scores = np.clip(0.3 + 0.2 * truth + random.normal(0, noise, frames), 0, 1).round(digits)
        late = latencies(intervals(truth), intervals(scores > THRESHOLD), np.arange(frames) / 25)
        kinds = ("run", "fall") if number % 4 == 3 else ("run",)
        videos.append(Measured(f"v{number}", f"camera {number // 2}", truth, scores, late, kinds))
    return videos


def one_by_one(splits: Sequence[Sequence[Measured]]) -> np.ndarray:
    """The same as `resampled` and `resampled_categories` of `fall`, frame by frame: `(5, RESAMPLINGS)`."""
    sources = sorted({one.source for split in splits for one in split})
    random = np.random.default_rng(bootstrap.SEED)
    draws = random.multinomial(len(sources), np.full(len(sources), 1 / len(sources)), bootstrap.RESAMPLINGS)
    found = []
    for counts in draws:
        drawn = dict(zip(sources, counts, strict=True))
        numbers = []
        for split in splits:
            videos = [one for one in split for _ in range(drawn[one.source])]
            if not videos:
                numbers.append([None] * 5)
                continue
            frames = np.concatenate([one.truth for one in videos]), np.concatenate([one.scores for one in videos])
            macro = macro_auc([(one.truth, one.scores) for one in videos])
            late = [seconds for one in videos for seconds in one.latencies if np.isfinite(seconds)]
            falls = np.concatenate([one.truth & ("fall" in one.categories) for one in videos])
            kept = falls | ~frames[0]
            fall = roc_auc(falls[kept], frames[1][kept])
            numbers.append(
                [roc_auc(*frames), macro, average_precision(*frames), np.median(late) if late else None, fall]
            )
        columns = zip(*numbers, strict=True)
        known = [[value for value in column if value is not None] for column in columns]
        found.append([np.mean(values) if values else np.nan for values in known])
    return np.array(found).T


@pytest.mark.parametrize("splits", [1, 2])
def test_resampled_numbers_are_those_of_frames_drawn_by_source(monkeypatch, splits):
    monkeypatch.setattr(bootstrap, "RESAMPLINGS", 40)
    videos = [some_videos(5, seed)[number:] for number, seed in enumerate(range(splits))]
    ours, theirs = resampled(videos), one_by_one(videos)
    ours |= {"fall": resampled_categories(videos)["fall"]}
    assert list(ours) == [*NUMBERS, "fall"]
    for name, values in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(ours[name], values.astype(float), rtol=1e-6, err_msg=name)
        assert np.nanmax(ours[name]) - np.nanmin(ours[name]) > 0.01, name


@pytest.mark.parametrize("rare", [False, True])
def test_scores_too_many_to_be_told_apart_move_no_interval_by_a_thousandth(monkeypatch, rare):
    videos = [some_videos(4, 0, frames=1500, digits=9, noise=0.15)]
    if rare:  # some forty of 12,000 frames, most of them near the top
        random = np.random.default_rng(3)
        truths = [random.random(1500) < np.where(one.scores > 0.75, 0.2, 0.0005) for one in videos[0]]
        videos = [[replace(one, truth=truth) for one, truth in zip(videos[0], truths, strict=True)]]
    assert len(np.unique(np.concatenate([one.scores for one in videos[0]]))) > bootstrap.LEVELS
    coarse = {name: interval(values) for name, values in resampled(videos).items()}
    coarse["fall"] = interval(resampled_categories(videos)["fall"])
    monkeypatch.setattr(bootstrap, "LEVELS", 10**6)
    monkeypatch.setattr(bootstrap, "CHUNK", 10)
    exact = {name: interval(values) for name, values in resampled(videos).items()}
    exact["fall"] = interval(resampled_categories(videos)["fall"])
    assert coarse != exact
    assert all(coarse[name] == pytest.approx(exact[name], abs=1e-3) for name in exact)


def test_a_draw_without_an_anomalous_frame_counts_for_nothing_and_one_source_has_no_interval():
    quiet = [Measured(f"q{n}", f"q{n}", np.zeros(9, dtype=bool), np.linspace(0, 1, 9)) for n in range(3)]
    event = Measured("e", "e", np.arange(9) > 4, np.linspace(0, 1, 9))
    auc = resampled([[*quiet, event]])["auc"]
    assert np.isnan(auc).any() and not np.isnan(auc).all() and interval(auc) is not None
    assert interval(resampled([[event]])["auc"]) is None


def test_a_thousand_videos_take_seconds():
    videos = [some_videos(500, 0, frames=1000, digits=9)]
    began = time.process_time()
    resampled(videos)
    resampled_categories(videos)
    assert time.process_time() - began < 20


# Work directories ---------------------------------------------------------------------------------------------------


def write_run(work: Path, videos: Sequence[Measured], **more: Any) -> Path:
    """What `lad evaluate` leaves of test videos, as far as it is compared."""
    (work / "scores").mkdir(parents=True)
    with (work / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerow(["trained", "/nowhere/t.mp4", "train", "run", "", "", "", ""])
        for one in videos:
            events = f"0-{one.truth.sum()}" if one.truth.any() else ""
            kinds = "|".join(one.categories)
            writer.writerow([one.id, f"/nowhere/{one.id}.mp4", "test", kinds, events, "", "", one.source])
    for one in videos:
        lines = "".join(f"{frame},{frame / 25:.3f},{score:.7g},1\n" for frame, score in enumerate(one.scores))
        (work / "scores" / f"{one.id}.csv").write_text(f"frame,time,score,run\n{lines}")
    frames = np.concatenate([one.truth for one in videos]), np.concatenate([one.scores for one in videos])
    late = np.concatenate([one.latencies for one in videos])
    numbers = {"auc": roc_auc(*frames), "ap": average_precision(*frames), "false_alarms_hour": 2.0}
    numbers |= {"auc_macro": macro_auc([(one.truth, one.scores) for one in videos])}
    numbers |= {"latency": np.median(late[np.isfinite(late)]), "never_alarmed": int(np.isinf(late).sum())}
    numbers |= {"threshold": THRESHOLD, "accuracy_video": None}
    classes = {"run": {"auc_against_normal": numbers["auc"]}, "fall": {"auc_against_normal": 0.5}}
    protocol = {"left_out": [], "merge_seconds": 0.0, "min_seconds": 0.0}
    metrics = {**numbers, "classes": classes, "protocol": protocol, **more}
    (work / "metrics.json").write_text(json.dumps(metrics))
    return work


@pytest.fixture
def two(tmp_path) -> tuple[str, str]:
    """Two runs of the same test videos, the second with less noise."""
    first = write_run(tmp_path / "first", some_videos(6, 0))
    return str(first), str(write_run(tmp_path / "second", some_videos(6, 1, noise=0.1)))


def test_two_runs_of_the_same_videos_have_a_paired_difference(lad: Lad, two):
    status, out, err = lad("compare", *two, "--json")
    assert (status, err) == (0, "")
    data = json.loads(out)
    first, second = (run["metrics"]["auc"] for run in data["runs"])
    assert [run["name"] for run in data["runs"]] == ["first", "second"]
    assert first["low"] < first["mean"] < first["high"] and first["sd"] is None
    paired = data["paired"]["auc"]
    assert paired["difference"] == pytest.approx(second["mean"] - first["mean"]) and paired["difference"] > 0.1
    assert paired["low"] < paired["difference"] < paired["high"] and paired["above_zero"] == 1
    assert lad("compare", *two, "--json")[1] == out, "the seed is fixed"

    back = json.loads(lad("compare", *reversed(two), "--json")[1])["paired"]["auc"]
    assert (back["low"], back["high"]) == pytest.approx((-paired["high"], -paired["low"])) and back["above_zero"] == 0


def test_the_same_run_twice_differs_by_nothing(lad: Lad, two):
    data = json.loads(lad("compare", two[0], two[0], "--json")[1])
    assert data["paired"]["ap"] == {"difference": 0, "low": 0, "high": 0, "above_zero": 0}
    assert [run["name"] for run in data["runs"]] == [two[0], two[0]], "one name for two: the paths"


def test_tables_have_a_row_a_run_and_what_is_not_known_is_empty(lad: Lad, two):
    status, out, _ = lad("compare", *two)
    assert status == 0 and "first" in out and "frame AUC" in out and "above 0" in out
    assert "accuracy" not in out, "no run has it"

    rows = list(csv.DictReader(io.StringIO(lad("compare", *two, "--format", "csv")[1])))
    assert [row["run"] for row in rows] == ["first", "second"]
    assert rows[0]["accuracy_video"] == rows[0]["far_all"] == rows[0]["auc_difference"] == ""
    assert float(rows[1]["auc_difference"]) == pytest.approx(float(rows[1]["auc"]) - float(rows[0]["auc"]))

    lines = lad("compare", *two, "--format", "markdown")[1].splitlines()
    assert (
        lines[0].startswith("| run | frame AUC (95 % interval) |")
        and lines[2].startswith("| first | 0.")
        and len(lines) == 4 + 1 + 4 + 1 + 4 + 1 + 6
    )
    assert lad("compare", *two, "--format", "latex")[1].count(r"\begin{tabular}") == 4


def test_macro_auc_latency_and_categories_have_intervals_too(lad: Lad, two):
    data = json.loads(lad("compare", *two, "--json")[1])
    videos = some_videos(6, 0)
    drawn = resampled([videos]) | {"run": resampled_categories([videos])["run"]}
    first = data["runs"][0]
    for name, number in {**first["metrics"], "run": first["categories"]["run"]}.items():
        bounds = interval(drawn[name]) if name in drawn else None
        assert (number["low"], number["high"]) == pytest.approx(bounds or (None, None)), name
    assert data["paired"]["latency"]["difference"] == pytest.approx(
        data["runs"][1]["metrics"]["latency"]["mean"] - first["metrics"]["latency"]["mean"]
    )

    out = lad("compare", *two)[1]
    assert max(map(len, out.splitlines())) <= 80, "no table is wider than a terminal"
    assert "macro AUC" in out and "latency, s" in out and "AUC against normal frames" in out and "fall" in out
    row = next(csv.DictReader(io.StringIO(lad("compare", *two, "--format", "csv")[1])))
    assert float(row["auc_of_run"]) == pytest.approx(first["categories"]["run"]["mean"])
    assert float(row["auc_of_run_low"]) == pytest.approx(first["categories"]["run"]["low"])


def test_other_test_videos_labels_or_sources_are_not_compared_in_pairs(lad: Lad, two, tmp_path):
    def reason(videos: Sequence[Measured], name: str) -> str:
        status, out, err = lad("compare", two[0], str(write_run(tmp_path / name, videos)), "--json")
        assert status == 0 and json.loads(out)["paired"].keys() == {"first", "second", "resamplings", "reason"}
        return err

    videos = some_videos(6, 1)
    assert "the test videos differ: 1 only in" in reason(videos[:-1], "fewer") and "(v11)" in reason(
        videos[:-1], "less"
    )
    last = videos[-1]
    moved = Measured(last.id, last.source, np.arange(40) < 20, last.scores)
    assert "the labels or the number of frames of v11 differ" in reason([*videos[:-1], moved], "moved")
    elsewhere = Measured(last.id, "another", last.truth, last.scores)
    assert "the source of v11 differs" in reason([*videos[:-1], elsewhere], "elsewhere")


def test_runs_of_other_test_sets_are_told_however_many_they_are(lad: Lad, two, tmp_path):
    folders = [Path(two[0]), Path(two[1]), write_run(tmp_path / "fewer", some_videos(5, 1))]

    def told(*frames: int) -> str:
        for folder, count in zip(folders, frames, strict=True):
            metrics = json.loads((folder / "metrics.json").read_text()) | {"frames": count, "anomalous_frames": 9}
            (folder / "metrics.json").write_text(json.dumps(metrics))
        return lad("compare", *map(str, folders))[2]

    said = "the test sets differ, so their numbers cannot be compared: frames of first 480 (9 anomalous), second 480 "
    assert said in told(480, 480, 400) and "fewer 400 (9 anomalous)" in told(480, 480, 400)
    assert "test sets differ" not in told(480, 480, 480)


def test_numbers_that_the_scores_do_not_have_get_no_interval(lad: Lad, two):
    shutil.copyfile(Path(two[0], "scores/v0.csv"), Path(two[0], "scores/v1.csv"))
    status, out, err = lad("compare", *two, "--json")
    assert status == 0 and "its scores or labels are not those of its metrics.json: run `lad evaluate` first" in err
    assert json.loads(out)["runs"][0]["metrics"]["auc"]["low"] is None


@pytest.mark.parametrize("lost", ["dataset.csv", "scores/v3.csv"])
def test_a_run_without_its_scores_has_its_numbers_and_no_interval(lad: Lad, two, lost):
    Path(two[0], lost).unlink()
    status, out, err = lad("compare", *two, "--json")
    first = json.loads(out)["runs"][0]
    assert status == 0 and first["metrics"]["auc"]["mean"] is not None and first["metrics"]["auc"]["low"] is None
    assert len(err.splitlines()) == 2 and lost in err


def test_splits_have_mean_deviation_and_one_interval_and_leftovers_count_for_nothing(lad: Lad, tmp_path):
    work, videos = tmp_path / "run", [some_videos(6, seed) for seed in range(3)]
    for number in range(3):
        write_run(work / "splits" / str(number), videos[number])
    each = [json.loads((work / f"splits/{number}/metrics.json").read_text()) for number in range(2)]
    mean = {"auc": (each[0]["auc"] + each[1]["auc"]) / 2, "sd": {"auc": 0.25}, "splits": each}
    (work / "metrics.json").write_text(json.dumps(mean))
    (run,) = json.loads(lad("compare", str(work), "--json")[1])["runs"]
    assert run["splits"] == 2 and run["metrics"]["auc"]["mean"] == mean["auc"] and run["metrics"]["auc"]["sd"] == 0.25
    bounds = run["metrics"]["auc"]["low"], run["metrics"]["auc"]["high"]
    assert bounds == interval(resampled(videos[:2])["auc"]) != interval(resampled(videos)["auc"])
    assert run["metrics"]["ap"]["mean"] is None, "an older lad did not write it"
    assert "± 0.2500" in lad("compare", str(work))[1]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"auc": NaN, "splits": 3, "sd": [], "protocol": []}', "[" * 10**5])
def test_any_metrics_json_is_answered_in_lines(lad: Lad, tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    status, _, err = lad("compare", str(tmp_path))
    assert len(err.splitlines()) == 1
    assert (status == 2 and "not as lad made it" in err) or (status == 0 and "no interval" in err)


def test_a_folder_that_is_no_run_is_a_mistake_in_one_line(lad: Lad, tmp_path):
    status, out, err = lad("compare", str(tmp_path))
    assert (status, out) == (2, "") and err == (
        f"error: {tmp_path}: no metrics.json: name a work directory in which `lad evaluate` was done\n"
    )


def test_names_are_shown_as_they_are_in_every_format():
    name = "=a|b_c*&%\\"
    assert csv_table(["run"], [[name]]) == f"run\n'{name}\n"
    assert markdown_table(["run", "n"], [[name, "1"]]).splitlines()[-1] == r"| =a\|b\_c\*&%\\ | 1 |"
    assert r"=a|b\_c*\&\%\textbackslash{} & $-$1 \\" in latex_table(["run", "n"], [[name, "-1"]])
