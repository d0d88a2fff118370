"""What `extract.still: skip` saves on mostly still footage, and what it costs.

    python -m benchmarks.still_footage [--minutes 60] [--moving 0.05] [--scores] [--traps] [--data DIR]

It makes footage of three places that are real: the walkway of UCSD Ped2, the office of UR Fall and a room of the
surveillance set. Each is its empty background, with stretches of the real videos in it, at 360 lines, with the noise of
a sensor on every frame, encoded as cameras do (H.264, a key frame every two seconds, no B-frames). Then
`lad extract` runs on it with and without, in turn, and the table says what that took (processor seconds of all
processes), which clips were left out, and how the scores of the detector that comes with `lad` differ.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from lad.clip import CLIP_FRAMES
from lad.evaluation.metrics import roc_auc
from lad.extract import process_setup
from lad.extract.clips import ClipSpec, seen_clips
from lad.extract.readers import open_reader, read_frames
from lad.files import frame_files
from lad.pipeline.scored import read_scores
from lad.work.manifest import read_manifest

DATA = Path(os.environ.get("LAD_DATA", Path(__file__).parents[1] / "../shared/data"))
WORK = Path("runs/still")  # what a measurement writes; it may be deleted
FPS = 25
LINES = 360
FIELDS = 32  # of noise, each of which is shifted anew for every frame
CAMERA = {"preset": "veryfast", "crf": "26", "g": "50", "bf": "0"}  # of libx264
MOST_BACKGROUND = 60  # frames that the background is the median of


@dataclass(frozen=True)
class Stretch:
    """A real video: its frames `(n, height, width, 3)` uint8 RGB, and which of them are in an event."""

    frames: np.ndarray
    abnormal: np.ndarray


@dataclass(frozen=True)
class Place:
    """A camera: what it sees when nothing happens, and what happens.

    Attributes:
        background: `(height, width, 3)` uint8 RGB.
        noise: standard deviation in grey levels of the darkest pixels, and of the brightest.
        flicker: share by which lamps on the mains change the light, in bands that run over the picture.
        drift: share by which the exposure changes in ten minutes, up and down.
        rain: streaks in a frame.
    """

    name: str
    background: np.ndarray
    stretches: Sequence[Stretch]
    noise: tuple[float, float] = (1.5, 3.0)
    flicker: float = 0.0
    drift: float = 0.0
    rain: int = 0


@dataclass
class Truth:
    """Of each frame of a piece of footage whether it is of a stretch, and whether it is in an event."""

    moving: list[bool] = field(default_factory=list)
    abnormal: list[bool] = field(default_factory=list)


def at_lines(frame: np.ndarray) -> np.ndarray:
    """A frame at `LINES` lines, its width even."""
    height, width = frame.shape[:2]
    return cv2.resize(frame, (round(width * LINES / height / 2) * 2, LINES), interpolation=cv2.INTER_AREA)


def real_frames(path: Path) -> np.ndarray:
    """All frames of a short video at `LINES` lines."""
    return np.stack([at_lines(frame) for frame in read_frames(open_reader(path))])


def places(data: Path) -> list[Place]:
    """The three cameras."""
    return [walkway(data), office(data), room(data)]


def walkway(data: Path) -> Place:
    """UCSD Ped2: the background is the median of its training videos, stretches are its test videos."""
    import scipy.io

    ped2 = data / "ucsd_ped2"
    empty = [at_lines(np.asarray(cv2.imread(str(file)))) for folder in sorted((ped2 / "training/frames").iterdir())
             for file in frame_files(folder)[::60]]  # fmt: skip
    truth = scipy.io.loadmat(ped2 / "ped2.mat")["gt"][0]
    stretches = []
    for folder, intervals in zip(sorted((ped2 / "testing/frames").iterdir()), truth, strict=True):
        frames = real_frames(folder)
        abnormal = np.zeros(len(frames), bool)
        for start, end in np.reshape(intervals, (2, -1)).T:
            abnormal[start - 1 : end] = True
        stretches.append(Stretch(frames, abnormal))
    return Place("walkway", np.median(empty, axis=0).astype(np.uint8), stretches, drift=0.2)


def office(data: Path) -> Place:
    """UR Fall: falls in an office, which is dark here, so that the sensor is noisier, under lamps that flicker."""
    stretches = list(listed(data / "ur_fall", "fall-", limit=30))
    return Place("office", background_of(stretches), stretches, noise=(3.0, 5.0), flicker=0.03)


def room(data: Path) -> Place:
    """The surveillance set: falls and daily activities of one person in one room."""
    stretches = list(listed(data / "surveillance", "subject3_", limit=10))
    same = [one for one in stretches if one.frames.shape[1:] == stretches[0].frames.shape[1:]]
    return Place("room", background_of(same), same)


def listed(folder: Path, prefix: str, limit: int) -> Iterator[Stretch]:
    """Videos of a `dataset.csv` whose file names begin so."""
    with (folder / "dataset.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if Path(row["path"]).name.startswith(prefix)]
    for row in rows[:limit]:
        frames = real_frames(folder / row["path"])
        abnormal = np.zeros(len(frames), bool)
        for event in filter(None, row["events"].split(";")):
            start, end = map(int, event.split("-"))
            abnormal[start:end] = True
        yield Stretch(frames, abnormal)


def background_of(stretches: Sequence[Stretch]) -> np.ndarray:
    """What videos of one camera show most of the time."""
    frames = np.concatenate([one.frames[:: max(1, len(one.frames) // 4)] for one in stretches])
    return np.median(frames[:: max(1, len(frames) // MOST_BACKGROUND)], axis=0).astype(np.uint8)


def play(place: Place, frames: int, moving: float, truth: Truth, seed: int = 0) -> Iterator[np.ndarray]:
    """So many frames of a place, of which about a share is of its stretches; without a sensor's faults."""
    rng = np.random.default_rng(seed)
    longest = (
        round(sum(len(one.frames) for one in place.stretches) / len(place.stretches) / moving) if moving else frames
    )
    number = 0
    while len(truth.moving) < frames:
        quiet = round(longest * (1 - moving) * (rng.uniform(0.8, 1.2) if number else 0.5))
        for _ in range(min(quiet, frames - len(truth.moving))):
            truth.moving.append(False)
            truth.abnormal.append(False)
            yield place.background
        if moving and len(truth.moving) < frames:
            stretch = place.stretches[number % len(place.stretches)]
            number += 1
            for frame, abnormal in zip(stretch.frames, stretch.abnormal, strict=True):
                truth.moving.append(True)
                truth.abnormal.append(bool(abnormal))
                yield frame


