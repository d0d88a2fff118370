"""The state of a work directory: damaged, lost, locked, shared, of another version, interrupted. Never a wrong read."""

from __future__ import annotations

import csv
import errno
import json
import math
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_disk import assert_whole, errors, lad, make_data, options

from lad import __version__
from lad.detector.checkpoint import FORMAT
from lad.detector.validation import Evaluation, Validation
from lad.models import weights
from lad.work import database as database_module
from lad.work.lock import holder
from lad.work.manifest import ManifestError, open_manifest, read_manifest
from lad.work.rebuild import rebuild_manifest

pytestmark = pytest.mark.slow

ITEMS = 4 + 1 + 4 + 1  # extract, train, score, evaluate


@pytest.fixture(scope="session")
def data(tmp_path_factory, make_video) -> Path:
    return make_data(tmp_path_factory.mktemp("state"), make_video)


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory) -> Path:
    """The work directory of a run that nothing happened to; copied, so that the journal is all there is to its past."""
    work = tmp_path_factory.mktemp("finished") / "work"
    status, _, err = lad("run", *options(data, work))
    assert status == 0, err
    return work


@pytest.fixture
def work(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "work"))


def database(work: Path) -> Path:
    return work / "manifest.sqlite"


def assert_nothing_is_done(data: Path, work: Path) -> None:
    status, out, err = lad("run", *options(data, work))
    assert status == 0, err
    assert out.count("nothing to do") == 4, out


# A damaged manifest and the way back ----------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(start: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = bytearray(path.read_bytes())
        first = int(len(content) * start) // 4096 * 4096
        content[first : first + 4096] = b"\xa5" * 4096
        path.write_bytes(content)

    return write


def overwrite_text(path: Path) -> None:
    """Where SQLite has no means to see it."""
    content = path.read_bytes()
    assert b'[{"path": "' in content
    path.write_bytes(content.replace(b'[{"path": "', b'[{"path"; "'))


