"""Make the detector that comes with `lad`, and its card: lad/detectors/surveillance.safetensors and .json. The card is
written into docs/detectors.md, too.

    python -m benchmarks.included_detector [--data DIR] [--out lad/detectors]

The recipe is configs/surveillance.yaml. First it is measured as `benchmarks.accuracy` does: trained on the training
half, tested on the other one. Then the detector is trained on both halves, so that no clip of this set is left to test
it. UR Fall, which it has never seen, measures it itself: that set is not for commercial use, and nothing of it is in
the detector.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any

from benchmarks.accuracy import WORK, measure, scored_video
from benchmarks.accuracy_page import Scored, auc_of, false_alarm_rate_of, recall_of, resampled
from benchmarks.accuracy_rows import BENCHMARKS, ROOT, frames_of
from benchmarks.known_scores import at_known_cameras
from benchmarks.page import between
from lad.clip import CLIP_FRAMES
from lad.dataset import dataset_text, read_dataset
from lad.detector.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lad.detector.included import DEFAULT, DIGITS, FOLDER, Card, Measured
from lad.evaluation.reliability import calibration_error, reliability
from lad.files import file_sha256, write_bytes, write_json
from lad.pipeline.scored import read_scores
from lad.version import VERSION
from lad.work.layout import Work
from lad.work.manifest import read_manifest

NEEDED = ("extract", "train", "score", "threads")  # sections of the configuration that scoring reads
MADE = ("preset", "rgb_short_side", "context", "batch_clips", "clip_stride", "layers")  # how, of its features
BY_SOURCE, BY_VIDEO = "bootstrap over the sources", "bootstrap over the videos"
RECIPE, ITSELF = "the same recipe, trained on the training half", "the detector in this file"
KNOWING = "with all other normal footage of each camera (2 to 10 seconds)"
WALKWAY = ("testing/frames/01", "testing/frames/05", "training/frames/01", "training/frames/05")
KNOWING_ROOMS = "with all other normal footage of each of the two rooms"
FOLDS = "the same recipe in cross-validation: five times trained on four fifths of the sources, tested on the others"
FOLDS_AUC = "frame AUC, mean of the five; the number of training steps was chosen by it"
wrapped = partial(wrap, width=120)
Number = Callable[[Scored], float | None]
DATA = [
    {
        "what": "fights, and quiet moments of the same cameras: 150 clips of 2 seconds, 29 sources",
        "from": "github.com/seymanurakti/fight-detection-surv-dataset",
        "licence": "MIT",
    },
    {
        "what": "falls, and daily activities of the same 3 persons in rooms: 19 clips",
        "from": "github.com/ekramalam/GMDCSA24-A-Dataset-for-Human-Fall-Detection-in-Videos",
        "licence": "MIT",
    },
]
INTENDED = [
    "a first look at footage of fixed cameras that show people: which minutes are worth watching first",
    "a start for a detector of your own: review what it finds, and train on your verdicts",
]
MUST_NOT = [
    "deciding anything about a person: it sees movement, knows no intent, and is wrong often",
    "raising an alarm that nobody checks, or being the only safeguard of somebody's life or health",
    "finding out who somebody is, or watching people where the law forbids it",
]
LIMITS = [
    "a camera that it does not know may shift all scores: show it normal footage (lad score --normal), or look at the "
    "ranking first and set score.threshold for this camera",
    "falls rank well within one room, and may all score low in it: with the threshold of the file they are missed",
    "crowded rooms raise false alarms, and fights at a distance look like walking",
    "a camera that looks straight down from the ceiling is another world: near chance. So is one from which people are "
    "small. Where a warning says that many clips are unfamiliar, believe nothing",
    "it knows no category but these two: other events (fire, theft, accidents) have no score that means anything",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        help="folder of surveillance, ur_fall and ucsd_ped2",
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the detector and its card go")
    parser.add_argument("--pages", type=Path, default=ROOT / "docs", help="folder of detectors.md")
    arguments = parser.parse_args()
    recipe = BENCHMARKS[DEFAULT].rows[0]
    (half,) = measure(DEFAULT, recipe, arguments.data)["splits"]
    home = WORK / DEFAULT / recipe.features  # the features are there now
    trained, validated = train_on_all(arguments.data / DEFAULT, home)
    made = WORK / "included" / f"{DEFAULT}.safetensors"
    save_checkpoint(made, trained)
    card = describe(made, trained, validated, half, arguments.data)
    write_bytes(arguments.out / made.name, made.read_bytes())
    write_json(arguments.out / f"{DEFAULT}.json", asdict(card))
    page = arguments.pages / "detectors.md"
    page.write_text(between(page.read_text(), card.name, page_lines(card)))
    print(card.path.name, card.bytes, "bytes", card.sha256)
    return 0


def lad(command: str, *words: str | Path) -> None:
    """Run a command of `lad` with the recipe."""
    done = subprocess.run([sys.executable, "-m", "lad", command, "-q", "-c", DEFAULT, *words], stdout=subprocess.PIPE)
    if done.returncode:  # it has said why
        sys.exit(done.returncode)


def in_split(data: Path, split: str, place: Path) -> Path:
    """The dataset.csv of a set with all of its videos in one split, written to `place`."""
    videos = read_dataset(data / "dataset.csv", data)
    write_bytes(place, dataset_text([replace(video, split=split) for video in videos], data))
    return place.absolute()


def train_on_all(data: Path, home: Path) -> tuple[Checkpoint, float]:
    """The detector, trained on both halves, with its AUC in cross-validation; of its configuration what scoring needs.

    It does not say which sources of `lad` wrote it, so that the same detector is the same bytes.
    """
    listed = in_split(data, "train", WORK / "included" / "train.csv")
    lad("train", "--data", data, "--work", home, "-o", f"data.dataset={listed}")
    trained = load_checkpoint(home / "checkpoints" / "best.pt")
    assert trained.config is not None
    with read_manifest(home) as manifest:
        row = manifest.get("train", "detector")
    assert row is not None
    config = {key: trained.config[key] for key in NEEDED}
    return replace(trained, config=config, made_by=VERSION), row.info["validation"]["auc"]


def describe(path: Path, trained: Checkpoint, validated: float, half: dict[str, Any], data: Path) -> Card:
    """The card.

    Args:
        path: of the detector.
        trained: what is in it.
        validated: its AUC in cross-validation.
        half: how the recipe's detector of the training half does on the other one, as `accuracy.measure` says it.
        data: folder of the sets.
    """
    videos = read_dataset(data / DEFAULT / "dataset.csv", data / DEFAULT)
    tested = half["videos"]
    on = f"{len(tested)} clips of {len({one['source'] for one in tested})} sources that it had not seen"
    rates = rates_of(RECIPE, tested, half["metrics"]["threshold"], on, BY_SOURCE)
    first = number("frame AUC", RECIPE, tested, auc_of, on, BY_SOURCE)
    measured = [first]
    for label in trained.classes:
        some = [one for one in tested if one["label"] == label]
        measured.append(number(f"frame AUC, {label} alone", RECIPE, some, auc_of, f"{len(some)} of them", BY_SOURCE))
    measured += [
        *rates,
        Measured("calibration error", RECIPE, on, round(half["metrics"]["calibration_error"], 3)),
        *known_numbers(RECIPE, tested, *calibrations(half["trained"]), f"{on}, {KNOWING}", BY_SOURCE),
        Measured(FOLDS_AUC, FOLDS, "the training half", round(half["validation"], 4)),
        Measured(FOLDS_AUC, FOLDS, "all clips", round(validated, 4)),
        *on_ur_fall(path, trained, data / "ur_fall"),
        *on_walkway(path, data / "ucsd_ped2"),
    ]
    assert trained.config is not None
    extract = trained.config["extract"]
    return Card(
        name=DEFAULT,
        summary="fights and falls",
        sha256=file_sha256(path),
        bytes=path.stat().st_size,
        licence="Apache-2.0",
        categories=trained.classes,
        kind=f"{trained.network['name']}, over the mean of {trained.network['sizes']['window']} clips",
        features={
            "backbone": extract["backbone"],
            "streams": extract["streams"],
            "weights": trained.weights,
            **{key: extract[key] for key in MADE},
        },
        threshold=trained.threshold,
        trained={
            "videos": len(videos),
            "sources": len({video.group for video in videos}),
            "steps": trained.step,
            "configuration": DEFAULT,
            "data": DATA,
        },
        headline=f"frame AUC {first} on cameras never seen (the same recipe, trained on the training half)",
        measured=measured,
        tested="The detector in this file was trained on all clips, those of the test split too, so it was not itself "
        "tested on this set. Do not evaluate it on these clips: it knows them.",
        intended=INTENDED,
        must_not=MUST_NOT,
        limits=LIMITS,
        taught_by=sorted(file_sha256(video.file)[:DIGITS] for video in videos),
    )


def number(what: str, of: str, scored: Scored, measure: Number, on: str, how: str) -> Measured:
    """A number of scored videos, with its interval where there is one."""
    value, interval = measure(scored), resampled(scored, measure)
    assert value is not None
    if interval is None:
        return Measured(what, of, on, round(value, 4))
    return Measured(what, of, on, round(value, 4), (round(interval[0], 4), round(interval[1], 4)), how)


def rates_of(of: str, scored: Scored, threshold: float, on: str, how: str) -> list[Measured]:
    """What is found and what alarms falsely at a threshold."""
    at = f"at its threshold {threshold:.2f}"
    return [
        number(
            f"share of the anomalous frames found {at}", of, scored, lambda some: recall_of(some, threshold), on, how
        ),
        number(
            f"share of the frames of normal videos that alarm {at}",
            of,
            scored,
            lambda some: false_alarm_rate_of(some, threshold),
            on,
            how,
        ),
    ]


def calibrations(validation: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Of a detector's scores, and what it knows of cameras, as its validation found them."""
    return (
        {key: validation[key] for key in ("slope", "offset")},
        {key: validation[f"known_{key}"] for key in ("usual", "slope", "offset")},
    )


