"""What the fault runs share: how `lad` is started and ended, how its processes are seen, how results are compared."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lad
from lad.dataset import Video, read_dataset, write_dataset
from lad.files import write_json
from lad.ours import LOGS

DATA = Path(__file__).parents[3] / "shared" / "data"
RUNS = Path("runs/faults")
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
STARTED: list[subprocess.Popen[bytes]] = []
DECODER = b"lad.extract.worker"  # the module that a decoding process runs, see `lad.children`
FAILURES = ("content", "worker", "io", "limit")

CONFIG = """
data: {{dataset: {dataset}}}
extract: {{backbone: {backbone}, streams: [rgb, flow], batch_clips: 2}}
train:
  window: 2
  hidden: 8
  abnormal_windows: 4
  normal_windows: 4
  learning_rate: 1.0e-3
  selection: cross-validation
  folds: 2
  steps: 8
  evaluate_every: 4
threads: 1
device: cpu
"""


# The command ------------------------------------------------------------------------------------------------------


def start(words: Sequence[str], log: Path, out: Path | None = None) -> subprocess.Popen[bytes]:
    """Start `lad` in a session of its own.

    Args:
        words: of its command line.
        log: file to append to what it says.
        out: file for its results. None: they go to `log` too.
    """
    command = [sys.executable, "-m", "lad", *words]
    with log.open("ab") as said, out.open("wb") if out else nullcontext(said) as results:
        process = subprocess.Popen(
            command, stdout=results, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True
        )
    STARTED.append(process)
    return process


def stop_all() -> None:
    """End what is still running. Ctrl-C does not reach it, because it is in sessions of its own."""
    for process in STARTED:
        if process.poll() is None:
            kill_session(process.pid)


def finish(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    """Wait for a process; returns its exit status. None: it did not end within `timeout` seconds and was killed."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        process.wait()
        return None


def kill_session(leader: int) -> None:
    """Send SIGKILL to a process and the whole group that it leads."""
    with suppress(ProcessLookupError):  # it was faster
        os.killpg(leader, signal.SIGKILL)


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else ""


# Its processes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """What /proc says of a process.

    Attributes:
        pid, session: its number, and that of its session.
        cpu: seconds used.
        rss: resident bytes.
        written: bytes written, also to pipes.
        is_decoder: whether it decodes videos.
    """

    pid: int
    session: int
    cpu: float
    rss: int
    written: int
    is_decoder: bool


def processes(session: int) -> list[Process]:
    """The living processes of a session."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            state, *numbers = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(numbers[2]) != session or state in "ZX":
                continue
            is_decoder = DECODER in (folder / "cmdline").read_bytes().split(b"\0")
            written = int((folder / "io").read_text().split()[3])
        except (OSError, ValueError):
            continue  # it ended while we looked
        cpu = (int(numbers[10]) + int(numbers[11])) / TICK
        found.append(Process(int(folder.name), session, cpu, int(numbers[20]) * PAGE, written, is_decoder))
    return found


def decoders(session: int) -> list[int]:
    return [process.pid for process in processes(session) if process.is_decoder]