def film(place: Place, frames: Iterator[np.ndarray], seed: int = 0) -> Iterator[np.ndarray]:
    """Frames as a camera gives them: with its noise, under its light, in its weather."""
    rng = np.random.default_rng(seed)
    height, width = place.background.shape[:2]
    fields = rng.standard_normal((FIELDS, height, width, 1), dtype=np.float32)
    dark, bright = place.noise
    sigma = np.sqrt(dark**2 + (bright**2 - dark**2) * place.background.mean(axis=2, keepdims=True) / 255)
    fields *= sigma.astype(np.float32)
    rows = np.arange(height)[:, None, None]
    for number, frame in enumerate(frames):
        light = 1 + place.drift * np.sin(2 * np.pi * number / (FPS * 600))
        picture = frame.astype(np.float32)
        if place.flicker:
            light = light + place.flicker * np.sin(2 * np.pi * (rows / height * 1.7 + number * 0.13))
        if place.flicker or place.drift:
            picture *= np.asarray(light, np.float32)
        if place.rain:
            picture = cv2.addWeighted(picture, 1.0, streaks(rng, (height, width), place.rain), 0.35, 0.0)
        noise = np.roll(fields[rng.integers(FIELDS)], rng.integers(height), axis=0)
        picture += np.roll(noise, rng.integers(width), axis=1)
        yield np.clip(picture, 0, 255).astype(np.uint8)