DAMAGE = {
    "cut": cut,
    "first page": overwrite(0),
    "a page in the middle": overwrite(0.4),
    "a page at the end": overwrite(0.99),
    "a row's text": overwrite_text,
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_manifest_is_named_with_the_way_back_and_nothing_is_done_twice(how, data, finished, work):
    DAMAGE[how](database(work))
    left = database(work).read_bytes() if how != "gone" else b""
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.npy")}
    status, out, err = lad("run", *options(data, work))
    (line,) = errors(err)
    assert status == 2 and out == ""
    assert str(database(work)) in line and f"`lad status --rebuild --work {work}`" in line
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.npy")} == before

    status, out, _ = lad("status", "--rebuild", "-c", str(data / "small.yaml"), "--work", str(work))
    assert status == 0 and f"{ITEMS} items verified, 0 dropped" in out
    assert_nothing_is_done(data, work)
    assert_whole(work, finished)
    if how not in ("gone", "empty"):
        assert database(work).with_name("manifest.sqlite.damaged-1").read_bytes() == left, "kept as it was"


def test_a_lost_wal_is_noticed_and_mended(tmp_path):
    """SQLite itself takes the database without its -wal for whole, and forgets what was done."""
    code = (
        "import os, pathlib, sys; from lad.work.manifest import open_manifest\n"
        "work = pathlib.Path(sys.argv[1])\n"
        "with open_manifest(work) as m:\n"
        "    for name in ('a', 'b'):\n"
        "        m.start('extract', name, 'today'); (work / name).write_text(name)\n"
        "        m.finish('extract', name, [work / name], {})\n"
        "    os.kill(os.getpid(), 9)"
    )
    with open_manifest(tmp_path):
        pass
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    database(tmp_path).with_name("manifest.sqlite-wal").unlink()
    with pytest.raises(ManifestError, match=r"it lacks extract b, .*-wal removed.*status --rebuild"):
        open_manifest(tmp_path).__enter__()
    assert rebuild_manifest(tmp_path).verified == 2
    with open_manifest(tmp_path) as manifest:
        assert all(manifest.is_done(manifest.get("extract", name), "today", verify=True) for name in ("a", "b"))


def test_only_what_is_on_disk_as_it_was_written_is_taken_over(data, finished, work):
    (work / "features/rgb/v/1.npy").unlink()
    changed = work / "scores/v/2.csv"
    changed.write_bytes(changed.read_bytes().replace(b"0", b"1", 1))  # the same size
    cut(database(work))
    status, out, _ = lad("status", "--rebuild", "--json", "--work", str(work))
    rebuilt = json.loads(out)["rebuilt"]
    assert status == 0
    assert (rebuilt["verified"], rebuilt["dropped"]) == (ITEMS - 2, ["extract rgb/v/1", "score v/2"])
    status, out, _ = lad("run", *options(data, work))
    assert status == 0
    assert "extract: 1 done, 3 done before" in out and "score: 1 done, 3 done before" in out
    assert "train: nothing to do" in out
    assert_whole(work, finished)


def test_failures_are_taken_over_so_that_they_are_not_tried_again(data, tmp_path):
    root = Path(shutil.copytree(data, tmp_path / "data"))
    (root / "1.mp4").write_bytes(b"")
    call = [*options(root, tmp_path / "work")]
    assert lad("extract", *call)[0] == 1
    cut(database(tmp_path / "work"))
    status, out, _ = lad("status", "--rebuild", "--work", str(tmp_path / "work"))
    assert status == 0 and "3 items verified, 0 dropped, 1 failures kept" in out
    status, out, _ = lad("extract", *call)
    assert status == 1 and "0 done, 3 done before, 1 failed" in out


def test_a_torn_last_line_and_a_damaged_one_cost_only_their_items(data, finished, work):
    journal = work / "manifest.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = b"\xff" + lines[2][1:]
    lines[-1] = lines[-1][:50]
    journal.write_bytes(b"".join(lines))
    cut(database(work))
    status, out, _ = lad("status", "--rebuild", "--work", str(work))
    assert status == 0 and f"{ITEMS - 2} items verified, 0 dropped, 2 unreadable lines" in out
    assert lad("run", *options(data, work))[0] == 0
    assert_whole(work, finished)


def test_lines_of_a_journal_that_are_no_journal_s_cost_only_their_items(data, finished, work):
    journal = work / "manifest.jsonl"
    lines = journal.read_text().splitlines()
    odd = json.loads(lines[1])
    odd["outputs"][0]["path"] = "a\0b"
    journal.write_text("\n".join([lines[0], json.dumps(odd), *lines[2:], "[" * 100_000]) + "\n")
    rebuilt = rebuild_manifest(work)
    assert (rebuilt.unreadable, len(rebuilt.dropped)) == (1, 1)
    assert rebuilt.dropped == [f"{odd['stage']} {odd['item']}"]


def test_a_work_directory_without_a_journal_gets_one_or_says_that_nothing_can_be_rebuilt(data, work):
    (work / "manifest.jsonl").unlink()
    assert_nothing_is_done(data, work)
    assert rebuild_manifest(work).verified == ITEMS, "it was written from the manifest"
    (work / "manifest.jsonl").unlink()
    cut(database(work))
    status, _, err = lad("status", "--rebuild", "--work", str(work))
    (line,) = errors(err)
    assert status == 2 and "nothing to rebuild from" in line and "Move manifest.sqlite away" in line
    database(work).unlink()
    status, out, _ = lad("run", *options(data, work))
    assert status == 0 and "extract: 4 done" in out, "what it advises works"


def test_a_rebuild_is_refused_where_another_lad_works_and_where_nothing_was_done(tmp_path):
    with open_manifest(tmp_path), pytest.raises(ManifestError, match="another lad works here"):
        rebuild_manifest(tmp_path)
    with pytest.raises(ManifestError, match="nothing was done here"):
        rebuild_manifest(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_journal_says_only_what_is_committed_and_does_not_grow_for_ever(tmp_path):
    journal = tmp_path / "manifest.jsonl"
    with open_manifest(tmp_path) as manifest:
        for _ in range(300):
            manifest.start("extract", "a", "today")
            manifest.fail("extract", "a", "io", "no")
        with pytest.raises(ZeroDivisionError), manifest.transaction():
            manifest.start("extract", "b", "today")
            manifest.fail("extract", "b", "io", "no")
            raise ZeroDivisionError
    text = journal.read_text()
    assert text.count("\n") == 301 and '"b"' not in text
    with open_manifest(tmp_path):
        assert journal.read_text().count("\n") == 2, "one line an item"


def test_an_item_that_the_journal_could_not_take_is_in_it_after_the_next_opening(tmp_path):
    with open_manifest(tmp_path) as manifest:
        for _ in range(3):  # more lines than rows, so that their number tells nothing
            manifest.start("extract", "a", "today")
            manifest.fail("extract", "a", "io", "no")
        full = SimpleNamespace(write=full_disk, fileno=manifest._journal._file.fileno)
        full.truncate = manifest._journal._file.truncate
        opened, manifest._journal._file = manifest._journal._file, full
        manifest.start("extract", "b", "today")
        with pytest.raises(OSError, match="No space left"):
            manifest.fail("extract", "b", "io", "no")
        manifest._journal._file = opened
    with open_manifest(tmp_path):
        pass
    assert rebuild_manifest(tmp_path).failures == 2


def full_disk(data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("opener", [open_manifest, read_manifest])
def test_a_manifest_that_another_program_has_locked_is_named(opener, work, monkeypatch):
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    other = sqlite3.connect(database(work), isolation_level=None)
    other.execute("PRAGMA journal_mode = DELETE")  # in WAL mode looking at it is still possible
    other.execute("BEGIN EXCLUSIVE")
    said = r"manifest\.sqlite: another program has it open .*close that and try again"
    try:
        with pytest.raises(ManifestError, match=said), opener(work) as manifest:
            manifest.items()
    finally:
        other.close()
    with opener(work) as manifest:
        assert len(manifest.items()) == ITEMS


# Old and new state ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("PRAGMA user_version = 0", "made by another lad: its format is 0, this lad reads 2: use another --work"),
        ("PRAGMA user_version = 3", "made by a newer lad: its format is 3"),
        ("PRAGMA user_version = 99", "made by a newer lad: its format is 99"),
        ("DROP TABLE items", "its table items is not as lad makes it"),
        ("DROP TABLE contents", "its table contents is not as lad makes it"),
        ("DROP TABLE files", "its table files is not as lad makes it"),
        ("ALTER TABLE items DROP COLUMN info", "its table items is not as lad makes it"),
        ("ALTER TABLE items ADD COLUMN more", "its table items is not as lad makes it"),
    ],
)
def test_a_manifest_of_another_lad_is_refused_and_left_as_it_is(change, said, data, work):
    with sqlite3.connect(database(work)) as connection:
        connection.execute(change)
    connection.close()
    before = database(work).read_bytes()
    for words in (["run", *options(data, work)], ["status", "--work", str(work)]):
        status, _, err = lad(*words)
        (line,) = errors(err)
        assert status == 2 and str(database(work)) in line and said in line
    assert database(work).read_bytes() == before


def test_a_journal_of_another_format_is_refused(data, work):
    journal = work / "manifest.jsonl"
    journal.write_text(journal.read_text().replace('{"format": 2}', '{"format": 7}'))
    for words in (["run", *options(data, work)], ["status", "--rebuild", "--work", str(work)]):
        status, _, err = lad(*words)
        (line,) = errors(err)
        assert status == 2 and f"{journal}: made by a newer lad: its format is 7" in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 1}, f"its format is 1, lad {__version__} reads {FORMAT}"),
        ({"format": 99}, f"its format is 99, lad {__version__} reads {FORMAT}: a newer lad wrote it"),
        ({"more": 1}, f"not as lad writes format {FORMAT}: more"),
        ({"threshold": None, "history": None}, f"not as lad writes format {FORMAT}: history, threshold"),
        ({"calibration": {"steepness": 1.0}}, "it cannot be used"),
        ({"calibration": {"slope": math.nan, "offset": 0.0}}, "it cannot be used: its calibration or its threshold"),
        ({"threshold": "high"}, "it cannot be used"),
        ({"classes": ["one"]}, "it cannot be used: it has 1 names for 2 categories"),
        ({"classes": ["one", "one"]}, "it cannot be used: it has 1 names for 2 categories"),
        ({"classes": ["one", {}]}, "it cannot be used: its classes are no list of names"),
        ({"weights": {"rgb": 1}}, "it cannot be used: it names the weights of its features wrongly"),
        ({"config": "none"}, "not a checkpoint: it does not say how it was made"),
    ],
)
def test_a_checkpoint_of_another_lad_is_refused(change, said, data, finished, tmp_path):
    content = torch.load(finished / "checkpoints/best.pt", weights_only=True)
    content = {key: value for key, value in {**content, **change}.items() if value is not None or key not in change}
    torch.save(content, tmp_path / "other.pt")
    call = ["--checkpoint", str(tmp_path / "other.pt"), "--work", str(tmp_path / "work"), str(data / "0.mp4")]
    status, _, err = lad("score", *call)
    (line,) = errors(err)
    assert status == 2 and f"{tmp_path / 'other.pt'}: {said}" in line


