"""What a camera's normal footage is worth: how the scores get better with so many seconds of it, and in which form.

    python -m benchmarks.known_camera [--data DIR] [--work runs/accuracy] [--test] [--pages docs]

`benchmarks.accuracy` has made the features. Detectors of configs/surveillance.yaml are trained in memory.

- cross-validation: the sources of the training half are dealt into five parts, three times. Each part is scored by a
  detector that the other four taught. By these numbers the form was chosen.
- UR Fall: scored by a detector that the training half taught. For measuring alone.
- with --test: the test half, by the same detector. No form was chosen after that.

A video is scored by what is known of its camera without the video itself. A source has few normal videos, so an
abnormal one does without one of them, too: else it would be known by more footage than the normal ones are, and the
amount of footage would tell them apart.

How it is chosen, written before anything was measured: by cross-validation with all footage. A form is taken in place
of a shift only if the 95 % interval of its difference (bootstrap over the sources) is above 0. So is a shift in place
of nothing, unless it does no harm to AUC and lowers the calibration error. Of equally good m the one in the middle is
taken. Nothing is chosen by UR Fall or by the test half, and the test half is looked at once, whatever it says. (It was
looked at three times: docs/results.md says why.)

Forms, of which each has a number `m` of clips that count as much as knowing nothing (n clips count n / (n + m)):

- shift: the log-odds of all scores, by how far the mean of normal footage is from what it usually is. For a linear
  detector that is the same as to subtract the camera's mean features from all features, when it scores.
- centre: the detector also learned from features relative to their camera's mean.
- centre and scale: relative to their camera's deviation, too.
- lowest third: a shift by the lowest third of the camera's own unlabelled scores.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.accuracy_rows import ROOT, WORK
from benchmarks.page import between
from lad.clip import CLIP_FRAMES
from lad.config import load_config
from lad.dataset import Video, read_dataset
from lad.detector.calibration import Calibration, fit_calibration, log_odds
from lad.detector.scoring import score_features
from lad.detector.training import Fit, Setup
from lad.detector.training_windows import TrainingVideo
from lad.detector.validation import divide
from lad.evaluation.bootstrap import Measured, interval, resampled
from lad.evaluation.metrics import roc_auc
from lad.evaluation.reliability import calibration_error, reliability
from lad.extract.sampling import Timeline
from lad.features.recipe import configured_streams
from lad.features.video import ClipFeatures, VideoFeatures
from lad.tables import markdown_table

CLASSES = ["Falling", "Fighting"]
STEPS = 120  # what cross-validation chooses on the training half
DIVISIONS, PARTS = 3, 5
SECONDS = (5.0, 15.0, 60.0)
NOTHING, ALL = "nothing", "all footage"
EVENTS = (0.1, 0.3)  # shares of the footage that holds events all the same
DRAWS = 3  # of footage, where not all of it is taken
SHRINK = (1.0, 4.0, 16.0)
CHOSEN = 4.0
VARIANCE_CLIPS = 32.0  # of the usual deviation, that count as much as a camera's own


@dataclass(frozen=True)
class Clip:
    """A video with its features in memory."""

    video: Video
    source: VideoFeatures
    rows: np.ndarray  # (clips, D)
    truth: np.ndarray  # (frames,) bool

    @cached_property
    def timeline(self) -> Timeline:
        return self.source.timeline()

    @cached_property
    def quiet(self) -> np.ndarray:
        """The clips without a frame of an event."""
        return np.flatnonzero(~self.timeline.by_clip(self.truth, len(self.rows))[0].any(axis=1))

    @cached_property
    def eventful(self) -> np.ndarray:
        """The clips of which at least half are an event."""
        return np.flatnonzero(self.timeline.by_clip(self.truth, len(self.rows))[0].mean(axis=1) >= 0.5)

    def measured(self, odds: np.ndarray) -> Measured:
        """It with log-odds of its clips."""
        by_frame = self.timeline.by_frame(np.repeat(odds[:, None], CLIP_FRAMES, axis=1))
        return Measured(self.video.id, self.video.group, self.truth, by_frame)

    def known(self, rows: np.ndarray | None = None) -> TrainingVideo:
        features = ClipFeatures([(self.rows if rows is None else rows)[None].astype(np.float32)])
        label = CLASSES.index(self.video.categories[0])
        return TrainingVideo(self.source, features, self.truth, label, group=self.video.group)


def load(data: Path, features: Path) -> list[Clip]:
    """The videos of a dataset.csv whose features lie in a work directory."""
    clips, streams = [], configured_streams(load_config(Path("surveillance"), []).extract)
    for video in read_dataset(data / "dataset.csv", data):
        *paths, times = (features / "features" / kind / f"{video.id}.npy" for kind in (*streams, "times"))
        frames = len(np.load(times))
        source = VideoFeatures(paths, times, frames, video.fps or 25.0)
        clips.append(Clip(video, source, np.hstack([np.load(path) for path in paths]), video.frame_labels(frames)))
    return clips


def trained(clips: Sequence[Clip], features: Sequence[np.ndarray], folder: Path) -> torch.nn.Module:
    """A detector of the recipe."""
    train = load_config(Path("surveillance"), []).train.model_copy(update={"steps": STEPS, "evaluate_every": STEPS})
    known = [clip.known(rows) for clip, rows in zip(clips, features, strict=True)]
    shutil.rmtree(folder, ignore_errors=True)
    fit = Fit(Setup(train, "mean", CLASSES, "cpu", "known camera"), folder, known, [], keep_best=False)
    for _ in fit.run(STEPS):
        pass
    return fit.model.eval()


def odds_of(model: torch.nn.Module, clip: Clip, rows: np.ndarray) -> np.ndarray:
    """`(clips,)` log-odds of the scores of its clips."""
    features = ClipFeatures([rows[None].astype(np.float32)])
    scores = score_features(model, features).clips  # type: ignore[arg-type]
    return log_odds(scores.mean(axis=1))


Footage = dict[str, list[tuple[int, np.ndarray]]]  # id of a video -> which clips of which other videos are known


def footage_of(
    clips: Sequence[Clip], seconds: float | None, share: float = 0.0, seed: int = 0, fair: bool = True
) -> Footage:
    """By what each video's camera is known.

    Args:
        clips: the videos.
        seconds: of footage; None: all that there is.
        share: of it that holds events.
        seed: of which footage is taken.
        fair: an abnormal video does without one normal video, as a normal one does without itself.
    """
    draw = random.Random(seed)
    found: Footage = {}
    for index, clip in enumerate(clips):
        others = [n for n, one in enumerate(clips) if one.video.group == clip.video.group and n != index]
        draw.shuffle(others)
        whole = [n for n in others if not clips[n].truth.any()]
        if fair and clip.truth.any():
            whole = whole[1:]
        parts = [n for n in others if clips[n].truth.any()]
        normal = [(n, place) for n in [*whole, *parts] for place in clips[n].quiet]
        wanted = len(normal)
        if seconds is not None:
            wanted = min(wanted, round(seconds * clip.source.fps / CLIP_FRAMES))
        events = [(n, place) for n in parts for place in clips[n].eventful]
        draw.shuffle(events)
        taken = events[: round(share * wanted)]
        taken += normal[: wanted - len(taken)]
        by_video: dict[int, list[int]] = {}
        for n, place in taken:
            by_video.setdefault(n, []).append(int(place))
        found[clip.video.id] = [(n, np.array(sorted(places))) for n, places in by_video.items()]
    return found


def shifted(
    odds: Sequence[np.ndarray], clips: Sequence[Clip], footage: Footage, usual: float, m: float
) -> list[np.ndarray]:
    """Log-odds of each video, shifted by its camera's footage."""
    found = []
    for clip, own in zip(clips, odds, strict=True):
        levels = [odds[n][places] for n, places in footage[clip.video.id]]
        known = np.concatenate(levels) if levels else np.zeros(0)
        level = known.mean() if len(known) else usual
        found.append(own - len(known) / (len(known) + m) * (level - usual))
    return found