def orphans(session: int, seconds: float = 5.0) -> int:
    """How many processes of a session whose leader has ended are still there after some seconds."""
    deadline = time.monotonic() + seconds
    while (left := len(processes(session))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


# Its results ------------------------------------------------------------------------------------------------------


def manifest_rows(work: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The manifest's rows by (stage, item). They are read from a copy, so that a killed run is left as it is."""
    if not (work / "manifest.sqlite").exists():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        for file in work.glob("manifest.sqlite*"):
            shutil.copy(file, folder)
        connection = sqlite3.connect(Path(folder) / "manifest.sqlite")
        connection.row_factory = sqlite3.Row
        try:
            rows = [dict(row) for row in connection.execute("SELECT * FROM items")]
        except sqlite3.OperationalError:
            return {}  # killed before there were tables
        finally:
            connection.close()
    for row in rows:
        row["info"] = json.loads(row["info"])
    return {(row["stage"], row["item"]): row for row in rows}


def result_files(work: Path) -> list[str]:
    """All files that a run leaves, hidden ones too, except its logs, its lock and the manifest."""
    paths = (path.relative_to(work) for path in work.rglob("*") if path.is_file())
    others = ("logs", ".lock", *LOGS)
    return sorted(str(p) for p in paths if p.parts[0] not in others and "manifest.sqlite" not in p.name)


def differences(work: Path, reference: Path) -> list[str]:
    """How the results of a run differ from those of another, one line for each file.

    Features, times, checkpoints, scores and metrics are compared. Files that only one of them has are named.
    """
    ours, theirs = result_files(work), result_files(reference)
    found = [f"missing: {name}" for name in theirs if name not in set(ours)]
    found += [f"stray: {name}" for name in ours if name not in set(theirs)]
    for name in set(ours) & set(theirs):
        one, other = work / name, reference / name
        if name.endswith(".pt"):
            same = same_tensors(one, other)
        elif name.endswith((".npy", ".csv", ".json")) and name != "dataset.csv":
            same = one.read_bytes() == other.read_bytes()
        else:
            continue
        if not same:
            found.append(f"differs: {name}")
    return sorted(found)


def same_tensors(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same tensors, bit for bit. Those of the optimizer count too."""
    import torch

    ours, theirs = (dict(_tensors(torch.load(path, weights_only=True))) for path in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _tensors(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _tensors(value, f"{name}/{key}")
    elif hasattr(tree, "dtype"):
        yield name, tree


def unfinished(work: Path) -> list[str]:
    """The rows of the manifest that are not done."""
    rows = manifest_rows(work)
    return [f"{stage} {item}: {row['status']}" for (stage, item), row in rows.items() if row["status"] != "done"]


# A small real data set --------------------------------------------------------------------------------------------


def small_set(data: Path, folder: Path, backbone: str) -> list[str]:
    """Choose about 12 clips of a labelled data set, and write a dataset.csv of them and a configuration.

    They are the shortest of each split, label and kind (normal, abnormal). Two of a kind are of different sources.

    Args:
        data: folder of the data set.
        folder: where the two files are written.
        backbone: of the configuration.

    Returns:
        The options with which `lad` works on them.
    """
    chosen: dict[tuple[str, str, bool], list[Video]] = {}
    for video in sorted(read_dataset(data / "dataset.csv", data), key=lambda video: (video.n_frames or 0, video.id)):
        group = chosen.setdefault((video.split, video.label, video.is_abnormal), [])
        if len(group) < (2 if video.split == "train" else 1) and video.source not in [v.source for v in group]:
            group.append(video)
    folder.mkdir(parents=True, exist_ok=True)
    write_dataset(folder / "dataset.csv", [video for group in chosen.values() for video in group], data)
    config = folder / "small.yaml"
    config.write_text(CONFIG.format(dataset=(folder / "dataset.csv").absolute(), backbone=backbone))
    return ["-q", "-c", str(config), "--data", str(data)]


# The results of the harness ---------------------------------------------------------------------------------------


def open_folder(name: str, facts: dict[str, Any]) -> Path:
    """The folder `runs/faults/<name>`. Results of other settings or of another `lad` in it are moved aside.

    Args:
        name: of the folder.
        facts: the settings.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(lad.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    setup = {**facts, "code": digest.hexdigest()[:16]}
    folder = RUNS / name
    if folder.exists() and (not (folder / "setup.json").exists() or read_json(folder / "setup.json") != setup):
        aside = folder.with_name(f"{name}-until-{time.strftime('%Y%m%d-%H%M%S')}")
        print(f"{folder}: results of another setting or of another lad: moved to {aside.name}, begun anew", flush=True)
        folder.rename(aside)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "setup.json", setup)
    return folder


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def add_line(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table with aligned columns."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in cells]  # fmt: skip
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def report(folder: Path, text: str, problems: Sequence[str]) -> int:
    """Print what was found and write it to `report.md`. Returns the exit status."""
    counted = Counter(problems)
    lines = [f"- {problem}" + (f" ({count} times)" if count > 1 else "") for problem, count in counted.items()]
    text = f"{text}\n\n{len(problems)} problems" + "".join(f"\n{line}" for line in lines)
    print(f"\n{text}")
    (folder / "report.md").write_text(text + "\n")
    return 1 if problems else 0
