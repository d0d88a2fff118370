"""`lad run`, killed at a random moment again and again. Each time the end must be that of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.common import (
    add_line,
    decoders,
    differences,
    finish,
    kill_session,
    last_line,
    manifest_rows,
    open_folder,
    orphans,
    processes,
    read_json,
    read_lines,
    report,
    small_set,
    start,
    table,
    unfinished,
)
from lad.files import write_json

POLL_SECONDS = 0.02
STAGES = ("extract", "train", "score", "evaluate")


def kill_runs(data: Path, runs: int, backbone: str, seed: int) -> int:
    """Kill `runs` runs and compare what they make in the end.

    In half of them everything is killed, and the command is given again. In the other half one decoder is killed, and
    the run must go on by itself.
    """
    folder = open_folder(f"kill-{backbone}", {"data": str(data.absolute()), "backbone": backbone, "seed": seed})
    options = small_set(data, folder, backbone)
    usual, problems = _undisturbed(folder, options)
    print(f"undisturbed: {usual['seconds']:.1f} s, decoders from {usual['first']:.1f} to {usual['last']:.1f} s")
    path = folder / "results.jsonl"
    for number in range(10 * runs):  # those that ended before they could be killed do not count
        done = read_lines(path)
        if sum(row["hit"] for row in done) >= runs:
            break
        if number < len(done):
            continue
        hits = Counter(row["kind"] for row in done if row["hit"])
        kind = "group" if hits["group"] <= hits["decoder"] else "decoder"
        row = _kill_one(folder, options, number, kind, usual, seed)
        add_line(path, row)
        verdict = "; ".join(row["problems"]) or ("identical" if row["hit"] else "over before the kill")
        print(f"{number:4d}  {row['kind']:8} at {row['moment']:5.2f} s in {row['where']:10} {verdict}", flush=True)
    return _report(folder, problems)


def _undisturbed(folder: Path, options: list[str]) -> tuple[dict[str, float], list[str]]:
    """Run it twice undisturbed.

    Returns:
        The second run: its `seconds`, and those at which its `first` decoder came and its `last` one went. Then how the
        two runs differ, one line each.
    """
    path = folder / "undisturbed.json"
    if not path.exists():
        for name in ("reference", "again"):
            work = folder / name
            shutil.rmtree(work, ignore_errors=True)
            process, began = start(["run", *options, "--work", str(work)], folder / "undisturbed.log"), time.monotonic()
            alive = []
            while process.poll() is None:
                if decoders(process.pid):
                    alive.append(time.monotonic() - began)
                time.sleep(POLL_SECONDS)
            seconds = time.monotonic() - began
            if process.returncode:
                raise SystemExit(f"the undisturbed run failed: {last_line(folder / 'undisturbed.log')}")
        problems = [f"two undisturbed runs: {line}" for line in differences(folder / "again", folder / "reference")]
        shutil.rmtree(folder / "again")
        write_json(path, {"seconds": seconds, "first": alive[0], "last": alive[-1], "problems": problems})
    usual = read_json(path)
    return usual, usual["problems"]


def _kill_one(
    folder: Path, options: list[str], number: int, kind: str, usual: dict[str, float], seed: int
) -> dict[str, Any]:
    """Do one run that is killed, and its rerun if `kind` is `group`. `kind` `decoder` kills one decoder alone."""
    rng = np.random.default_rng([seed, number])
    moment = rng.uniform(0, usual["seconds"]) if kind == "group" else rng.uniform(usual["first"], usual["last"])
    work, log = folder / "work", folder / "work.log"
    shutil.rmtree(work, ignore_errors=True)
    log.unlink(missing_ok=True)
    command = ["run", *options, "--work", str(work)]
    timeout = 60 + 10 * usual["seconds"]
    process = start(command, log)
    time.sleep(moment)
    problems: list[str] = []
    if kind == "group":
        hit = process.poll() is None
        kill_session(process.pid)
        process.wait()
        left = manifest_rows(work)
        where = _where(left)
        began = time.monotonic()
        problems += _orphans(process.pid)
        again = start(command, log)
        status = finish(again, timeout)
        problems += _orphans(again.pid)
        problems += _done_twice(left, manifest_rows(work))
    else:
        hit, where = _kill_decoder(process, rng), "extract"
        began = time.monotonic()
        status = finish(process, timeout)  # it must go on by itself
        problems += _orphans(process.pid)
    if status != 0:
        how = "hung and was killed" if status is None else f"exit status {status}"
        problems.append(f"after the kill: {how}: {last_line(log)}")
    problems += unfinished(work) + differences(work, folder / "reference")
    seconds = time.monotonic() - began
    if problems:
        shutil.rmtree(folder / f"failed-{number}", ignore_errors=True)
        shutil.copytree(work, folder / f"failed-{number}")
        shutil.copy(log, folder / f"failed-{number}" / "harness.log")
    return {
        "run": number, "kind": kind, "moment": round(float(moment), 3), "hit": hit, "where": where,
        "seconds": round(seconds, 2), "problems": problems,
    }  # fmt: skip


def _kill_decoder(process: subprocess.Popen[bytes], rng: np.random.Generator) -> bool:
    """Send SIGKILL to a decoder as soon as there is one. Returns whether there was."""
    while process.poll() is None:
        if found := decoders(process.pid):
            try:
                os.kill(int(rng.choice(found)), signal.SIGKILL)
                return True
            except ProcessLookupError:
                pass
        time.sleep(POLL_SECONDS)
    return False


def _where(rows: dict[tuple[str, str], dict[str, Any]]) -> str:
    """Which stage a killed run was in, by the rows of its manifest."""
    if not rows:
        return "imports"
    running = {stage for (stage, _), row in rows.items() if row["status"] == "running"}
    started = {stage for stage, _ in rows}
    inside = [stage for stage in STAGES if stage in running]
    return inside[0] if inside else f"after {[stage for stage in STAGES if stage in started][-1]}"


def _done_twice(before: dict[tuple[str, str], dict[str, Any]], now: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """Items that were done when the run was killed and that the rerun did again, one line each."""
    return [
        f"done twice: {' '.join(key)}"
        for key, row in before.items()
        if row["status"] == "done" and (key not in now or now[key]["started"] != row["started"])
    ]


def _orphans(session: int) -> list[str]:
    count = orphans(session)
    for process in processes(session):
        os.kill(process.pid, signal.SIGKILL)
    return [f"{count} processes were left alive"] if count else []


def _report(folder: Path, problems: list[str]) -> int:
    rows = [row for row in read_lines(folder / "results.jsonl") if row["hit"]]
    groups = sorted({(row["kind"], row["where"]) for row in rows})
    lines = []
    for kind, where in groups:
        those = [row for row in rows if (row["kind"], row["where"]) == (kind, where)]
        same = sum(not row["problems"] for row in those)
        slowest = max(row["seconds"] for row in those)
        lines.append([kind, where, len(those), same, f"{slowest:.1f}"])
    lines.append(["all", "", len(rows), sum(not row["problems"] for row in rows), ""])
    header = ["SIGKILL to", "while in", "runs", "identical after it", "slowest recovery, s"]
    found = [f"run {row['run']}: {problem}" for row in rows for problem in row["problems"]]
    return report(folder, table(header, lines), problems + found)
