"""`lad extract` on hundreds of damaged files, and with decoders that are killed, crash or stall at random."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.common import (
    FAILURES,
    add_line,
    decoders,
    finish,
    kill_session,
    last_line,
    manifest_rows,
    open_folder,
    orphans,
    read_lines,
    report,
    start,
    table,
)
from benchmarks.faults.mutations import Mutant, make_mutants, make_pieces
from lad.clip import CLIP_FRAMES
from lad.dataset import read_dataset

STALL_SECONDS = 20
BATCH = 50
SECONDS_A_FILE = 10  # on average. A run that takes longer counts as hanging
SHOTS = {"SIGKILL": 30, "SIGSEGV": 30, "SIGSTOP": 10}  # signals to decoders, and at most how many in a run
SHOT_STALL_SECONDS = 5


@dataclass(frozen=True)
class Outcome:
    """What became of one file. `features` is the content of its feature file, or None where there is none."""

    status: str
    failure: str | None
    error: str
    frames: int | None
    warnings: tuple[str, ...]
    reader: str
    features: bytes | None

    def same(self, other: Outcome) -> bool:
        return (self.status, self.failure, self.frames, self.features) == (
            other.status, other.failure, other.frames, other.features,
        )  # fmt: skip


def mutant_runs(data: Path, count: int, backbone: str, seed: int) -> int:
    """Damage files, extract them in several ways, and count what became of them.

    All are extracted together and in batches, and each intact file alone. Every file must end the same in each way.
    """
    name, facts = f"mutants-{backbone}", {"data": str(data.absolute()), "count": count, "seed": seed}
    folder = open_folder(name, {**facts, "backbone": backbone})
    videos = folder / "videos"
    surveillance = read_dataset(data / "surveillance" / "dataset.csv", data / "surveillance")
    clips = {video.label: video.file for video in surveillance if video.is_abnormal and (video.n_frames or 0) > 60}
    sources = [*sorted((data / "samples").glob("*.mp4")), *clips.values()][: max(2, count // 100)]
    pieces = make_pieces(sources, videos)
    mutants = make_mutants(pieces, videos, count, seed)
    options = ["-q", "--json", "--device", "cpu", "-o", "threads=1", "-o", f"extract.backbone={backbone}"]
    options += ["--data", str(videos), "--workers", "2"]
    print(f"{len(mutants)} mutants of {len(pieces)} intact files", flush=True)

    problems: list[str] = []
    intact: dict[str, Outcome] = {}
    for piece in pieces.values():
        work = folder / "alone" / piece.stem
        problems += _extract(folder, work, options, [piece])
        intact |= _outcomes_of(work, [piece])
        if intact[piece.stem].status != "done" or intact[piece.stem].warnings:
            problems.append(f"{piece.name} is intact: {intact[piece.stem]}")
    everything = [*pieces.values(), *(videos / mutant.name for mutant in mutants)]
    whole = folder / "whole"
    problems += _extract(folder, whole, options, everything)
    found = _outcomes_of(whole, everything)
    for first in range(0, len(everything), BATCH):
        work, batch = folder / f"batch-{first // BATCH}", everything[first : first + BATCH]
        problems += _extract(folder, work, options, batch)
        for stem, outcome in _outcomes_of(work, batch).items():
            if not outcome.same(found[stem]):
                problems.append(f"{stem}: another result beside other files, see {work}")
    problems += [f"{name}: other features than alone" for name in intact if not intact[name].same(found[name])]
    for mutant in mutants:
        problems += _check(whole, mutant, found[Path(mutant.name).stem], intact)
    few = [*pieces.values(), *(videos / mutant.name for mutant in mutants[: len(pieces)])]
    shots = [_shoot(folder, options, few, name, seed, found) for name in SHOTS]
    problems += [problem for shot in shots for problem in shot["problems"]]
    header = [
        "sent to decoders",
        "times",
        "files",
        "done at once",
        "failed (worker)",
        "exit status",
        "as ever after a rerun",
    ]
    rows = [[shot[key] for key in ("signal", "shots", "files", "done", "worker", "status", "same")] for shot in shots]
    tables = [_outcomes(mutants, found, intact), _unseen(mutants, found, intact), table(header, rows)]
    return report(folder, "\n\n".join(tables), problems)


def _extract(folder: Path, work: Path, options: Sequence[str], files: Sequence[Path]) -> list[str]:
    """Extract files, unless `steps.jsonl` says that it was done. Returns what was wrong with the run as a whole."""
    steps = {step["work"]: step for step in read_lines(folder / "steps.jsonl")}
    if str(work) not in steps:
        shutil.rmtree(work, ignore_errors=True)
        work.parent.mkdir(exist_ok=True)
        log, out = work.with_name(f"{work.name}.log"), work.with_name(f"{work.name}.out")
        words = ["extract", *options, "-o", f"extract.stall_seconds={STALL_SECONDS}", "--work", str(work)]
        began = time.monotonic()
        process = start([*words, *map(str, files)], log, out)
        status = finish(process, 120 + SECONDS_A_FILE * len(files))
        problems = _driver_problems(work, status, log, process.pid)
        problems += [] if status is None else _json_problems(work, out)
        step = {"work": str(work), "status": status, "seconds": round(time.monotonic() - began, 1)}
        add_line(folder / "steps.jsonl", {**step, "problems": problems})
        print(f"{work}: {len(files)} files, exit status {status}, {step['seconds']} s", flush=True)
        return problems
    return list(steps[str(work)]["problems"])


def _driver_problems(work: Path, status: int | None, log: Path, session: int) -> list[str]:
    problems = []
    if status not in (0, 1):
        how = "hung and was killed" if status is None else f"exit status {status}"
        problems.append(f"{work}: the driver {how}: {last_line(log)}")
    if left := orphans(session):
        problems.append(f"{work}: {left} processes were left alive")
        kill_session(session)
    return problems


def _json_problems(work: Path, out: Path) -> list[str]:
    """What is wrong with the output of `--json`, which must name the same failures as the manifest."""
    try:
        said = set(json.loads(out.read_text(encoding="utf-8"))["stages"]["extract"]["failed"])
    except (ValueError, KeyError):
        return [f"{work}: --json printed no result"]
    rows = {item.partition("/")[2] for (_, item), row in manifest_rows(work).items() if row["status"] == "failed"}
    return [f"{work}: --json and the manifest disagree on {sorted(said ^ rows)}"] if said != rows else []


def _outcomes_of(work: Path, files: Sequence[Path]) -> dict[str, Outcome]:
    rows = manifest_rows(work)
    return {path.stem: _outcome(work, path.stem, rows.get(("extract", f"rgb/{path.stem}"))) for path in files}


def _outcome(work: Path, name: str, row: dict[str, Any] | None) -> Outcome:
    path = work / "features" / "rgb" / f"{name}.npy"
    features = path.read_bytes() if path.exists() else None
    if row is None:
        return Outcome("missing", None, "", None, (), "", features)
    info = row["info"]
    warnings = tuple(info.get("warnings", ()))
    reader, error = info.get("reader", ""), row["error"] or ""
    return Outcome(row["status"], row["failure"], error, info.get("frames"), warnings, reader, features)


def _check(work: Path, mutant: Mutant, outcome: Outcome, intact: dict[str, Outcome]) -> list[str]:
    """What is wrong with an outcome.

    Every file must be done or fail with a reason. Features must fit the frames. A video that became shorter must have a
    warning.
    """
    said = f"{mutant.name} ({mutant.detail})"
    if outcome.status == "failed":
        if outcome.failure not in FAILURES or not outcome.error or "\n" in outcome.error:
            return [f"{said}: failed ({outcome.failure}) with the reason {outcome.error!r}"]
        if mutant.kind == "suffix":
            return [f"{said}: an intact file failed: {outcome.error}"]
        return [] if outcome.features is None else [f"{said}: failed, and has features"]
    if outcome.status != "done" or outcome.features is None:
        return [f"{said}: neither done nor failed: {outcome.status}"]
    features = np.load(work / "features" / "rgb" / f"{Path(mutant.name).stem}.npy", allow_pickle=False)
    times = np.load(work / "features" / "times" / f"{Path(mutant.name).stem}.npy", allow_pickle=False)
    problems = []
    if len(features) != -(-(outcome.frames or 0) // CLIP_FRAMES) or len(times) != outcome.frames:
        problems.append(f"{said}: {outcome.frames} frames, {len(features)} clips, {len(times)} times")
    if not np.isfinite(features).all() or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        problems.append(f"{said}: features or times that are no numbers, or times that run backwards")
    if not outcome.warnings and outcome.frames not in {intact[piece].frames for piece in mutant.pieces}:
        whole = intact[mutant.pieces[0]].frames
        problems.append(f"{said}: {outcome.frames} frames instead of {whole}, without a warning ({outcome.reader})")
    if mutant.kind == "suffix" and outcome.features != intact[mutant.pieces[0]].features:
        problems.append(f"{said}: other features than under its right name")
    return problems


def _is_unseen(mutant: Mutant, outcome: Outcome, intact: dict[str, Outcome]) -> bool:
    """Whether a damaged file gave other features than the intact one, without a warning."""
    told = outcome.status != "done" or outcome.warnings
    return not told and outcome.features not in [intact[piece].features for piece in mutant.pieces]


def _outcomes(mutants: Sequence[Mutant], found: dict[str, Outcome], intact: dict[str, Outcome]) -> str:
    header = ["container", "damage", "files", "done", "done with warning", *(f"failed ({kind})" for kind in FAILURES)]
    rows = []
    cells = sorted({(mutant.container, mutant.kind) for mutant in mutants})
    for container, kind in [*cells, ("all", "")]:
        those = [m for m in mutants if container == "all" or (m.container, m.kind) == (container, kind)]
        outcomes = [found[Path(mutant.name).stem] for mutant in those]
        done = [bool(outcome.warnings) for outcome in outcomes if outcome.status == "done"]
        failed = [sum(outcome.failure == failure for outcome in outcomes) for failure in FAILURES]
        unseen = sum(_is_unseen(m, outcome, intact) for m, outcome in zip(those, outcomes, strict=True))
        rows.append([container, kind, len(those), done.count(False), done.count(True), *failed, unseen])
    return table([*header, "unseen damage"], rows)


def _unseen(mutants: Sequence[Mutant], found: dict[str, Outcome], intact: dict[str, Outcome]) -> str:
    rows = []
    for mutant in sorted(mutants, key=lambda mutant: (mutant.kind, mutant.container, mutant.name)):
        outcome = found[Path(mutant.name).stem]
        if _is_unseen(mutant, outcome, intact):
            rows.append([mutant.name, mutant.detail, outcome.frames, outcome.reader])
    return table(["unseen damage: file", "what was done to it", "frames", "reader"], rows)


def _shoot(
    folder: Path, options: Sequence[str], files: Sequence[Path], name: str, seed: int, usual: dict[str, Outcome]
) -> dict[str, Any]:
    """Extract files while random decoders get a signal at random moments, then once more undisturbed.

    Args:
        folder: of the fault run.
        options: of `lad extract`.
        files: to extract.
        name: of the signal.
        seed: of the moments and decoders.
        usual: file stem -> what becomes of it in an undisturbed run.
    """
    path = folder / "shots.jsonl"
    if before := [shot for shot in read_lines(path) if shot["signal"] == name]:
        return before[0]
    rng = np.random.default_rng([seed, list(SHOTS).index(name)])
    work, log = folder / f"shot-{name}", folder / f"shot-{name}.log"
    shutil.rmtree(work, ignore_errors=True)
    words = ["extract", *options, "-o", f"extract.stall_seconds={SHOT_STALL_SECONDS}", "--work", str(work)]
    words += map(str, files)
    process, shots = start(words, log, folder / f"shot-{name}.out"), 0
    deadline = time.monotonic() + 120 + SECONDS_A_FILE * len(files)
    while process.poll() is None and shots < SHOTS[name] and time.monotonic() < deadline:
        time.sleep(rng.uniform(0.3, 1.5))
        if targets := decoders(process.pid):
            with suppress(ProcessLookupError):
                os.kill(int(rng.choice(targets)), signal.Signals[name])
                shots += 1
    status = finish(process, max(deadline - time.monotonic(), 1))
    problems = _driver_problems(work, status, log, process.pid)
    shot = _outcomes_of(work, files)
    worker = 0
    for stem, outcome in shot.items():
        if outcome.failure == "worker" and outcome.error:
            worker += 1
        elif status in (0, 1) and not outcome.same(usual[stem]):  # else the driver did not get to all of them
            problems.append(f"{name} to decoders: {stem}: another result: {outcome.status} {outcome.error}")
    done = sum(outcome.status == "done" for outcome in shot.values())
    again = start(words, log, folder / f"shot-{name}-again.out")
    status_again = finish(again, 120 + SECONDS_A_FILE * len(files))
    problems += _driver_problems(work, status_again, log, again.pid)
    different = [stem for stem, outcome in _outcomes_of(work, files).items() if not outcome.same(usual[stem])]
    problems += [f"{name} to decoders: {stem}: another result after the rerun" for stem in different]
    found = {
        "signal": name, "shots": shots, "files": len(files), "done": done, "worker": worker, "status": status,
        "same": len(files) - len(different), "problems": problems,
    }  # fmt: skip
    add_line(path, found)
    print(f"{name} to decoders {shots} times: exit status {status}, then {status_again}", flush=True)
    return found
