"""How much sooner a detector learns if `lad review --next` says what to look at: simulated verdicts.

    python -m benchmarks.review_order --work DIR [--choose DIR] [--seeds 5] [--out FILE]

--work is a work directory in which `lad extract -c surveillance -o extract.layers=[]` is done. It goes as for somebody
who begins: nothing is labelled. A list of twenty moments is made, and their true labels are told one after the other;
then the next twenty. After each five a linear detector is trained, 40 steps, on what was told and on nothing else.
Until an event is among it there is nothing to train, which counts as an AUC of one half.

A seed deals the sources of the training half into five parts. Without each part in turn, the rest is a collection of
which moments are told. A seed's number is the mean over its five collections.

With --choose orders are compared within the training half: AUC is that of the part which was left out. Some orders ask
a detector what is near the threshold. For the first list that is one which was trained elsewhere: on all labels of the
directory that --choose names, a work directory with the features of UR Fall, 160 steps. For the later lists it is the
one that learned from the verdicts. Without --choose AUC is that of the test split, for the chosen order and chance.

Decided before the test split was looked at: the number is AUC after twenty verdicts, the chosen order less random, with
the 95 % interval of Student's t over the seeds; for five seeds and for twenty. All other numbers are beside it. An
earlier order (near the threshold times far), in another simulation, had been tried on the test split before.

Each curve is kept in DIR/review_order until the code changes.
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
from scipy.stats import t

import lad.detector.review_order as review_order
from lad.config import load_config
from lad.dataset import Video, read_dataset
from lad.detector.review_order import Moment
from lad.detector.scoring import score_features
from lad.detector.training import Fit, Setup
from lad.detector.training_windows import TrainingError, TrainingVideo
from lad.detector.validation import CHANCE, divide
from lad.evaluation.metrics import roc_auc
from lad.features.video import ClipFeatures, VideoFeatures
from lad.files import file_sha256, fingerprint, write_json, write_text
from lad.models.aed import UNKNOWN_CATEGORY
from lad.tables import markdown_table

RANDOM, NEAR, FAR, BOTH, THEN = "random", "near the threshold", "far from what is labelled", "both", "far, later both"
CHOSEN = FAR
LIST, EVERY, MOST = 20, 5, 60
STEPS, STEPS_ELSEWHERE, WINDOW, PARTS = 40, 160, 3, 5
THRESHOLD = 0.5
CLASSES = ["Falling", "Fighting"]

Curve = dict[int, float]  # AUC by the number of verdicts


@dataclass(frozen=True)
class Clip:
    """A clip of a camera: what is true of it, and its features in memory."""

    video: Video
    source: VideoFeatures
    features: ClipFeatures
    truth: np.ndarray

    def known(self, told: Sequence[Moment]) -> TrainingVideo:
        """It with the true labels of the moments that were told, and no others."""
        labelled = frames_of(told, len(self.truth))
        truth = self.truth & labelled
        label = CLASSES.index(self.video.categories[0]) if truth.any() else UNKNOWN_CATEGORY
        return TrainingVideo(self.source, self.features, truth, label, labelled)


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


def collections(clips: Sequence[Clip], seed: int, choose: bool) -> Iterator[tuple[str, list[Clip], list[Clip]]]:
    """Name, the clips of which moments are told, those whose AUC is measured."""
    half = [clip for clip in clips if clip.video.split == "train"]
    test = [clip for clip in clips if clip.video.split == "test"]
    for number, part in enumerate(divide([clip.video for clip in half], PARTS, seed)):
        names = {video.id for video in part}
        left_out = [clip for clip in half if clip.video.id in names]
        rest = [clip for clip in half if clip.video.id not in names]
        yield f"{'part' if choose else 'test'}_{seed}_{number}", rest, left_out if choose else test


def curve(
    pool: Sequence[Clip],
    tested: Sequence[Clip],
    how: str,
    seed: Sequence[int],
    elsewhere: torch.nn.Module | None,
    folder: Path,
) -> Curve:
    """AUC on `tested` by the number of verdicts on `pool`."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([clip.truth for clip in tested])
    told: list[Moment] = []
    model, found = elsewhere, {}
    for count in range(EVERY, MOST + 1, EVERY):
        if count > len(told):
            told += listed(pool, told, model, how, rng)
        learned = train(pool, told[:count], seed[0], folder)
        found[count] = CHANCE
        if learned is not None:
            scores = np.concatenate([frame_scores(learned, clip) for clip in tested])
            auc = roc_auc(truth, scores)
            found[count] = CHANCE if auc is None else auc
            model = learned
    return found