def known_numbers(
    of: str, scored: Scored, own: Mapping[str, float], cameras: Mapping[str, float], on: str, how: str
) -> list[Measured]:
    """How good a detector is when it knows the cameras.

    Args:
        of: which detector.
        scored: as it scores them without.
        own, cameras: calibration of its scores, and what it knows of cameras, as a checkpoint has them.
        on: which videos, and by how much footage their cameras are known.
        how: intervals are made.
    """
    known = at_known_cameras(scored, own, cameras)
    error = calibration_error(reliability(*frames_of(known)) or [])
    return [number("frame AUC", of, known, auc_of, on, how), Measured("calibration error", of, on, round(error, 3))]


def on_ur_fall(path: Path, trained: Checkpoint, data: Path) -> Sequence[Measured]:
    """How the detector itself does on a set that it has never seen; nothing where that is not there."""
    if not data.is_dir():
        return []
    home = WORK / "ur_fall"
    listed = in_split(data, "test", WORK / "included" / "ur_fall.csv")
    words = ("--data", data, "--work", home, "-o", f"data.dataset={listed}")
    lad("extract", *words)
    lad("evaluate", *words, "-o", f"data.classes=[{', '.join(trained.classes)}]", "--checkpoint", path)
    with read_manifest(home) as manifest:
        work = Work(manifest)
        videos = read_dataset(listed, data)
        scored = [scored_video(v, read_scores(work.scores(v.id))) | {"source": v.id, "camera": v.group} for v in videos]
    error = calibration_error(reliability(*frames_of(scored)) or [])
    falls = [one for one in scored if one["events"]]
    both = f"UR Fall: {len(scored)} videos, those with falls in one room and those without in another"
    return [
        number("frame AUC", ITSELF, scored, auc_of, both, BY_VIDEO),
        number("frame AUC", ITSELF, falls, auc_of, f"the {len(falls)} videos of UR Fall with falls", BY_VIDEO),
        *rates_of(ITSELF, scored, trained.threshold, "UR Fall", BY_VIDEO),
        Measured("calibration error", ITSELF, "UR Fall", round(error, 3)),
        *known_numbers(
            ITSELF, scored, trained.calibration, trained.known_cameras or {}, f"UR Fall, {KNOWING_ROOMS}", BY_VIDEO
        ),
        unfamiliar_share(home, "UR Fall"),
    ]


