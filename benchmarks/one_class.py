"""Chooses the recipe of `configs/ped2-one-class.yaml` without a look at a test clip or a label.

Three quarters of the normal training clips teach, the others are held out, four times. What is held out is disturbed
for a part of its length, in ways that nobody would call normal: it goes faster, a thing is pasted in that moves faster
than all others or stands still, or time runs backwards. A recipe is good if disturbed frames score higher than the
undisturbed ones beside them: by the frame AUC, the mean over how much is disturbed. Speed sees what is fast, and is
chance for what stands still or goes backwards; so recipes of motion alone are ranked by the two kinds that are fast,
and those with what a network sees by all four.

    python -m benchmarks.one_class --data DIR --work DIR [--looks]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from lad.config import Config, ExtractConfig, load_config
from lad.detector.scoring import score_features
from lad.detector.tail import smoothed
from lad.detector.training import Setup
from lad.detector.training_normal import learn, stretches
from lad.detector.training_windows import TrainingVideo
from lad.device import STEADY_THREADS, detector_threads, repeatable
from lad.evaluation.metrics import roc_auc
from lad.extract.clips import ClipSpec, clip_batches, with_flow
from lad.extract.motion import BODY, FLOW, MOTION, SHARES, motion_of
from lad.extract.readers import open_reader
from lad.features.recipe import configured_streams, load_extractor, make_recipe
from lad.features.video import ClipFeatures, VideoFeatures
from lad.pipeline.project import load_project
from lad.tables import markdown_table

CONFIG = Path("ped2-one-class")
FPS = 10.0
FOLDS = 4
BODIES = ((8, 20), (12, 30), (16, 40), BODY, (28, 70))
REFERENCE_BLUR = 12  # pixels, of the flow's length by which speeds of pasted things are chosen
FAST = ("goes faster", "a fast thing")  # the kinds that speed can see
QUANTILES = (0.97, 0.98, 0.99, 0.995, 1.0)
SMOOTH = (0.0, 0.2, 0.4, 0.6, 0.8)
FASTER = (1.5, 2.0)
SPEEDS = (1.25, 1.5, 2.0, 3.0)  # times that of the fastest thing, in the median frame
SIZES = (1.0, 0.7)  # times that of a walking person
THING = (48, 28)  # pixels: height and width of one
LOOKED_AT = (0, 1, 5, 11, 13)  # of `kinds`, one of each, since a network takes its time
LAYERS = ("Mixed_3c", "Mixed_4b", "Mixed_4f", "Mixed_5c")

Frames = list[np.ndarray]


@dataclass(frozen=True)
class Kind:
    """A disturbance: of which of the four kinds, and what it makes of a clip: frames, and which of them it touched."""

    name: str
    make: Callable[[Frames, Frames, np.random.Generator], tuple[Frames, np.ndarray]]


def kinds(fastest: float) -> list[Kind]:
    """All disturbances; `fastest`: pixels a frame of the fastest thing of a usual frame."""
    return [
        Kind("undisturbed", lambda frames, _, __: (frames, np.zeros(len(frames), dtype=bool))),
        *(Kind("goes faster", partial(_faster, factor)) for factor in FASTER),
        *(Kind("a fast thing", partial(_pasted, v * fastest, size)) for v, size in product(SPEEDS, SIZES)),
        *(Kind("a thing stands still", partial(_pasted, 0.0, size)) for size in SIZES),
        Kind("backwards", partial(_faster, -1.0)),
    ]


def _faster(factor: float, frames: Frames, _others: Frames, _rng: np.random.Generator) -> tuple[Frames, np.ndarray]:
    """The second half at another speed; below 0: from its end."""
    half = len(frames) // 2
    rest = frames[half:] if factor > 0 else frames[half:][::-1]
    taken = [rest[int(n * abs(factor))] for n in range(int(len(rest) / abs(factor)))]
    return frames[:half] + taken, np.arange(half + len(taken)) >= half


def _pasted(
    speed: float, size: float, frames: Frames, others: Frames, rng: np.random.Generator
) -> tuple[Frames, np.ndarray]:
    """A person of another clip goes to and fro, `speed` pixels a frame, in the middle third of the frames."""
    thing = cv2.resize(_walker(others, rng), None, fx=size, fy=size).astype(np.float32)
    height, width = thing.shape[:2]
    down, across = (np.abs(np.arange(n) - (n - 1) / 2) / (n / 2) for n in (height, width))
    soft = np.clip(2.5 * (1 - np.hypot(down[:, None], across)), 0, 1)[..., None].astype(np.float32)
    rows, columns = frames[0].shape[:2]
    top, begin, room = int(rng.integers(rows // 6, rows - height)), rng.uniform(0, columns), columns - width - 1
    touched = np.zeros(len(frames), dtype=bool)
    touched[len(frames) // 3 : 2 * len(frames) // 3] = True
    made = []
    for number, frame in enumerate(frames):
        gone = (begin + speed * number) % (2 * room)
        left, rest = divmod(min(gone, 2 * room - gone), 1.0)
        shift = np.array([[1, 0, rest], [0, 1, 0]], dtype=np.float32)
        moved, mask = (cv2.warpAffine(one, shift, (width + 1, height)) for one in (thing, soft))
        changed = frame.astype(np.float32)
        place = changed[top : top + height, int(left) : int(left) + width + 1]
        place += (moved - place) * mask[..., None]
        made.append(changed.round().astype(np.uint8) if touched[number] else frame)
    return made, touched


def _walker(frames: Frames, rng: np.random.Generator) -> np.ndarray:
    """A piece of a frame around what moves most in it."""
    height, width = THING
    start = int(rng.integers(len(frames) - 1))
    flow = next(with_flow(((0, frame) for frame in frames[start : start + 2]), FLOW))[1]
    moving = cv2.blur(cv2.magnitude(flow[..., 0], flow[..., 1]), (width // 2, height // 2))
    row, column = np.unravel_index(moving.argmax(), moving.shape)
    top = min(max(int(row) - height // 2, 0), moving.shape[0] - height)
    left = min(max(int(column) - width // 2, 0), moving.shape[1] - width)
    return frames[start][top : top + height, left : left + width]


@dataclass(frozen=True)
class Made:
    """A clip as it was disturbed: `motion` body -> `(clips, 144)`; `looks` stream or layer -> `(clips, D)`."""

    clip: int
    kind: str
    touched: np.ndarray
    motion: dict[tuple[int, int], np.ndarray]
    looks: dict[str, np.ndarray]

    def features(self, recipe: Recipe) -> TrainingVideo:
        streams = configured_streams(recipe.extract)
        parts = [(self.motion[recipe.body] if stream == MOTION else self.looks[stream])[None] for stream in streams]
        source = VideoFeatures([], None, len(self.touched), FPS)
        return TrainingVideo(source, ClipFeatures(parts), self.touched, 0)


@dataclass(frozen=True)
class Recipe:
    """What is tried: `looks` is what I3D gives beside motion, `rgb` or layers."""

    body: tuple[int, int]
    quantile: float
    smooth: float
    looks: tuple[str, ...] = ()

    @property
    def extract(self) -> ExtractConfig:
        layers = [layer for layer in self.looks if layer != "rgb"]
        return ExtractConfig(streams=["rgb"] if self.looks else [], layers=layers, motion=True)

    @property
    def name(self) -> str:
        return " + ".join([MOTION, *self.looks])


def motion_by_body(frames: Frames) -> dict[tuple[int, int], np.ndarray]:
    """What `extract.motion` gives of a clip, with each size of a body."""
    found: dict[tuple[int, int], list[np.ndarray]] = {body: [] for body in BODIES}
    for _, flow in with_flow(((0, frame) for frame in frames), FLOW):
        for body, rows in found.items():
            rows.append(motion_of(flow, body))
    padding = -len(frames) % 16
    return {body: np.stack(rows + rows[-1:] * padding).reshape(-1, 16 * len(SHARES)) for body, rows in found.items()}


def fastest_of(frames: Frames) -> list[float]:
    """Pixels a frame of the fastest thing in each frame."""
    flows = (flow for _, flow in with_flow(((0, frame) for frame in frames), FLOW))
    box = (REFERENCE_BLUR, REFERENCE_BLUR)
    return [float(cv2.blur(cv2.magnitude(flow[..., 0], flow[..., 1]), box).max()) for flow in flows]


def make_all(config: Config, clips: Sequence[Frames], work: Path) -> Iterator[Made]:
    """All disturbances of all clips; what was made once lies in `work`."""
    fastest = float(np.median([fastest_of(clip[:40]) for clip in clips]))
    extractor = None
    for number, clip in enumerate(clips):
        rng = np.random.default_rng(number)
        for order, kind in enumerate(kinds(fastest)):
            frames, touched = kind.make(clip, clips[(number + 1) % len(clips)], rng)
            if config.extract.streams and order not in LOOKED_AT:
                continue
            motion, looks = (work / f"{number:02}_{order:02}_{name}.npz" for name in ("motion", "looks"))
            if not motion.is_file():
                rows = {f"body{body[0]}": rows for body, rows in motion_by_body(frames).items()}
                np.savez(motion, **rows)  # type: ignore[arg-type]  # numpy's stub takes a name for its own option
            if config.extract.streams and not looks.is_file():
                extractor = extractor or load_extractor(make_recipe(config.extract, device="cpu", threads=2))
                batches = clip_batches(frames, ClipSpec(("rgb",)))
                found = [extractor.by_layer("rgb", batch["rgb"]) for batch in batches]
                rows = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
                np.savez(looks, **rows)  # type: ignore[arg-type]
            of_body = {body: np.load(motion)[f"body{body[0]}"] for body in BODIES}
            of_network = dict(np.load(looks)) if config.extract.streams else {}
            yield Made(number, kind.name, touched, of_body, of_network)
        print(f"clip {number + 1} of {len(clips)}", flush=True)


def judge(config: Config, made: Sequence[Made], recipe: Recipe) -> dict[str, float]:
    """Kind of disturbance -> frame AUC, the mean over how much is disturbed."""
    train = config.train.model_copy(update={"motion_quantile": recipe.quantile, "smooth_seconds": recipe.smooth})
    setup = Setup(train, "mean", ["event"], "cpu", "", config={"extract": recipe.extract.model_dump(mode="json")})
    clips = sorted({one.clip for one in made})
    variants: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    names: dict[int, str] = {}
    for fold in range(FOLDS):
        normal = [one for one in made if one.kind == "undisturbed" and one.clip % FOLDS != fold]
        taught = stretches([one.features(recipe) for one in normal])
        parts = [taught[part::FOLDS] for part in range(FOLDS)]
        model = learn(setup, taught, parts).model
        for clip in (clip for clip in clips if clip % FOLDS == fold):
            for order, one in enumerate(one for one in made if one.clip == clip and one.kind != "undisturbed"):
                video = one.features(recipe)
                timeline = video.source.timeline()
                frames = timeline.by_frame(score_features(model, video.features).clips)
                variants.setdefault(order, []).append((smoothed(frames, timeline.times, recipe.smooth), one.touched))
                names[order] = one.kind
    found: dict[str, list[float]] = {}
    for order, pairs in variants.items():
        scores, touched = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        found.setdefault(names[order], []).append(roc_auc(touched, scores) or 0.0)
    return {kind: float(np.mean(aucs)) for kind, aucs in found.items()}


def recipes(config: Config, looks: bool) -> Iterator[Recipe]:
    """What is tried: every motion alone, or the default one with what I3D gives."""
    if not looks:
        yield from (Recipe(*values) for values in product(BODIES, QUANTILES, SMOOTH))
        return
    default = Recipe(BODY, config.train.motion_quantile, config.train.smooth_seconds)
    yield default
    yield from (replace(default, looks=(one,)) for one in ("rgb", *LAYERS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the download of UCSD Ped2")
    parser.add_argument("--work", type=Path, required=True, help="for what is made of the clips")
    parser.add_argument(
        "--looks", action="store_true", help="motion as it is by default, and what I3D's features and layers add to it"
    )
    parser.add_argument("--clips", type=int, help="take so many of the training clips alone")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    looks = ["extract.streams=[rgb]", f"extract.layers=[{','.join(LAYERS)}]"] if args.looks else []
    config = load_config(CONFIG, looks, options={"data.root": args.data})
    paths = [video.file for video in load_project(config).videos if video.split == "train"][: args.clips]
    clips = [[np.asarray(frame) for frame in open_reader(path, folder_fps=FPS)] for path in paths]
    with repeatable("cpu", STEADY_THREADS):
        made = list(make_all(config, clips, args.work))
    rows, mean_title = [], "mean" if args.looks else "mean of the fast"
    with repeatable("cpu", detector_threads(None)):
        for recipe in recipes(config, args.looks):
            by_kind = judge(config, made, recipe)
            mean = float(np.mean([score for kind, score in by_kind.items() if args.looks or kind in FAST]))
            numbers = [f"{value:.4f}" for value in (*by_kind.values(), mean)]
            body = "x".join(map(str, recipe.body))
            cells = [recipe.name, body, f"{recipe.quantile:g}", f"{recipe.smooth:g}", *numbers]
            rows.append((mean, cells))
            print(*cells, flush=True)
    titles = ["what", "body, pixels", "quantile", "smoothing, s", *by_kind, mean_title]
    rows.sort(key=lambda row: -row[0])
    print(markdown_table(titles, [cells for _, cells in rows]))


if __name__ == "__main__":
    main()
