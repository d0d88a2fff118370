"""What a review comes to: `lad review --next`, and `lad run` after verdicts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.videos import write_video

from lad.dataset import read_dataset
from lad.detector.checkpoint import load_checkpoint
from lad.work.verdicts import HEADER, Verdict, append

pytestmark = pytest.mark.slow

CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb], batch_clips: 2}
train:
  window: 2
  hidden: 8
  abnormal_windows: 2
  normal_windows: 2
  selection: cross-validation
  folds: 2
  steps: 4
  evaluate_every: 2
device: cpu
workers: 1
threads: 1
"""
ROWS = {"a": "train", "b": "train", "c": "train", "d": "train", "e": "test", "f": "test", "g": ""}
UNLISTED = "h"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Seven videos, a whole run over them, and one more that was scored by name."""
    data = tmp_path_factory.mktemp("review") / "data"
    lines = ["video,path,split,label,events"]
    for number, name in enumerate([*ROWS, UNLISTED]):
        write_video(data / f"{name}.mp4", 64 + 8 * number)
        if split := ROWS.get(name):
            lines.append(f"{name},{name}.mp4,{split},run,{'5-40' if number % 2 else ''}")
        elif name in ROWS:
            lines.append(f"{name},{name}.mp4,,,")
    (data / "dataset.csv").write_text("\n".join(lines) + "\n")
    (data / "small.yaml").write_text(CONFIG)
    work = data.with_name("work")
    for words in (["run"], ["score", str(data / f"{UNLISTED}.mp4")], ["run"]):
        command = [sys.executable, "-m", "lad", *words, "-q", *options(data, work)]
        subprocess.run(command, check=True, timeout=300, capture_output=True)
    return data, work


@pytest.fixture
def data(made: tuple[Path, Path]) -> Path:
    return made[0]


@pytest.fixture
def work(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[1], tmp_path / "work", symlinks=True))


def options(data: Path, work: Path) -> list[str]:
    return ["-c", str(data / "small.yaml"), "--data", str(data), "--work", str(work)]


def say(work: Path, *verdicts: Verdict) -> None:
    append(work / "labels.csv", verdicts)


def test_without_verdicts_nothing_is_done_again_and_nothing_is_said(lad, data, work):
    status, out, err = lad("run", *options(data, work))
    assert status == 0 and "train: nothing to do" in out and "labels.csv" not in out + err
    assert "verdicts" not in json.loads((work / "metrics.json").read_text())["protocol"]


def test_a_run_after_verdicts_trains_and_says_what_changed_held_out(lad, data, work):
    table = (work / "dataset.csv").read_bytes()
    say(work, Verdict("a", "event", 0, 32, "run"), Verdict("b", "normal", 5, 40), Verdict("d", "normal", 20, 40))
    status, out, err = lad("run", *options(data, work))
    assert status == 0
    assert "labels.csv: 3 verdicts on 3 videos" in err
    assert "train: 1 done" in out and "score: 7 done" in out
    assert "reviewed videos, held out: AUC 0." in out and "(3 verdicts on 3 videos)" in out
    assert (work / "dataset.csv").read_bytes() == table
    status, again, _ = lad("run", *options(data, work))
    assert status == 0 and "train: nothing to do" in again
    line = next(line for line in out.splitlines() if line.startswith("reviewed"))
    assert line in again.splitlines()
    told = json.loads((lad("run", *options(data, work), "--json"))[1])["reviewed"]
    assert told["said"] == line and told["videos"] == 3 and 0 <= told["before"] <= 1
    assert "train: as it would be made now" in lad("status", *options(data, work))[1]


def test_events_drawn_in_all_weak_videos_make_them_teach_frames(lad, data, work):
    (data / "weak.csv").write_text((data / "dataset.csv").read_text().replace("train,run,5-40", "train,run,?"))
    words = [*options(data, work), "-o", "data.dataset=weak.csv", "-o", "train.detector=linear"]
    say(work, Verdict("b", "event", 5, 40, "run"), Verdict("a", "normal", 0, 32))
    status, out, err = lad("run", *words)
    assert status == 0 and "labels of whole videos (train.supervision videos); of 1 of them more is known" in err
    assert "reviewed videos, held out: " in out and "(2 verdicts on 2 videos)" in out
    say(work, Verdict("d", "event", 5, 40, "run"))
    status, out, err = lad("run", *words)
    assert status == 0 and "labels of frames (train.supervision frames)" in err
    assert "reviewed videos, held out: " in out and "(3 verdicts on 3 videos)" in out


def test_verdicts_on_test_videos_teach_nothing_and_correct_what_is_measured(lad, data, work):
    before = json.loads((work / "metrics.json").read_text())
    say(work, Verdict("e", "event", 10, 20, "run"))
    status, out, err = lad("run", *options(data, work))
    assert status == 0 and "train: nothing to do" in out and "score: nothing to do" in out
    assert "1 verdict on 1 video of the split test: they teach nothing, and correct what is measured" in err
    after = json.loads((work / "metrics.json").read_text())
    assert after["anomalous_frames"] == before["anomalous_frames"] + 10
    assert after["protocol"]["verdicts"] == {"test": {"verdicts": 1, "videos": 1}}
    assert "reviewed" not in out
    assert lad("compare", str(work))[0] == 0, "it reads the same labels"
    lad("report", "-q", "--work", str(work), "--videos", "none")
    run = (work / "report" / "data" / "run.js").read_text()
    shown = json.loads(run[run.index("{") : run.rindex("}") + 1])
    assert shown["truth"][shown["videos"]["id"].index("e")] == [[10, 20]]


def test_a_category_that_only_verdicts_know_or_that_they_take_away_is_one(lad, data, work):
    say(work, *(Verdict(name, "event", 0, 60, "jump") for name in "abcdef"))
    status, out, err = lad("run", *options(data, work))
    assert status == 0 and "reviewed videos, held out: " in out, out + err


def test_a_verdict_names_a_category_of_a_video_whose_events_are_in_seconds(lad, data, work, tmp_path):
    timed = Path(shutil.copytree(data, tmp_path / "timed"))
    table = (timed / "dataset.csv").read_text()
    (timed / "dataset.csv").write_text(table.replace("5-40", "0:00.2-0:01.2"))
    say(work, Verdict("b", "event", 0, 60, "slip"))
    status, _, err = lad("train", *options(timed, work))
    assert status == 0, err
    assert load_checkpoint(work / "checkpoints" / "best.pt").classes == ["run", "slip"]


def test_videos_that_were_only_scored_train_on_what_was_reviewed(lad, data, work):
    say(work, Verdict(UNLISTED, "normal", 0, 32), Verdict("g", "event", 0, 32, "jump"))
    status, out, err = lad("run", *options(data, work))
    assert status == 0 and "labels.csv: 2 verdicts on 2 videos" in err
    assert "jump 1 abnormal, run 2 abnormal + 2 normal, without a label 1 normal" in err
    assert "trained on 6 videos" in out
    assert {video.id for video in read_dataset(work / "dataset.csv")} == set(ROWS)


def test_a_detector_is_trained_on_reviewed_videos_alone(lad, data, work, tmp_path):
    alone = ["--work", str(tmp_path / "alone")]
    theirs = str(shutil.copy(work / "checkpoints" / "best.pt", tmp_path / "theirs.pt"))
    videos = (str(data / f"{n}.mp4") for n in "abcd")  # each is its own source
    knows = ("-o", "train.adapt=source")  # as the detector that comes with `lad` was trained
    status, out, _ = lad("score", *alone, "--checkpoint", theirs, *knows, *videos, "--json")
    assert status == 0
    status, _, err = lad("run", *alone)
    assert status == 2 and "no videos but those that were scored here" in err and "lad review --work" in err
    for name in json.loads(out)["scores"]:
        say(tmp_path / "alone", Verdict(name, "event", 0, 16, "run"), Verdict(name, "normal", 16, 32))
    status, out, err = lad("run", *alone)
    assert status == 0 and "evaluate: left out, no video is in the split `test`" in err
    assert "trained on 4 videos" in out and "score: 4 done" in out
    assert "nobody can tell what changed (8 verdicts on 4 videos): without the verdicts there is nothing to" in out


def test_an_undone_verdict_leaves_the_run_as_it_was(lad, data, work):
    verdict = Verdict("a", "event", 0, 32, "run")
    say(work, verdict, Verdict("a", "undo", replaces=verdict.number))
    status, out, err = lad("run", *options(data, work))
    assert status == 0 and "train: nothing to do" in out and "labels.csv" not in err


def test_verdicts_on_unknown_videos_are_said(lad, data, work):
    say(work, Verdict("gone", "normal", 0, 10))
    status, out, err = lad("run", *options(data, work))
    assert status == 0 and "train: nothing to do" in out
    assert "warning: labels.csv: not used: 1 verdict on 1 video (gone, ...), neither" in err


def test_what_cannot_be_told_is_said(lad, data, work):
    say(work, Verdict("a", "event", 0, 32, "run"))
    _, out, _ = lad("run", *options(data, work))
    assert "nobody can tell what changed (1 verdict on 1 video): they are of one source" in out


def test_a_damaged_labels_csv_is_one_line(lad, data, work):
    (work / "labels.csv").write_text(HEADER + "garbage\n")
    status, _, err = lad("train", *options(data, work))
    assert status == 2
    assert err.strip().splitlines()[-1].endswith("labels.csv:2: not a verdict: 'garbage': mend or remove the line")


def test_next_names_moments_that_nobody_labelled_and_that_can_teach(lad, data, work):
    status, out, _ = lad("review", "--work", str(work), "--next", "3", "--json")
    moments = json.loads(out)["next"]
    assert status == 0 and {one["video"] for one in moments} <= {"g", UNLISTED} and len(moments) == 3
    assert all(0 <= one["start"] < one["end"] and one["path"].endswith(".mp4") for one in moments)
    for name in ("g", UNLISTED):
        say(work, Verdict(name, "normal", 0, 200))
    status, out, _ = lad("review", "--work", str(work), "--next")
    assert status == 0 and out.startswith("nothing to look at")


def test_next_orders_moments_where_nobody_labelled_anything(lad, data, work, tmp_path):
    alone = tmp_path / "alone"
    checkpoint = ["--checkpoint", str(work / "checkpoints" / "best.pt")]
    assert lad("score", "-q", "-o", "device=cpu", *checkpoint, "--work", str(alone), str(data / "g.mp4"))[0] == 0
    status, out, _ = lad("review", "--work", str(alone), "--next", "2", "--json")
    moments = json.loads(out)["next"]
    assert status == 0 and len(moments) == 2 and moments[0]["start"] != moments[1]["start"]


def test_next_says_where_nothing_was_scored(lad, tmp_path):
    status, _, err = lad("review", "--work", str(tmp_path), "--next")
    assert status == 2 and "nothing was done here yet" in err