def test_a_checkpoint_from_before_calibration_scores_as_it_did(data, finished, tmp_path):
    content = torch.load(finished / "checkpoints/best.pt", weights_only=True)
    plain = {**content, "calibration": {"slope": 1.0, "offset": 0.0}}
    older = {**{key: value for key, value in plain.items() if key != "calibration"}, "format": 2}
    for name, saved in (("plain", plain), ("older", older)):
        torch.save(saved, tmp_path / f"{name}.pt")
        call = ["--checkpoint", str(tmp_path / f"{name}.pt"), "--work", str(tmp_path / name), str(data / "0.mp4")]
        assert lad("score", *call)[0] == 0
    plain_scores, older_scores = (next((tmp_path / name / "scores").glob("0*.csv")) for name in ("plain", "older"))
    assert older_scores.read_bytes() == plain_scores.read_bytes()


def test_a_row_of_training_by_an_older_lad_is_stale_not_a_traceback(data, finished, work):
    with sqlite3.connect(database(work)) as connection:
        connection.execute("UPDATE items SET info = '{}', fingerprint = 'older' WHERE stage = 'train'")
    connection.close()
    status, _, err = lad("evaluate", *options(data, work))
    assert status == 2 and "run `lad train` first" in errors(err)[0]
    status, out, _ = lad("run", *options(data, work))
    assert status == 0 and "train: 1 done" in out
    assert_whole(work, finished)