def listed(
    pool: Sequence[Clip], told: Sequence[Moment], model: torch.nn.Module | None, how: str, rng: np.random.Generator
) -> list[Moment]:
    """The next twenty moments."""
    new: list[Moment] = []
    points, known = [], []
    for clip in pool:
        scores = np.zeros(len(clip.truth)) if model is None else frame_scores(model, clip)
        said = frames_of([moment for moment in told if moment.video == clip.video.id], len(clip.truth))
        timeline, clips = clip.source.timeline(), clip.features.clips
        candidates, labelled = review_order.moments_of(clip.video.id, timeline, clips, scores, said, THRESHOLD, WINDOW)
        new += candidates
        points += [review_order.describe(clip.features, candidates)] if candidates else []
        known += [review_order.describe(clip.features, labelled)] if labelled else []
    described = np.concatenate(points)
    taught = np.concatenate(known) if known else described[:0]
    doubt = 1 - np.array([moment.certainty for moment in new])
    if how == RANDOM:
        ranked = rng.permutation(len(new)).tolist()
    elif how == NEAR:
        ranked = np.argsort(-doubt, kind="stable").tolist()
    elif how == BOTH or (how == THEN and told):
        ranked = by_product(doubt, described, taught)
    else:
        ranked = list(review_order.order(described, taught))
    return [new[index] for index in ranked[:LIST]]


def by_product(doubt: np.ndarray, candidates: np.ndarray, labelled: np.ndarray) -> list[int]:
    """Twenty candidates by doubt times the distance from all that is known by then."""
    both = np.concatenate([candidates, labelled])
    points = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), review_order.SMALLEST)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    known = list(range(len(candidates), len(both)))
    ranked: list[int] = []
    for _ in range(min(LIST, len(candidates))):
        far = distances[: len(candidates), known].min(axis=1) if known else np.ones(len(candidates))
        value = (doubt + review_order.SMALLEST) * far
        value[ranked] = -1
        ranked.append(int(value.argmax()))
        known.append(ranked[-1])
    return ranked


def train(pool: Sequence[Clip], told: Sequence[Moment], seed: int, folder: Path) -> torch.nn.Module | None:
    """A detector that learned from what was told; None: no event is among it."""
    by_video: dict[str, list[Moment]] = {}
    for moment in told:
        by_video.setdefault(moment.video, []).append(moment)
    known = [clip.known(by_video[clip.video.id]) for clip in pool if clip.video.id in by_video]
    try:
        return fitted(known, seed, STEPS, folder)
    except TrainingError:
        return None


def trained_elsewhere(work: Path, folder: Path) -> torch.nn.Module:
    """A detector that learned from all labels of a work directory."""
    known = []
    for clip in load(work):
        label = CLASSES.index(clip.video.categories[0])
        known.append(TrainingVideo(clip.source, clip.features, clip.truth, label))
    return fitted(known, 0, STEPS_ELSEWHERE, folder)


def fitted(known: Sequence[TrainingVideo], seed: int, steps: int, folder: Path) -> torch.nn.Module:
    config = load_config(Path("surveillance"), [f"train.seed={seed}"]).train
    config = config.model_copy(update={"steps": steps, "evaluate_every": steps})
    shutil.rmtree(folder, ignore_errors=True)
    fit = Fit(Setup(config, "mean", CLASSES, "cpu", "simulated"), folder, known, [], keep_best=False)
    for _ in fit.run(steps):
        pass
    fit.model.eval()
    return fit.model