def on_walkway(path: Path, data: Path) -> Sequence[Measured]:
    """How much of a camera that is another world is unfamiliar: people on a walkway, small and seen from above."""
    if not data.is_dir():
        return []
    home = WORK / "walkway"
    lad("score", "--data", data, "--work", home, "--checkpoint", path, *(data / folder for folder in WALKWAY))
    return [unfamiliar_share(home, "UCSD Ped2, a walkway from above: four of its videos")]


def unfamiliar_share(home: Path, on: str) -> Measured:
    """Of the clips that were scored in a work directory."""
    with read_manifest(home) as manifest:
        rows = [row.info for row in manifest.items("score").values()]
    clips = sum(-(-row["frames"] // CLIP_FRAMES) for row in rows)
    share = sum(row["unfamiliar"] for row in rows) / clips
    return Measured("share of the clips that are unfamiliar", ITSELF, on, round(share, 4))


def page_lines(card: Card) -> list[str]:
    """The card as docs/detectors.md has it."""
    trained = card.trained
    lines = wrapped(f"Finds {card.summary}: the categories {', '.join(card.categories)}. In short: {card.headline}.")
    lines += ["", "| how good it is |  | measured on |", "|---|---|---|"]
    for of in dict.fromkeys(one.of for one in card.measured):
        lines += [f"| **{of}** |  |  |"]
        lines += [f"| {one.what} | {one} | {one.on} |" for one in card.measured if one.of == of]
    brackets = f"Brackets give the 95 % interval: {BY_SOURCE}, for UR Fall {BY_VIDEO}."
    recipe = f"by the recipe of `configs/{trained['configuration']}.yaml`, {trained['steps']} steps:"
    lines += ["", *wrapped(f"{brackets} {card.tested}"), ""]
    lines += [f"Trained on {trained['videos']} clips of {trained['sources']} sources, {recipe}", ""]
    lines += [*(f"- {one['what']}: `{one['from']}`, {one['licence']}" for one in trained["data"]), ""]
    for title, said in (("For", card.intended), ("Not for", card.must_not), ("Where it stops working", card.limits)):
        lines += [f"**{title}**", "", *(f"- {line}" for line in said), ""]
    return [*lines, f"`{card.path.name}`: {card.bytes:,} bytes, {card.licence}, sha256 `{card.sha256}`."]


if __name__ == "__main__":
    sys.exit(main())
