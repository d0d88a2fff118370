"""How much sooner a detector learns if `lad review --next` says what to look at: simulated verdicts.

    python -m benchmarks.review_order --work DIR [--out FILE] [--choose]

DIR is a work directory in which `lad extract -c surveillance` is done. At first nothing of the training half is
labelled. Ten moments are drawn at random and their true labels told, those of an event and of none among them; both
sides begin with the same ten. Then five are told at a time: those that the order names, or random ones. After each five
a linear detector is trained on what is known, 40 steps, and scored.

With --choose the orders are compared within the training half: the moments are of four fifths of the sources, AUC is
that of the others. So the order was chosen. Without it the chosen one and chance are held against each other by the
test split. Each curve is kept in DIR/review_order until the code changes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import lad.detector.review_order as review_order
from lad.config import load_config
from lad.dataset import Video, read_dataset
from lad.detector.scoring import score_features
from lad.detector.training import Fit, Setup
from lad.detector.training_windows import TrainingVideo
from lad.detector.validation import divide
from lad.evaluation.metrics import roc_auc
from lad.features.video import ClipFeatures, VideoFeatures
from lad.files import file_sha256, fingerprint, write_json, write_text
from lad.tables import markdown_table

ORDERS = ("random", "doubt", "far", "both")  # near the threshold, far from what is labelled, or one times the other
CHOSEN = "both"
START, BATCH, MOST = 10, 5, 60
STEPS, WINDOW, FOLDS, SEEDS = 40, 3, 5, 5
THRESHOLD = 0.5
CLASSES = ["Falling", "Fighting"]


@dataclass(frozen=True)
class Clip:
    """A surveillance clip: what is true of it, and its features in memory."""

    video: Video
    source: VideoFeatures
    features: ClipFeatures
    truth: np.ndarray

    def known(self, told: Sequence[review_order.Moment]) -> TrainingVideo:
        """It with the true labels of the moments that were told, and no others."""
        labelled = np.zeros(len(self.truth), dtype=bool)
        for moment in told:
            labelled[moment.start : moment.end] = True
        label = CLASSES.index(self.video.categories[0])
        return TrainingVideo(self.source, self.features, self.truth & labelled, label, labelled)


def load(work: Path) -> list[Clip]:
    clips = []
    for video in read_dataset(work / "dataset.csv"):
        path = work / "features" / "rgb" / f"{video.id}.npy"
        times = np.load(work / "features" / "times" / f"{video.id}.npy")
        source = VideoFeatures([path], work / "features" / "times" / f"{video.id}.npy", len(times), video.fps or 25.0)
        array = np.load(path)
        features = ClipFeatures([array if array.ndim == 3 else array[None]])
        clips.append(Clip(video, source, features, video.frame_labels(len(times))))
    return clips


def train(known: Sequence[TrainingVideo], seed: int, folder: Path) -> torch.nn.Module:
    config = load_config(Path("surveillance"), [f"train.seed={seed}"]).train
    config = config.model_copy(update={"steps": STEPS, "evaluate_every": STEPS})
    shutil.rmtree(folder, ignore_errors=True)
    fit = Fit(Setup(config, "mean", CLASSES, "cpu", "simulated"), folder, known, [], keep_best=False)
    for _ in fit.run(STEPS):
        pass
    fit.model.eval()
    return fit.model


def frame_scores(model: torch.nn.Module, clip: Clip) -> np.ndarray:
    return clip.source.timeline().by_frame(score_features(model, clip.features).clips)  # type: ignore[arg-type]


def curve(pool: Sequence[Clip], tested: Sequence[Clip], how: str, seed: int, folder: Path) -> dict[int, float | None]:
    """AUC on `tested` by the number of verdicts."""
    rng = np.random.default_rng(seed)
    by_id = {clip.video.id: clip for clip in pool}
    everything = [moment for clip in pool for moment in cut(clip, np.zeros(len(clip.truth)), [])[0]]
    told = start(everything, by_id, rng)
    found: dict[int, float | None] = {}
    while True:
        known = [by_id[name].known(said) for name, said in by_video(told).items()]
        model = train(known, seed, folder)
        truth = np.concatenate([clip.truth for clip in tested])
        found[len(told)] = roc_auc(truth, np.concatenate([frame_scores(model, clip) for clip in tested]))
        if len(told) + BATCH > min(MOST, len(everything)):
            return found
        if how == "random":
            left = [moment for moment in everything if key(moment) not in set(map(key, told))]
            told += [left[index] for index in rng.permutation(len(left))[:BATCH]]
        else:
            told += suggested(pool, told, model, how)


def suggested(
    pool: Sequence[Clip], told: Sequence[review_order.Moment], model: torch.nn.Module, how: str
) -> list[review_order.Moment]:
    said = by_video(told)
    candidates: list[review_order.Moment] = []
    points: list[np.ndarray] = []
    known: list[np.ndarray] = []
    for clip in pool:
        new, old = cut(clip, frame_scores(model, clip), said.get(clip.video.id, []))
        candidates += new
        points.append(review_order.describe(clip.features, new))
        known.append(review_order.describe(clip.features, old))
    ranked = review_order.order(
        np.array([moment.certainty for moment in candidates]),
        np.concatenate(points),
        np.concatenate(known),
        doubt=how != "far",
        far=how != "doubt",
    )
    return [candidates[index] for index, _ in zip(ranked, range(BATCH), strict=False)]


def cut(
    clip: Clip, scores: np.ndarray, said: Sequence[review_order.Moment]
) -> tuple[list[review_order.Moment], list[review_order.Moment]]:
    labelled = np.zeros(len(clip.truth), dtype=bool)
    for moment in said:
        labelled[moment.start : moment.end] = True
    timeline, clips = clip.source.timeline(), clip.features.clips
    return review_order.moments_of(clip.video.id, timeline, clips, scores, labelled, THRESHOLD, WINDOW)


def start(
    everything: Sequence[review_order.Moment], by_id: dict[str, Clip], rng: np.random.Generator
) -> list[review_order.Moment]:
    """Moments to begin with, at random, of both kinds."""
    while True:
        drawn = [everything[index] for index in rng.permutation(len(everything))[:START]]
        kinds = [by_id[one.video].truth[one.start : one.end].any() for one in drawn]
        if any(kinds) and not all(kinds):
            return drawn


def by_video(told: Sequence[review_order.Moment]) -> dict[str, list[review_order.Moment]]:
    found: dict[str, list[review_order.Moment]] = {}
    for moment in told:
        found.setdefault(moment.video, []).append(moment)
    return found


def key(moment: review_order.Moment) -> tuple[str, int]:
    return moment.video, moment.start


def kept(place: Path, name: str, facts: object, make: Callable[[], dict[int, float | None]]) -> dict[int, float | None]:
    path, today = place / f"{name}.json", fingerprint(facts)
    if path.exists() and (saved := json.loads(path.read_text(encoding="utf-8")))["of"] == today:
        return {int(count): auc for count, auc in saved["auc"].items()}
    found = make()
    write_json(path, {"of": today, "auc": found})
    print(f"{name}: {', '.join(f'{count}: {auc:.3f}' for count, auc in found.items() if auc is not None)}", flush=True)
    return found


def rounds(clips: Sequence[Clip], choose: bool) -> Iterator[tuple[str, list[Clip], list[Clip]]]:
    """Name, the moments' videos, those whose AUC is measured."""
    half = [clip for clip in clips if clip.video.split == "train"]
    if not choose:
        yield "test", half, [clip for clip in clips if clip.video.split == "test"]
        return
    for number, held_out in enumerate(divide([clip.video for clip in half], FOLDS, 0)):
        names = {video.id for video in held_out}
        yield f"fold_{number}", [c for c in half if c.video.id not in names], [c for c in half if c.video.id in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="work directory with the features")
    parser.add_argument("--out", type=Path, help="file for the table [default: stdout]")
    parser.add_argument("--choose", action="store_true", help="compare all orders within the training half")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # so small a network is slower on two
    clips, place = load(arguments.work), arguments.work / "review_order"
    code = [file_sha256(Path(file)) for file in (__file__, review_order.__file__)]
    orders = ORDERS if arguments.choose else ("random", CHOSEN)
    curves: dict[str, list[dict[int, float | None]]] = {how: [] for how in orders}
    for how in orders:
        for seed in range(SEEDS):
            parts = []
            for name, pool, tested in rounds(clips, arguments.choose):

                def make(
                    pool: list[Clip] = pool, tested: list[Clip] = tested, how: str = how, seed: int = seed
                ) -> dict[int, float | None]:
                    return curve(pool, tested, how, seed, place / "fit")

                parts.append(kept(place, f"{name}_{how}_{seed}", [code, name, how, seed], make))
            curves[how].append(mean_of(parts))
    table = as_table(curves)
    if arguments.out:
        write_text(arguments.out, table)
    print(table)


