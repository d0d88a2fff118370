"""`lad status`: what was interrupted, what is stale and why. Errors with `--json`. The log of whole commands."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.videos import write_video

from lad import progress
from lad.files import write_text
from lad.ours import CONFIG as RESOLVED
from lad.pipeline import pace
from lad.pipeline import train as train_module
from lad.work.manifest import open_manifest

Lad = Callable[..., tuple[int, str, str]]
CONFIG = """
data: {dataset: dataset.csv}
extract: {backbone: tiny, streams: [rgb]}
train: {window: 2, hidden: 4, abnormal_windows: 1, normal_windows: 1, steps: 2, evaluate_every: 2}
workers: 1
threads: 1
"""
ROWS = ["video,path,split,label,events", "0,0.mp4,train,run,4-30", "1,1.mp4,val,run,8-20", "2,2.mp4,test,run,2-19"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three videos, and the work directory of a whole run over them; copy it before changing anything."""
    data = tmp_path_factory.mktemp("status") / "data"
    for number in range(3):
        write_video(data / f"{number}.mp4", 33 + 8 * number)
    write_text(data / "dataset.csv", "\n".join(ROWS) + "\n")
    write_text(data / "small.yaml", CONFIG)
    work = data.with_name("work")
    words = [sys.executable, "-m", "lad", "run", "-q", *options(data, work)]
    subprocess.run(words, check=True, timeout=300, capture_output=True)
    return data, work


@pytest.fixture
def data(made: tuple[Path, Path]) -> Path:
    return made[0]


@pytest.fixture
def work(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[1], tmp_path / "work", symlinks=True))


def options(data: Path, work: Path) -> list[str]:
    return ["-c", str(data / "small.yaml"), "--data", str(data), "--work", str(work)]


def compared(lad: Lad, data: Path, work: Path, *more: str) -> dict[str, dict[str, int]]:
    """Stage -> why -> how many are stale."""
    status, out, err = lad("status", *options(data, work), "--json", *more)
    assert status == 0, err
    return {stage: one["why"] for stage, one in json.loads(out)["compared"]["stages"].items()}


# What is stale, and why -----------------------------------------------------------------------------------------------