def lowest_third(odds: Sequence[np.ndarray], clips: Sequence[Clip], usual: float, m: float) -> list[np.ndarray]:
    """Log-odds of each video, shifted by the lowest third of its camera's, whatever that shows."""
    found = []
    for clip, own in zip(clips, odds, strict=True):
        same = [one for other, one in zip(clips, odds, strict=True) if other.video.group == clip.video.group]
        level = np.sort(np.concatenate(same))
        level = level[: max(len(level) // 3, 1)]
        found.append(own - len(level) / (len(level) + m) * (level.mean() - usual))
    return found


def relative(
    clips: Sequence[Clip], footage: Footage, middle: np.ndarray, spread: np.ndarray, m: float, scale: bool
) -> list[np.ndarray]:
    """Features of each video relative to its camera's."""
    found = []
    for clip in clips:
        rows = [clips[n].rows[places] for n, places in footage[clip.video.id]]
        known = np.concatenate(rows) if rows else clip.rows[:0]
        n = len(known)
        centre = middle + (n / (n + m) * (known.mean(axis=0) - middle) if n else 0)
        made = clip.rows - centre
        if scale:
            own = n * known.var(axis=0) if n else 0
            made = made / np.sqrt((own + VARIANCE_CLIPS * spread**2) / (n + VARIANCE_CLIPS) + 1e-8)
        found.append(made)
    return found


@dataclass(frozen=True)
class Model:
    """All that a set of training videos gives.

    Attributes:
        plain: a detector.
        usual: mean log-odds of normal footage.
        middle, spread: of the features of normal footage.
        centred: `m` -> a detector of centred features; scaled: one of scaled ones.
    """

    plain: torch.nn.Module
    usual: float
    middle: np.ndarray
    spread: np.ndarray
    centred: dict[float, torch.nn.Module]
    scaled: torch.nn.Module | None


def learn(clips: Sequence[Clip], folder: Path, *, forms: bool) -> Model:
    plain = trained(clips, [clip.rows for clip in clips], folder)
    quiet = np.concatenate([clip.rows[clip.quiet] for clip in clips])
    middle, spread = quiet.mean(axis=0), quiet.std(axis=0)
    usual = float(np.mean([odds_of(plain, clip, clip.rows)[clip.quiet].mean() for clip in clips if len(clip.quiet)]))
    make = partial(relative, clips, footage_of(clips, None), middle, spread)
    centred = {m: trained(clips, make(m, False), folder) for m in SHRINK} if forms else {}
    scaled = trained(clips, make(SHRINK[1], True), folder) if forms else None
    return Model(plain, usual, middle, spread, centred, scaled)


Variants = dict[str, list[Measured]]  # name -> each video with the log-odds of its frames
Found = dict[str, list[list[Measured]]]  # name -> the same of each division or draw


def variants(clips: Sequence[Clip], model: Model, seed: int) -> Variants:
    """What comes of each form and amount of footage."""
    plain = [odds_of(model.plain, clip, clip.rows) for clip in clips]
    found = {NOTHING: plain}
    everything = footage_of(clips, None, seed=seed)
    shift = partial(shifted, plain, clips, usual=model.usual)
    for seconds in SECONDS:
        found[f"{seconds:g} s"] = shift(footage_of(clips, seconds, seed=seed), m=CHOSEN)
    found[ALL] = shift(everything, m=CHOSEN)
    for share in EVENTS:
        found[f"all, {share:.0%} of it events"] = shift(footage_of(clips, None, share, seed), m=CHOSEN)
    if model.centred:
        found["all, more of it for abnormal videos"] = shift(footage_of(clips, None, seed=seed, fair=False), m=CHOSEN)
        found["its own scores, the lowest third"] = lowest_third(plain, clips, model.usual, CHOSEN)
    for m, centred in model.centred.items():
        if m != CHOSEN:
            found[f"all; shift, m = {m:g}"] = shift(everything, m=m)
        rows = relative(clips, everything, model.middle, model.spread, m, False)
        found[f"all; centre, m = {m:g}"] = [odds_of(centred, *one) for one in zip(clips, rows, strict=True)]
    if model.scaled:
        rows = relative(clips, everything, model.middle, model.spread, CHOSEN, True)
        name = f"all; centre and scale, m = {CHOSEN:g}"
        found[name] = [odds_of(model.scaled, *one) for one in zip(clips, rows, strict=True)]
    return {name: [clip.measured(one) for clip, one in zip(clips, odds, strict=True)] for name, odds in found.items()}


def of_part(clips: Sequence[Clip], folder: Path, division: int, number: int) -> Variants:
    """What a detector says of a part that it was not taught by."""
    torch.set_num_threads(1)  # so small a network is slower on two
    part = {video.id for video in divide([clip.video for clip in clips], PARTS, division)[number]}
    rest = [clip for clip in clips if clip.video.id not in part]
    model = learn(rest, folder / f"{division}_{number}", forms=True)
    return variants([clip for clip in clips if clip.video.id in part], model, division)


def of_others(taught: Sequence[Clip], clips: Sequence[Clip], folder: Path, forms: bool) -> Found:
    """What a detector says of other videos, for each draw of footage."""
    torch.set_num_threads(1)
    model = learn(taught, folder / ("forms" if forms else "others"), forms=forms)
    return gathered([variants(clips, model, draw) for draw in range(DRAWS)])


def gathered(repeats: Sequence[Variants]) -> Found:
    return {name: [one[name] for one in repeats] for name in repeats[0]}


def frames_of(videos: Sequence[Measured]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores of all frames."""
    scores = 1 / (1 + np.exp(-np.concatenate([one.scores for one in videos])))
    return np.concatenate([one.truth for one in videos]), scores


def error_of(videos: Sequence[Measured], others: Sequence[Measured] | None) -> float:
    """Calibration error by the calibration of other videos; None: by that of the other sources, for each source."""
    truth, probabilities = [], []
    for source in sorted({one.source for one in videos}) if others is None else [None]:
        known = [one for one in videos if one.source != source] if others is None else others
        calibration = fit_calibration(*frames_of(known)) or Calibration()
        labels, scores = frames_of([one for one in videos if source in (None, one.source)])
        truth.append(labels)
        probabilities.append(calibration(scores))
    return calibration_error(reliability(np.concatenate(truth), np.concatenate(probabilities)) or [])


def row(name: str, found: Found, taught: Found | None) -> list[str]:
    """A row of the table: AUC, how much more it is than with nothing known, calibration error."""
    repeats = found[name]
    auc = float(np.mean([roc_auc(*frames_of(one)) or 0.0 for one in repeats]))
    drawn, base = resampled(repeats)["auc"], resampled(found[NOTHING])["auc"]
    more = "" if name == NOTHING else _between(interval(drawn - base), "+.3f")
    error = error_of(repeats[0], taught[name][0] if taught else None)
    return [name, f"{auc:.3f} {_between(interval(drawn), '.2f')}", more, f"{error:.3f}"]


def table(pool: Executor, found: Found, taught: Found | None = None) -> str:
    """A row for each variant; `taught`: whose calibrations are taken; None: its own, of the other sources."""
    rows = list(pool.map(partial(row, found=found, taught=taught), found))
    header = ["known of the camera", "frame AUC", "more than with nothing known", "calibration error"]
    return markdown_table(header, rows)


def by_video(found: Found) -> Found:
    """Each video as its own source: what intervals are drawn over."""
    return {name: [[replace(v, source=v.id) for v in videos] for videos in one] for name, one in found.items()}


def within(found: Found) -> Found:
    """The videos with an event alone."""
    return {name: [[v for v in videos if v.truth.any()] for videos in one] for name, one in found.items()}


def _between(ends: tuple[float, float] | None, shape: str) -> str:
    return f"[{ends[0]:{shape}}, {ends[1]:{shape}}]" if ends else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    parser.add_argument("--work", type=Path, default=WORK, help="where `benchmarks.accuracy` has the features")
    parser.add_argument("--test", action="store_true", help="measure the test half, too")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--pages", type=Path, help="folder of results.md, which gets the tables")
    arguments = parser.parse_args()
    folder = arguments.work / "known_camera"
    clips = load(arguments.data / "surveillance", arguments.work / "surveillance" / "short_256_context")
    half, test = ([clip for clip in clips if clip.video.split == split] for split in ("train", "test"))
    tables = {}
    with ProcessPoolExecutor(arguments.workers) as pool:
        parts = {(d, n): pool.submit(of_part, half, folder, d, n) for d in range(DIVISIONS) for n in range(PARTS)}
        rooms = load(arguments.data / "ur_fall", arguments.work / "ur_fall")
        falls = pool.submit(of_others, half, rooms, folder, True)
        tested = pool.submit(of_others, half, test, folder, False) if arguments.test else None
        divisions = [[parts[d, n].result() for n in range(PARTS)] for d in range(DIVISIONS)]
        taught = gathered([{name: [v for part in one for v in part[name]] for name in one[0]} for one in divisions])
        tables["cross-validation"] = table(pool, taught)
        print(tables["cross-validation"], flush=True)
        tables["UR Fall"] = table(pool, by_video(falls.result()), taught)
        tables["UR Fall, videos with falls"] = table(pool, by_video(within(falls.result())), taught)
        if tested:
            tables["test"] = table(pool, tested.result(), taught)
    for name, lines in list(tables.items())[1:]:
        print(f"\n{name}\n\n{lines}")
    if arguments.pages:
        page = arguments.pages / "results.md"
        text = page.read_text()
        for name, lines in tables.items():
            text = between(text, f"known camera: {name}", lines.splitlines())
        page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