def mean_of(parts: Sequence[dict[int, float | None]]) -> dict[int, float | None]:
    counts = parts[0]
    known = {count: [part[count] for part in parts if part.get(count) is not None] for count in counts}
    return {count: float(np.mean(values)) if values else None for count, values in known.items()}  # type: ignore[arg-type]


def as_table(curves: dict[str, list[dict[int, float | None]]]) -> str:
    """A row for each number of verdicts: mean over the seeds, the lowest and the highest; the difference, paired."""
    names = list(curves)
    header = ["verdicts", *names, *(f"{name} less random" for name in names if name != "random")]
    rows = []
    for count in curves[names[0]][0]:
        if count % 10:
            continue
        at = {name: np.array([one[count] for one in curves[name]], dtype=float) for name in names}
        row = [str(count), *(f"{at[name].mean():.3f} ({at[name].min():.3f} .. {at[name].max():.3f})" for name in names)]
        rows.append([*row, *(difference(at[name] - at["random"]) for name in names if name != "random")])
    whole = {name: np.array([np.mean(list(one.values())) for one in curves[name]]) for name in names}
    row = ["mean of all", *(f"{whole[n].mean():.3f} ({whole[n].min():.3f} .. {whole[n].max():.3f})" for n in names)]
    rows.append([*row, *(difference(whole[name] - whole["random"]) for name in names if name != "random")])
    return markdown_table(header, rows)


def difference(paired: np.ndarray) -> str:
    """Mean and 95 % interval by Student's t over the seeds."""
    half = 2.776 * paired.std(ddof=1) / len(paired) ** 0.5  # t of 4 degrees of freedom
    return f"{paired.mean():+.3f} ({paired.mean() - half:+.3f} .. {paired.mean() + half:+.3f})"


if __name__ == "__main__":
    main()
