"""One video of hours. Memory must not grow, every frame must have a score, and a late kill must cost little."""

from __future__ import annotations

import shutil
import subprocess
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.common import (
    differences,
    finish,
    kill_session,
    last_line,
    manifest_rows,
    open_folder,
    orphans,
    processes,
    read_json,
    report,
    small_set,
    start,
    table,
)
from lad.files import write_json

FPS = 25
SIZE = (160, 120)  # width, height
KILLED_AT = 0.9  # of an undisturbed extraction
MOST_LOST_SECONDS = 600
WARM_UP_SECONDS = 60  # before memory counts
GROWTH = 1.05  # of the last quarter's peak over the first one's
MOST_BYTES = 2_500_000_000  # of all processes together
SAMPLE_SECONDS = 0.5
MB = 1 << 20

# Seconds since the start, memory of the driver, memory of the decoders, CPU seconds of all, bytes that decoders sent.
# Nearly all of those bytes are clips, so they tell how far the extraction is.
Sample = tuple[float, int, int, float, int]


def long_run(data: Path, hours: float, backbone: str, seed: int, plot: Path) -> int:
    """Extract and score a video of `hours`, once undisturbed and once killed late. Plot the memory of the first."""
    minutes = round(hours * 60)
    folder = open_folder(f"long-{backbone}-{minutes}min", {"minutes": minutes, "backbone": backbone, "seed": seed})
    videos = folder / "videos"
    frames = make_video(videos / "long.mp4", minutes)
    print(f"{videos / 'long.mp4'}: {minutes} minutes, {frames} frames", flush=True)
    options = small_set(data, folder, backbone)
    checkpoint = folder / "detector" / "checkpoints" / "best.pt"
    if not checkpoint.exists():
        _run(folder, "detector", ["run", *options, "--work", str(folder / "detector")])
    given = ["-q", "--data", str(videos), "--device", "cpu", str(videos / "long.mp4")]
    extract = ["extract", "-c", str(folder / "small.yaml"), "-o", "data.dataset=null", *given, "--work"]
    score = ["score", "--checkpoint", str(checkpoint), *given, "--work"]

    whole, killed = folder / "whole", folder / "killed"
    extracting = _step(folder, "extract", [*extract, str(whole)], whole)
    scoring = _step(folder, "score", [*score, str(whole)])
    dying = _step(folder, "killed", [*extract, str(killed)], killed, kill_after=KILLED_AT * _sent(extracting))
    rerun = _step(folder, "rerun", [*extract, str(killed)])
    rescoring = _step(folder, "score again", [*score, str(killed)])
    steps = {
        "extract": extracting, "score": scoring, "extract, killed": dying, "extract, again": rerun,
        "score, again": rescoring,
    }  # fmt: skip

    problems = [f"{name}: {problem}" for name, step in steps.items() for problem in step["problems"]]
    problems += _length_problems(whole, frames)
    problems += [f"after the kill: {line}" for line in differences(killed, whole)]
    if dying["status"] != "killed":
        problems.append("the extraction ended before it could be killed")
    first, last = quarter_peaks(extracting["samples"])
    if last > GROWTH * first:
        problems.append(f"memory grows: {first / MB:.0f} MB in the first quarter, {last / MB:.0f} MB in the last")
    if (most := _peaks(extracting)[-1]) > MOST_BYTES:
        problems.append(f"{most / MB:.0f} MB of memory are too many")
    lost_seconds = dying["seconds"] + rerun["seconds"] - extracting["seconds"]
    lost_work = _work_done(dying) + _work_done(rerun) - _work_done(extracting)
    if lost_work > MOST_LOST_SECONDS:
        problems.append(f"the kill cost {lost_work:.0f} CPU seconds of work, more than {MOST_LOST_SECONDS}")
    plot_memory(extracting["samples"], f"lad extract, {minutes / 60:g} h of video, {backbone}", plot)
    rows = [
        [name, f"{step['seconds']:.0f}", f"{_work_done(step):.0f}", *(f"{peak / MB:.0f}" for peak in _peaks(step))]
        for name, step in steps.items()
    ]
    again = (_sent(dying) + _sent(rerun)) / max(_sent(extracting), 1) - 1
    summary: list[list[object]] = [
        ["frames", frames],
        ["peak memory of extraction in its first quarter, MB", f"{first / MB:.0f}"],
        ["in its last quarter, MB", f"{last / MB:.0f}"],
        ["of the video extracted twice because of the kill", f"{again:.1%}"],
        ["lost by the kill, seconds", f"{lost_seconds:.0f}"],
        ["lost by the kill, CPU seconds", f"{lost_work:.0f}"],
    ]
    header = ["step", "seconds", "CPU seconds", "peak MB, driver", "peak MB, decoders", "peak MB, together"]
    return report(folder, f"{table(header, rows)}\n\n{table(['', ''], summary)}\n\n{plot}", problems)