def frame_scores(model: torch.nn.Module, clip: Clip) -> np.ndarray:
    return clip.source.timeline().by_frame(score_features(model, clip.features).clips)  # type: ignore[arg-type]


def frames_of(moments: Sequence[Moment], frames: int) -> np.ndarray:
    """`(frames,)` bool: those of the moments."""
    inside = np.zeros(frames, dtype=bool)
    for moment in moments:
        inside[moment.start : moment.end] = True
    return inside


def kept(place: Path, name: str, facts: object, make: Callable[[], Curve]) -> Curve:
    path, today = place / f"{name}.json", fingerprint(facts)
    if path.exists() and (saved := json.loads(path.read_text(encoding="utf-8")))["of"] == today:
        return {int(count): auc for count, auc in saved["auc"].items()}
    found = make()
    write_json(path, {"of": today, "auc": found})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="work directory with the features")
    parser.add_argument("--choose", type=Path, metavar="DIR", help="compare all orders within the training half")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file for the table [default: stdout]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # so small a network is slower on two
    clips, place = load(arguments.work), arguments.work / "review_order"
    code = [file_sha256(Path(file)) for file in (__file__, review_order.__file__)]
    elsewhere = trained_elsewhere(arguments.choose, place / "fit") if arguments.choose else None
    orders = (RANDOM, NEAR, FAR, BOTH, THEN) if arguments.choose else (RANDOM, CHOSEN)
    curves: dict[str, list[list[Curve]]] = {how: [] for how in orders}
    for seed in range(arguments.seeds):
        for how in orders:
            parts = []
            for number, (name, pool, tested) in enumerate(collections(clips, seed, bool(arguments.choose))):

                def make(
                    pool: list[Clip] = pool,
                    tested: list[Clip] = tested,
                    how: str = how,
                    seeds: tuple[int, int] = (seed, number),
                ) -> Curve:
                    return curve(pool, tested, how, seeds, elsewhere, place / "fit")

                parts.append(kept(place, f"{name}_{how.replace(' ', '_')}", [code, name, how], make))
            curves[how].append(parts)
    table = as_table(curves)
    if arguments.out:
        write_text(arguments.out, table)
    print(table)


def as_table(curves: dict[str, list[list[Curve]]]) -> str:
    """A row for each number of verdicts: the mean over the seeds, the lowest and the highest; then the differences."""
    counts = list(curves[RANDOM][0][0])
    at = {
        how: {count: np.array([[part[count] for part in parts] for parts in by_seed]) for count in counts}
        for how, by_seed in curves.items()
    }
    rows = []
    for count in (5, 10, 15, 20, 30, 40, 50, 60):
        cells = [at[how][count].mean(axis=1) for how in at]
        rows.append([str(count), *(f"{one.mean():.3f} ({one.min():.3f} .. {one.max():.3f})" for one in cells)])
    for count in range(LIST, MOST + 1, LIST):
        paired = [at[how][count] - at[RANDOM][count] for how in at if how != RANDOM]
        rows.append([f"{count}, less random", "", *(difference(one.mean(axis=1)) for one in paired)])
        better = [f"{(one > 0).sum()} of {one.size}" for one in paired]
        rows.append([f"{count}, collections in which it is better", "", *better])
    return markdown_table(["verdicts", *at], rows)


def difference(paired: np.ndarray) -> str:
    """Mean and 95 % interval by Student's t over the seeds."""
    half = t.ppf(0.975, len(paired) - 1) * paired.std(ddof=1) / len(paired) ** 0.5
    return f"{paired.mean():+.3f} ({paired.mean() - half:+.3f} .. {paired.mean() + half:+.3f})"


if __name__ == "__main__":
    main()