@pytest.mark.parametrize("content", ["{}", "[]", "", "3", '{"fingerprint": "older", "history": []}'])
def test_a_validation_curve_of_an_older_lad_is_made_again(content, tmp_path):
    from lad.pipeline.train import _Training

    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "curve.json").write_text(content)
    history = [Evaluation(step=1, loss=0.5, validation=Validation(0.75, None, 0.25, None, None, 0.125))]
    stub = SimpleNamespace(
        work=SimpleNamespace(checkpoints=tmp_path),
        today="today",
        config=SimpleNamespace(folds=2, steps=1),
        _fit=lambda *_, **__: history,
    )
    assert _Training._fold_curve(stub, 0, 2, [], []) == history  # type: ignore[arg-type]
    stub._fit = lambda *_, **__: pytest.fail("what is done is done again")
    (tmp_path / "fold_0" / "last.pt").touch()  # as a run leaves it that was killed just after it wrote the curve
    assert _Training._fold_curve(stub, 0, 2, [], []) == history  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "fold_0").iterdir()] == ["curve.json"]


@pytest.mark.parametrize("content", ["", "{}", "[]", "3", '{"bytes": "9", "sha256": 1}', '{"name": "x", "file": "y"}'])
def test_a_record_of_weights_of_another_lad_counts_for_nothing(content, tmp_path, monkeypatch):
    monkeypatch.setenv("LAD_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "kinetics400-rgb.safetensors").write_bytes(b"something")
    (tmp_path / "weights" / "kinetics400-rgb.json").write_text(content)
    assert weights.find("kinetics400-rgb") is None


def test_columns_of_a_dataset_that_lad_does_not_know_are_refused(data, finished, tmp_path):
    root = Path(shutil.copytree(data, tmp_path / "data"))
    with (root / "dataset.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    with (root / "dataset.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["weather", *header], *(["rain", *row] for row in rows)])
    status, _, err = lad("extract", *options(root, tmp_path / "work"))
    assert status == 2 and "weather" in err


# Two at once ----------------------------------------------------------------------------------------------------------