def make_video(path: Path, minutes: int) -> int:
    """Write a video of a moving pattern. One minute is encoded and its packets are repeated. Returns the frames."""
    import av

    minute = path.with_name(".minute.mp4")
    if path.exists():
        return minutes * 60 * FPS
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = SIZE
    with av.open(str(minute), "w") as made:
        stream: Any = made.add_stream("libx264", rate=FPS, options={"bf": "0", "g": "50", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        for number in range(60 * FPS):
            shades = (x + 3 * number, 2 * y + number, x + y - 2 * number)
            image = np.stack([shade % 256 for shade in shades], axis=-1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    temporary = path.with_name(".long.mp4")
    with av.open(str(minute)) as given, av.open(str(temporary), "w") as made:
        source = given.streams.video[0]
        out = made.add_stream_from_template(source)
        packets = [(bytes(p), p.pts or 0, p.dts or 0, p.duration, p.is_keyframe) for p in given.demux(source) if p.size]
        base = source.time_base
        assert base is not None and len(packets) == 60 * FPS
        for repeat in range(minutes):
            shift = int(repeat * 60 / base)
            for content, pts, dts, duration, is_keyframe in packets:
                packet = av.Packet(content)
                packet.stream, packet.time_base, packet.is_keyframe = out, base, is_keyframe
                packet.pts, packet.dts, packet.duration = pts + shift, dts + shift, duration
                made.mux(packet)
    temporary.rename(path)
    minute.unlink()
    return minutes * 60 * FPS


def _run(folder: Path, name: str, words: list[str]) -> None:
    log = folder / f"{name}.log"
    if finish(start(words, log), 3600) != 0:
        raise SystemExit(f"{name} failed: {last_line(log)}")


def _step(
    folder: Path, name: str, words: list[str], fresh: Path | None = None, kill_after: float | None = None
) -> dict[str, Any]:
    """Run a command, unless it was done before.

    Args:
        folder: of the fault run.
        name: of the step.
        words: of the command line.
        fresh: folder to delete before it starts.
        kill_after: kill it once its decoders have sent so many bytes.

    Returns:
        `status`, `seconds`, `samples` and `problems`, which are what was wrong.
    """
    path, log = folder / f"{name.replace(' ', '-')}.json", folder / "lad.log"
    if path.exists():
        return dict(read_json(path))
    if fresh is not None:
        shutil.rmtree(fresh, ignore_errors=True)
    began = time.monotonic()
    process = start(words, log)
    samples: list[Sample] = []
    status: str | int | None = None
    while process.poll() is None:
        samples.append(sample(process, began))
        if kill_after is not None and samples[-1][4] >= kill_after:
            status = "killed"
            kill_session(process.pid)
            break
        time.sleep(SAMPLE_SECONDS)
    process.wait()
    status = status or process.returncode
    problems = [f"exit status {status}: {last_line(log)}"] if status not in (0, "killed") else []
    problems += [f"{left} processes were left alive"] if (left := orphans(process.pid)) else []
    step = {"status": status, "seconds": time.monotonic() - began, "samples": samples, "problems": problems}
    write_json(path, step)
    print(f"{name}: status {status}, {step['seconds']:.0f} s", flush=True)
    return step


def sample(process: subprocess.Popen[bytes], began: float) -> Sample:
    """What the driver and its decoders use at this moment."""
    found = processes(process.pid)
    driver = sum(one.rss for one in found if not one.is_decoder)
    decoding = sum(one.rss for one in found if one.is_decoder)
    sent = sum(one.written for one in found if one.is_decoder)
    return time.monotonic() - began, driver, decoding, sum(one.cpu for one in found), sent


def _work_done(step: dict[str, Any]) -> float:
    """The CPU seconds of a step. What ended between two samples is not seen."""
    return float(max((cpu for *_, cpu, _ in step["samples"]), default=0.0))


def _sent(step: dict[str, Any]) -> int:
    """The bytes that the decoders of a step sent."""
    return int(max((sent for *_, sent in step["samples"]), default=0))


def _peaks(step: dict[str, Any]) -> list[int]:
    samples = step["samples"] or [(0.0, 0, 0, 0.0, 0)]
    return [max(s[1] for s in samples), max(s[2] for s in samples), max(s[1] + s[2] for s in samples)]


def quarter_peaks(samples: list[Sample]) -> tuple[int, int]:
    """The most bytes held in the first and in the last quarter of a run, without its warm-up if it is longer."""
    warm = [one for one in samples if one[0] >= WARM_UP_SECONDS] or samples
    quarter = max(1, len(warm) // 4)
    totals = [driver + decoding for _, driver, decoding, *_ in warm]
    return max(totals[:quarter]), max(totals[-quarter:])


def _length_problems(work: Path, frames: int) -> list[str]:
    """Where features or scores are not exactly as long as the video, one line each."""
    problems = []
    for stream in ("rgb", "flow"):
        row = manifest_rows(work).get(("extract", f"{stream}/long"), {"info": {}})
        if row["info"].get("frames") != frames or row["info"].get("warnings"):
            problems.append(f"{stream}: {row['info']} instead of {frames} frames")
    path = work / "scores" / "long.csv"
    numbers = np.loadtxt(path, delimiter=",", skiprows=1, usecols=0, dtype=int) if path.exists() else np.array([])
    if not np.array_equal(numbers, np.arange(frames)):
        problems.append(f"{len(numbers)} scores instead of {frames}")
    return problems


def plot_memory(samples: list[Sample], title: str, path: Path) -> None:
    """Draw the memory over time as a small PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    minutes = [seconds / 60 for seconds, *_ in samples]
    figure, axes = pyplot.subplots(figsize=(6, 2.8), layout="constrained")
    axes.plot(minutes, [(driver + decoding) / MB for _, driver, decoding, *_ in samples], label="together")
    axes.plot(minutes, [driver / MB for _, driver, *_ in samples], label="driver")
    axes.plot(minutes, [decoding / MB for _, _, decoding, *_ in samples], label="decoders")
    axes.set(title=title, xlabel="minutes", ylabel="MB", ylim=(0, None))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