def streaks(rng: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    """Rain: short bright lines, at other places in every frame."""
    drawn = np.zeros((*shape, 3), np.float32)
    for x, y, length in zip(rng.integers(0, shape[1], count), rng.integers(0, shape[0], count),
                            rng.integers(8, 24, count), strict=True):  # fmt: skip
        cv2.line(drawn, (int(x), int(y)), (int(x) + 2, int(y + length)), (200, 200, 200), 1)
    return drawn


def encode(path: Path, frames: Iterator[np.ndarray], options: dict[str, str]) -> None:
    """Write an mp4 as cameras encode."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options=options)
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 2
        for number, image in enumerate(frames):
            if not number:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make(place: Place, minutes: float, moving: float) -> Path:
    """A folder with one piece of footage, and what is true of it beside that; made once."""
    folder = WORK / f"{place.name}_{minutes:g}_{moving:g}"
    if not (folder / "truth.npz").exists():
        (folder / "videos").mkdir(parents=True, exist_ok=True)
        truth, frames = Truth(), round(minutes * 60 * FPS)
        encode(folder / "videos" / f"{place.name}.mp4", film(place, play(place, frames, moving, truth)), CAMERA)
        np.savez(folder / "truth.npz", moving=truth.moving, abnormal=truth.abnormal)
    return folder


def lad(command: str, folder: Path, still: str, options: Sequence[str] = ()) -> tuple[float, float]:
    """Run a command of `lad` on a footage anew -> processor seconds of all its processes, and seconds."""
    work = folder / f"{command}_{still}"
    shutil.rmtree(work, ignore_errors=True)
    arguments = [sys.executable, "-m", "lad", command, "-q", "--device", "cpu", "--work", str(work)]
    arguments += ["-o", f"extract.still={still}", *options, str(folder / "videos")]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return taken, time.perf_counter() - began


def left_out(folder: Path, command: str) -> np.ndarray:
    """`(clips,)` bool: which clips were not seen, as the manifest has it."""
    with read_manifest(folder / f"{command}_skip") as manifest:
        row = next(iter(manifest.items("extract").values()))  # all arrays of features have the same
    clips = np.zeros(-(-row.info["frames"] // CLIP_FRAMES), bool)
    for start, end in row.info["still"]:
        clips[start:end] = True
    return clips


def by_clip(flags: np.ndarray, share: float = 0.0) -> np.ndarray:
    """`(clips,)` bool: clips of which more than a share of the frames have a flag."""
    padded = np.append(flags, np.zeros(-len(flags) % CLIP_FRAMES, bool)).reshape(-1, CLIP_FRAMES)
    return padded.mean(axis=1) > share


def reading_seconds(folder: Path) -> float:
    """Processor seconds of a decoder that leaves still clips out: reading, judging, and cutting the others."""
    (video,) = (folder / "videos").iterdir()
    process_setup.prepare()
    began = time.process_time()
    for _ in seen_clips(open_reader(video, lazy=True), ClipSpec(("rgb",), still=1)):
        pass
    return time.process_time() - began


def scores_of(folder: Path, still: str) -> np.ndarray:
    """`(frames,)` scores that `lad score` wrote."""
    (video,) = (folder / "videos").iterdir()
    (file,) = (folder / f"score_{still}" / "scores").glob(f"**/{video.stem}*.csv")
    return read_scores(file)


def measure(folders: Sequence[Path], *, with_scores: bool) -> Iterator[tuple[str, str]]:
    """The lines of the table."""
    start = WORK / "start"
    if not start.exists():
        (start / "videos").mkdir(parents=True)
        encode(start / "videos" / "a.mp4", iter([np.zeros((LINES, LINES, 3), np.uint8)] * CLIP_FRAMES), CAMERA)
    begun, _ = lad("extract", start, "see")
    taken = dict.fromkeys(("see", "skip"), 0.0)
    seconds, reading, clips = 0.0, 0.0, 0
    out: list[np.ndarray] = []
    moving: list[np.ndarray] = []
    abnormal: list[np.ndarray] = []
    scores: dict[str, list[np.ndarray]] = {still: [] for still in taken}
    truths: list[np.ndarray] = []
    for folder in folders:
        truth = np.load(folder / "truth.npz")
        for how in taken:
            taken[how] += lad("extract", folder, how)[0] - begun
            if with_scores:
                lad("score", folder, how)
                scores[how].append(scores_of(folder, how))
        reading += reading_seconds(folder)
        seconds += len(truth["moving"]) / FPS
        out.append(left_out(folder, "extract"))
        moving.append(by_clip(truth["moving"]))
        abnormal.append(by_clip(truth["abnormal"]))
        truths.append(truth["abnormal"])
        clips += len(out[-1])
        yield f"{folder.name}: clips left out", f"{out[-1].mean():.1%}"
    still, moves, events = (np.concatenate(flags) for flags in (out, moving, abnormal))
    yield (
        "footage",
        f"{seconds / 60:.0f} minutes, {clips} clips, {moves.mean():.1%} of them with frames of a real video",
    )
    yield "processor seconds, every clip seen", f"{taken['see']:.0f}"
    yield (
        "processor seconds, still clips left out",
        f"{taken['skip']:.0f}, {taken['see'] / taken['skip']:.1f} times less",
    )
    yield "clips left out", f"{still.mean():.1%}"
    yield "clips left out of those with frames of a real video", f"{(still & moves).sum()} of {moves.sum()}"
    yield "clips left out of those with frames of an event", f"{(still & events).sum()} of {events.sum()}"
    yield "a decoder's processor seconds for an hour", f"{reading / seconds * 3600:.0f}"
    if with_scores:
        auc = {one: roc_auc(np.concatenate(truths), np.concatenate(scores[one])) for one in scores}
        yield (
            "frame AUC of the detector that comes with lad",
            f"{auc['see']:.4f}, {auc['skip']:.4f} with clips left out",
        )


TRAPS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "weak noise": ({}, CAMERA),
    "night with much gain": ({"noise": (8.0, 12.0)}, CAMERA),
    "lamps that flicker": ({"flicker": 0.04}, CAMERA),
    "rain": ({"rain": 150}, CAMERA),
    "few bits": ({}, {**CAMERA, "crf": "32"}),
    "constant bit rate": (
        {},
        {"preset": "veryfast", "b": "400k", "maxrate": "400k", "bufsize": "400k", "g": "50", "bf": "0"},
    ),
    "B-frames": ({}, {"preset": "veryfast", "crf": "23", "g": "250"}),
    "exposure that changes": ({"drift": 0.5}, CAMERA),
}


def traps(found: Sequence[Place], seconds: int = 70) -> Iterator[tuple[str, str]]:
    """How much is left out where nothing moves, but something is wrong with the footage: clips, and batches of four."""
    path = WORK / "trap.mp4"
    WORK.mkdir(parents=True, exist_ok=True)
    for name, (faults, codec) in TRAPS.items():
        shares = []
        for place in found:
            filmed = replace(place, **{"noise": (1.5, 3.0), "flicker": 0.0, "drift": 0.0, **faults})
            encode(path, film(filmed, play(filmed, seconds * FPS, 0.0, Truth())), codec)
            for piece in (1, 4):
                cut = seen_clips(open_reader(path, lazy=True), ClipSpec(("rgb",), still=piece))
                still = [one for _, flags in cut for one in flags]
                shares.append(float(np.mean(still[piece : len(still) // piece * piece])))
        yield name, ", ".join(f"{share:.0%}" for share in shares[::2] + shares[1::2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="of footage, all places together")
    parser.add_argument("--moving", type=float, default=0.05, help="share of it in which something happens")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--scores", action="store_true", help="score it too: takes twice as long")
    parser.add_argument("--traps", action="store_true", help="how much is left out of faulty footage, and no more")
    asked = parser.parse_args()
    found = places(asked.data)
    if asked.traps:
        for fault, share in traps(found):
            print(f"| {fault} | {share} |", flush=True)
        return
    folders = [make(place, asked.minutes / len(found), asked.moving) for place in found]
    print("| what | |\n|---|---|")
    for what, figure in measure(folders, with_scores=asked.scores):
        print(f"| {what} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