def test_nothing_is_stale_by_the_configuration_that_made_it(lad: Lad, data: Path, work: Path) -> None:
    assert compared(lad, data, work) == {"extract": {}, "train": {}, "score": {}, "evaluate": {}}
    _, out, _ = lad("status", *options(data, work))
    assert out.splitlines()[-4:] == [
        "  extract: 3 of 3 as it would be made now",
        "  train: as it would be made now",
        "  score: 3 of 3 as it would be made now",
        "  evaluate: as it would be made now",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "extract.fps=10",
            [
                {"extract.fps null -> 10.0": 3},
                {"its features are stale": 1},
                {"its features are stale": 3},
                {"its scores are stale": 1},
            ],
        ),
        ("train.steps=4", [{}, {"train.steps 2 -> 4": 1}, {"its detector is stale": 3}, {"its scores are stale": 1}]),
        ("score.threshold=0.3", [{}, {}, {"score.threshold null -> 0.3": 3}, {"its scores are stale": 1}]),
        ("protocol.seed=5", [{}, {}, {}, {"protocol.seed 0 -> 5": 1}]),
    ],
)
def test_a_changed_key_is_named_and_what_follows_from_it(
    change: str, expected: list[dict[str, int]], lad: Lad, data: Path, work: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    found = compared(lad, data, work, "-o", change)
    assert found == dict(zip(("extract", "train", "score", "evaluate"), expected, strict=True))
    after = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before, "to look at it changes nothing"


@pytest.mark.slow
def test_what_status_calls_stale_is_what_a_run_does_again(lad: Lad, data: Path, work: Path) -> None:
    for change in ("score.threshold=0.3", "train.steps=4"):
        found = compared(lad, data, work, "-o", change)
        stale = {stage: sum(why.values()) for stage, why in found.items()}
        status, out, err = lad("run", *options(data, work), "-o", change, "-q", "--json")
        assert status == 0, err
        assert {stage: one["done"] for stage, one in json.loads(out)["stages"].items()} == stale
        assert not any(compared(lad, data, work, "-o", change).values())


def test_an_older_stage_s_code_is_named(lad: Lad, data: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = train_module.CODE_VERSION
    monkeypatch.setattr(train_module, "CODE_VERSION", today + 1)
    _, out, _ = lad("status", *options(data, work))
    assert f"train: stale: made with train code {today}, today's is {today + 1}" in out


def test_a_video_that_looks_changed_is_told_and_not_read(lad: Lad, data: Path, work: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(data, tmp_path / "other"))
    (other / "1.mp4").touch()
    lad("run", *options(other, work), "-q")
    (other / "1.mp4").touch()
    (why,) = compared(lad, other, work)["extract"]
    assert "the next run hashes the file" in why


def test_other_labels_make_the_detector_stale(lad: Lad, data: Path, work: Path, tmp_path: Path) -> None:
    other = tmp_path / "labels.csv"
    write_text(other, "\n".join(ROWS).replace("4-30", "4-20") + "\n")
    found = compared(lad, data, work, "-o", f"data.dataset={other}")
    assert found["extract"] == {} and found["train"] == {"other videos, labels or features": 1}


def test_of_an_older_lad_s_results_the_likeliest_reason_is_told(lad: Lad, data: Path, work: Path) -> None:
    with open_manifest(work) as manifest:
        manifest._db.execute("UPDATE items SET info = json_remove(info, '$.facts')")
    assert not any(compared(lad, data, work).values()), "they are current all the same"
    (why,) = compared(lad, data, work, "-o", "extract.fps=10")["extract"]
    assert why.startswith("made by an older lad, which did not keep why")
    assert why.endswith("likely the last command here had another extract.fps null -> 10.0")
    (work / RESOLVED).unlink()
    (why,) = compared(lad, data, work, "-o", "extract.fps=10")["extract"]
    assert why.endswith("likely its code or weights changed")
    with open_manifest(work) as manifest:
        manifest._db.execute("DELETE FROM contents")
    (why,) = compared(lad, data, work, "-o", "extract.fps=10")["extract"]
    assert "the next run hashes the file" in why, "nobody can say of what is not hashed"


def test_without_data_those_of_the_last_command_are_compared(lad: Lad, data: Path, work: Path) -> None:
    status, out, _ = lad("status", "-c", str(data / "small.yaml"), "--work", str(work))
    assert status == 0 and "extract: 3 of 3 as it would be made now" in out


def test_what_cannot_be_compared_is_said_and_the_rest_told(lad: Lad, data: Path, work: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    status, out, _ = lad("status", "-c", str(data / "small.yaml"), "--data", str(empty), "--work", str(work))
    assert status == 0 and "not compared with" in out and f"no file {empty / 'dataset.csv'}" in out
    assert "extract" in out


def test_given_features_are_compared_too(lad: Lad, data: Path, made: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [row.replace(".mp4", ".npy") for row in ROWS]
    given = Path(shutil.copytree(made[1] / "features" / "rgb", tmp_path / "given"))
    write_text(given / "dataset.csv", "\n".join(rows) + "\n")
    work = tmp_path / "of_given"
    words = ["-c", str(data / "small.yaml"), "--data", str(given), "--work", str(work)]
    assert lad("train", *words, "-q")[0] == 0

    def why(*more: str) -> list[dict[str, int]]:
        stages = json.loads(lad("status", *words, "--json", *more)[1])["compared"]["stages"]
        return [stages[stage]["why"] for stage in ("extract", "train")]

    assert why() == [{}, {}]
    assert why("-o", "data.frame_folder_fps=5") == [
        {"data.frame_folder_fps 25.0 -> 5.0": 2},  # training needs no test video
        {"its features are stale": 1},
    ]


# What was interrupted -------------------------------------------------------------------------------------------------

STALLED = """
import sys, time
from lad.pipeline.extract import _Extraction
def stall(*_):
    print("in the middle", flush=True)
    time.sleep(600)
_Extraction._save = stall
from lad.__main__ import main
main()
"""


@pytest.mark.slow
def test_what_is_running_is_told_and_after_a_kill_what_was(lad: Lad, data: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    words = [sys.executable, "-c", STALLED, "extract", *options(data, work)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"in the middle\n"
        status, out, _ = lad("status", "--work", str(work))
        assert status == 0 and f"at work now: process {process.pid} on " in out
        assert "running: extract rgb/0, begun 20" in out and "interrupted: " not in out
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    for _ in range(2):  # it writes nothing
        status, out, _ = lad("status", "--work", str(work))
        assert status == 0 and "at work now" not in out
        assert "interrupted: extract rgb/0, begun 20" in out
        assert out.splitlines()[-1] == "the next run resumes from there"
    data_now = json.loads(lad("status", "--work", str(work), "--json")[1])
    assert data_now["stages"]["extract"]["interrupted"] == len(data_now["interrupted"]) == 1
    log = (work / "lad.log").read_text()
    assert "begins: " in log and "ends: " not in log
    assert lad("extract", *options(data, work))[0] == 0
    assert "interrupted: " not in lad("status", "--work", str(work))[1]


def test_a_rebuild_that_succeeds_ends_with_0(lad: Lad, data: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(data, tmp_path / "broken"))
    (broken / "1.mp4").write_bytes(b"no video")
    work = tmp_path / "work"
    assert lad("extract", *options(broken, work))[0] == 1
    assert lad("status", "--work", str(work))[0] == 1
    status, out, _ = lad("status", "--work", str(work), "--rebuild")
    assert status == 0 and "1 failures kept" in out and "1.mp4" in out


# --json ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--json"], "give -c CONFIG"),
        (["extract", "--json", "-o", "extract.fpx=3", "x.mp4"], "unknown key 'extract.fpx'"),
        (["run", "--json", "--no-such-option"], "No such option"),
        (["runn", "--json"], "no command 'runn'"),
        (["status", "--json", "--work", "nowhere"], "nowhere: nothing was done here yet"),
    ],
)
def test_with_json_errors_are_json(
    words: list[str], said: str, lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = lad(*words)
    told = json.loads(out)
    assert (status, set(told), told["status"]) == (2, {"error", "status"}, 2)
    assert said in told["error"] and said in err
    without = [word for word in words if word != "--json"]
    assert lad(*without)[1] == ""
    assert lad(*without, "--", "--json")[1] == "", "after -- it is a video"


# lad.log and progress of whole commands -------------------------------------------------------------------------------


def test_a_command_s_log_has_all_that_it_said(
    lad: Lad, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.02)
    broken = Path(shutil.copytree(data, tmp_path / "broken"))
    (broken / "1.mp4").write_bytes(b"no video")
    work = tmp_path / "work"
    status, out, err = lad("extract", *options(broken, work))
    assert status == 1
    log = [line.partition(" ")[2] for line in (work / "lad.log").read_text().splitlines()]
    assert log[0].startswith(f"begins: lad extract -c {broken / 'small.yaml'} ")
    assert log[-1] == "ends: exit status 1"
    for line in [*err.splitlines(), *out.splitlines()]:
        reason = line.strip()
        assert any(reason in one for one in log) or reason.endswith(("video failed:", "features")), line
    assert any(line.startswith("extract: 0 of 3 videos (") for line in err.splitlines())
    assert any(line.startswith("not done: ") and "1.mp4" in line for line in log)


def test_progress_is_told_inside_a_long_video(lad: Lad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.02)
    monkeypatch.setattr(progress, "SETTLED_SECONDS", 0.0)
    monkeypatch.setattr(pace, "SETTLED_SECONDS", 0.0)
    video = write_video(tmp_path / "long.mp4", 640)
    small = ("-o", "extract.backbone=tiny", "-o", "extract.batch_clips=1", "-o", "workers=1")
    status, _, err = lad("extract", *small, "--work", str(tmp_path / "work"), str(video))
    assert status == 0
    found = re.findall(r"^extract: 0 of 1 videos \((\d+) %\).* left: .*, frame (\d+) of 640$", err, re.MULTILINE)
    percents = [int(percent) for percent, _ in found]
    assert len(set(percents)) > 2 and percents == sorted(percents)
    assert all(abs(int(frame) / 6.4 - int(percent)) <= 3 for percent, frame in found)
    assert "x real time / " in err


def test_quiet_says_no_progress_and_the_log_does(
    lad: Lad, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.02)
    assert lad("extract", *options(data, tmp_path / "work"), "-q")[2] == ""
    assert "extract: 0 of 3 videos (" in (tmp_path / "work" / "lad.log").read_text()


def test_who_is_refused_writes_no_log(lad: Lad, data: Path, work: Path) -> None:
    before = (work / "lad.log").read_bytes()
    with open_manifest(work):
        assert lad("extract", *options(data, work))[0] == 2
    lad("status", *options(data, work))
    assert (work / "lad.log").read_bytes() == before