def start(script: str, *words: str) -> subprocess.Popen[str]:
    """A Python program of its own, which has said `ready` when this returns."""
    command = [sys.executable, "-c", script, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    if not any("ready" in line for line in process.stdout):
        pytest.fail(f"it ended before it began: {process.communicate()[1]}")
    return process


STALLED = """
import hashlib, importlib, sys, time
module, _, name = sys.argv.pop(1).rpartition(".")
how = sys.argv.pop(1)
def stall(*_, **__):
    print("ready", flush=True)
    if how == "long call":
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200_000_000)  # Python cannot act before it returns
    time.sleep(60)
try:
    owner = importlib.import_module(module)
except ModuleNotFoundError:  # a class
    module, _, kind = module.rpartition(".")
    owner = getattr(importlib.import_module(module), kind)
setattr(owner, name, stall)
sys.argv[0] = "lad"
from lad.__main__ import main
main()
"""


def test_a_second_lad_says_who_holds_the_directory_and_a_killed_one_holds_nothing(data, finished, tmp_path):
    call = options(data, tmp_path / "work")
    first = start(STALLED, "lad.work.contents.file_sha256", "sleep", "run", *call)
    try:
        second = subprocess.run([sys.executable, "-m", "lad", "run", *call], capture_output=True, text=True)
        (line,) = errors(second.stderr)
        assert second.returncode == 2 and second.stdout == ""
        assert f"{tmp_path / 'work'}: another lad works here (process {first.pid} on " in line
        assert lad("status", "--work", str(tmp_path / "work"))[0] == 0, "looking is possible meanwhile"
    finally:
        first.kill()
        first.communicate()
    status, _, err = lad("run", *call)
    assert status == 0, err
    assert_whole(tmp_path / "work", finished)


FETCHING = """
import dataclasses, hashlib, sys
from pathlib import Path
import numpy as np
from lad.models import weights
entry = weights.WEIGHTS["kinetics400-r50"]
content = {"a": np.arange(8_000_000, dtype=np.float32)}  # large enough that writing takes a while
source = dataclasses.replace(entry.sources[0], read=lambda _: content, checksum=None)
weights.WEIGHTS["kinetics400-r50"] = dataclasses.replace(entry, sources=(source,))
weights.check_layout = lambda *_: None
print("ready", flush=True)
sys.stdin.readline()
"""
FETCHES = FETCHING + "weights.fetch('kinetics400-r50', from_file=Path(sys.argv[1])); weights.fetch('kinetics400-r50')"
LOOKS = (
    FETCHING
    + """
import time
seen = 0
deadline = time.monotonic() + 60
while seen < 5 and time.monotonic() < deadline:
    time.sleep(0.005)
    found = weights.find("kinetics400-r50")
    if found:
        assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.sha256, "half a file"
        seen += 1
assert seen == 5
"""
)


def test_those_that_share_a_weights_cache_never_see_half_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").write_bytes(b"published")
    command = [sys.executable, "-c"]
    processes = [
        subprocess.Popen(
            [*command, script, str(tmp_path / "file")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for script in (LOOKS, LOOKS, FETCHES, FETCHES)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
    left = sorted(path.name for path in (tmp_path / "cache" / "weights").iterdir())
    assert left == [".lock", "kinetics400-r50.json", "kinetics400-r50.safetensors"]


# Interrupted ----------------------------------------------------------------------------------------------------------

GOES_ON = "interrupted: what is done is kept; the same command resumes from here"


@pytest.mark.parametrize(
    ("place", "how", "sent", "change"),
    [
        ("lad.work.contents.file_sha256", "sleep", signal.SIGTERM, None),
        ("lad.extract.extractor.FeatureExtractor.__call__", "long call", signal.SIGINT, None),
        ("lad.models.aed.multi_task_loss", "sleep", signal.SIGTERM, "train.seed=5"),
        ("lad.detector.scoring.score_features", "long call", signal.SIGTERM, "score.merge=max"),
        ("lad.evaluation.plots.draw_evaluation", "sleep", signal.SIGINT, "score.threshold=0.3"),
    ],
)
def test_an_interrupt_anywhere_stops_in_5_seconds_and_says_how_to_go_on(
    place, how, sent, change, data, finished, tmp_path
):
    work = tmp_path / "work"
    if change:
        shutil.copytree(finished, work)
    call = ["run", *options(data, work), *(["-o", change] if change else [])]
    process = start(STALLED, place, how, *call)
    before = {path: path.read_bytes() for path in work.rglob("features/**/*.npy")}
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.count(GOES_ON)) == (130, 1)
    assert time.monotonic() - began < 5
    assert "Traceback" not in err
    assert holder(work) is None
    assert {path: path.read_bytes() for path in before} == before
    status, out, err = lad(*call)
    assert status == 0, err
    assert ("extract: nothing to do" in out) == bool(change)
    if not change:
        assert_whole(work, finished)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_stops_at_once(sent, data, tmp_path):
    place = "lad.work.contents.file_sha256"
    process = start(STALLED, place, "long call", "run", *options(data, tmp_path / "work"))
    time.sleep(0.2)
    process.send_signal(sent)
    time.sleep(0.3)
    assert process.poll() is None, "it waits for the call to end"
    began = time.monotonic()
    process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and GOES_ON in err
    assert time.monotonic() - began < 1
