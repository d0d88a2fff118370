"""Names in any script work under any locale, and what cannot be shown is escaped."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.detectors import write_detector
from helpers.small import write_data

pytestmark = pytest.mark.slow

NAMES = ["视频", "🔥fire", "مشهد", "Straße", "naïve", "кадр"]
LABELS = ("跑步", "مشي")
WORK = "работа 🎬"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="session")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a locale whose encoding is ISO-8859-1."""
    folder = tmp_path_factory.mktemp("locales")
    name = "en_US.ISO-8859-1"
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / name)]
    if not shutil.which("localedef") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NO localedef, OR NO SOURCES OF LOCALES: no ISO-8859-1 to try names in")
    return {"LOCPATH": str(folder), "LC_ALL": name}


def python(environment: dict[str, str], *words: str, cwd: Path) -> tuple[int, str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHONIO"))}
    command = [sys.executable, *words]
    ended = subprocess.run(command, env={**kept, **environment}, cwd=cwd, capture_output=True, timeout=300, check=False)
    return ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and the work directory of a whole run under a locale in ASCII."""
    folder = tmp_path_factory.mktemp("names")
    options = write_data(folder / "资料", NAMES, LABELS)
    status, _, err = python(ASCII, "-m", "lad", "run", *options, "--work", WORK, cwd=folder)
    assert status == 0, err
    return folder


def test_what_is_written_under_one_locale_is_the_same_under_another(finished: Path) -> None:
    work = finished / WORK
    assert {path.stem for path in (work / "scores").glob("*.csv")} >= set(NAMES[4:])
    assert (work / "plots" / "scores" / f"{NAMES[4]}.png").is_file()
    with (work / "dataset.csv").open(encoding="utf-8", newline="") as file:
        assert [row["video"] for row in csv.DictReader(file)] == NAMES
    with (work / "scores" / f"{NAMES[5]}.csv").open(encoding="utf-8", newline="") as file:
        assert set(LABELS) <= set(next(csv.reader(file)))
    words = ["-c", str(finished / "资料" / "small.yaml"), "--data", str(finished / "资料"), "--work", WORK]
    status, out, err = python({"LC_ALL": "C.UTF-8"}, "-m", "lad", "run", *words, cwd=finished)
    assert status == 0 and out.count("nothing to do") == 4, (out, err)


@pytest.mark.parametrize("environment", ["ASCII", "latin-1 locale", "latin-1 output"])
def test_videos_of_any_name_are_scored_and_shown_as_far_as_the_locale_can(
    environment: str, finished: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    variables = {
        "ASCII": lambda: ASCII,
        "latin-1 locale": lambda: request.getfixturevalue("latin_1"),
        "latin-1 output": lambda: {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    }[environment]()
    videos = [str(finished / "资料" / f"{name}.mp4") for name in (NAMES[0], NAMES[2])]
    words = ["score", "--checkpoint", str(finished / WORK / "checkpoints" / "best.pt"), "--work", str(tmp_path / WORK)]
    status, out, err = python(variables, "-m", "lad", *words, "--device", "cpu", *videos, "没有.mp4", cwd=tmp_path)
    assert status == 2 and "Traceback" not in err, err
    # Of an ASCII locale click believes that somebody forgot to set it.
    shown = r"\u6ca1\u6709" if environment.startswith("latin-1") else "没有"
    assert err.startswith(f"error: {shown}.mp4: no such file"), err
    status, out, err = python(variables, "-m", "lad", *words, "--device", "cpu", "--json", *videos, cwd=tmp_path)
    assert status == 0 and "Traceback" not in err, err
    assert len(json.loads(out)["scores"]) == 2


def test_the_library_reads_videos_of_any_name_under_any_locale(
    finished: Path, latin_1: dict[str, str], tmp_path: Path
) -> None:
    detector = write_detector(tmp_path / "best.pt")
    script = "import sys, lad\nprint(len(lad.load(sys.argv[1], device='cpu').score(sys.argv[2]).frames))"
    video = finished / "资料" / f"{NAMES[1]}.mp4"
    status, out, err = python(latin_1, "-c", script, str(detector), str(video), cwd=tmp_path)
    assert (status, out.strip()) == (0, "34"), err
