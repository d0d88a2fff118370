"""Checkpoints: what is in them, written atomically, read without running anything."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lad.config import Config, ExtractConfig, load_config
from lad.config_keys import MAX_REFERENCE_CLIPS
from lad.datasets import BENCHMARKS
from lad.detector.bounds import check_demands
from lad.detector.calibration import Calibration
from lad.detector.detector_file import SUFFIX, NotADetector, read_detector, write_detector
from lad.detector.known_camera import KnownCameras
from lad.device import cores
from lad.errors import LadError
from lad.extract.motion import MOTION
from lad.features.recipe import MOTION_IDENTITY, UNKNOWN_WEIGHTS
from lad.files import check_readable, replacing
from lad.models.registry import DetectorMissing, build_detector, is_outside
from lad.pickles import PickleRefused, load_torch
from lad.version import VERSION, code_version

RELEASED_STREAMS = {1024: ["rgb"], 2048: ["rgb", "flow"]}  # length of a clip's features -> what they are made of
OF_A_MACHINE = ("max_pixels", "max_frames", "stall_seconds", "reader")
MAX_CHECKPOINT_BYTES = 8 << 30  # many times the largest detector
FORMAT = 5
_NEW_IN_5: dict[str, Any] = {"familiar": None, "known_cameras": None}
_NEW_IN_4 = {"calibration": vars(Calibration()), "network": {}, "selection": "", "doubt": "", **_NEW_IN_5}
OLDER_FORMATS = {2: _NEW_IN_4, 3: _NEW_IN_4, 4: _NEW_IN_5}  # -> what their files may lack
FEATURE_WEIGHTS = (
    "holds the weights of a feature network, and a detector is needed: the best.pt of `lad train` "
    "(for such weights there is `lad weights fetch NAME --from FILE`)"
)
DEFAULT_THRESHOLD = 0.5  # of a detector that was never validated


class CheckpointError(LadError):
    """A checkpoint is missing, damaged, or not what it should be."""


@dataclass
class Checkpoint:
    """A detector and all that is needed to use it, or to resume its training.

    Attributes:
        model: the detector's state dict.
        classes: category names in the order of their index; empty where the file does not say (released ones).
        config: the resolved configuration that made it, or None.
        step: training steps done.
        metrics: of the validation videos at this step.
        calibration: slope and offset of Platt's scaling of the scores, fitted on the validation videos.
        threshold: of the calibrated scores, chosen on the validation videos.
        weights: stream -> identity of the feature weights; of motion, by which version of it.
        network: the detector's `name` in `train.detector`, and its `sizes`; empty in older files and the authors'. Of
            several cameras, `cameras`: what each has of its own, its sizes among it; see `lad.detector.cameras`.
        selection: how the number of training steps was chosen.
        doubt: why the detector may be worth nothing; empty: nothing speaks against it.
        familiar: the distance from the training clips beyond which a clip is unfamiliar (`detector.familiar`); None:
            nobody knows.
        known_cameras: how it scores a camera whose normal footage it was shown (`detector.known_camera`); None: it was
            not trained for that.
        fingerprint: of the training run; another run's checkpoint is never resumed.
        optimizer, rng, history: to resume exactly where it stopped.
        made_by: which code wrote it; empty in older files and the authors'.
    """

    model: Mapping[str, Any]
    classes: list[str] = field(default_factory=list)
    config: dict[str, Any] | None = None
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, float] = field(default_factory=lambda: vars(Calibration()))
    threshold: float = DEFAULT_THRESHOLD
    weights: dict[str, str] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    selection: str = ""
    doubt: str = ""
    familiar: float | None = None
    known_cameras: dict[str, float] | None = None
    fingerprint: str = ""
    optimizer: dict[str, Any] | None = None
    rng: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    made_by: str = ""

    @property
    def outside(self) -> str:
        """The detector's class where that is somebody else's code, which is run only if the user names it too."""
        name = str(self.network.get("name", ""))
        return name if is_outside(name) else ""

    @property
    def cameras(self) -> list[str]:
        """The cameras that it has a detector for each; none: one for all."""
        return list(self.network.get("cameras", ()))

    @property
    def reference_clips(self) -> int:
        """It takes features relative to the mean of so many first clips of their video; 0: as they are."""
        return self.config.get("train", {}).get("reference_clips", 0) if self.config else 0

    def detector(self, allowed: str = "") -> Any:
        """The network, ready for scoring.

        Args:
            allowed: the class from outside that the user named in `train.detector`.

        Raises:
            CheckpointError: it is a class from outside, and not that one.
            ValueError: the tensors are not those of such a detector.
        """
        if self.outside and self.outside != allowed:
            raise CheckpointError(
                f"its detector is the class {self.outside}, which is code from outside of lad: "
                f"to run it, say -o train.detector={self.outside}"
            )
        if self.network:
            network = build_detector(self.network["name"], dropout=0.0, **self.network["sizes"])
            try:
                network.load_state_dict(self.model)
            except RuntimeError as error:
                raise ValueError(f"not the parameters of the detector {self.network['name']}: {error}") from error
            return network.eval()
        from lad.models.aed import detector_from_state
        from lad.models.linear import STATE_KEY, linear_from_state

        return linear_from_state(self.model) if STATE_KEY in self.model else detector_from_state(self.model)


def scoring_config(
    path: Path,
    overrides: list[str],
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Config:
    """The configuration to score other videos with a checkpoint: features are made as those that it was trained on.

    A checkpoint of the authors' training code says nothing of its features but their length, so they are made as their
    published extractor makes them, and 14 categories are LAD2000's.

    Raises:
        CheckpointError: the checkpoint cannot be read, or asks for more than this machine should give (`bounds`).
        ConfigError: an override is wrong.
    """
    checkpoint = load_checkpoint(path)
    made_with = checkpoint.config
    if made_with is None:
        base = {"name": "score", **_released_config(path, checkpoint)}
        return load_config(None, overrides, base, options, say)
    # Motion is free, and without it nobody could ask for no stream.
    alone = {"name": "score", "extract": {"motion": bool(made_with["extract"].get("motion"))}}
    said = load_config(None, overrides, alone, options)
    try:
        kept = {key: made_with[key] for key in ("extract", "train", "threads")}
        # What a file from elsewhere says of features is needed; what this machine has and stands is not its to say.
        kept["extract"] = {key: value for key, value in kept["extract"].items() if key not in OF_A_MACHINE}
        kept["score"] = {**made_with["score"], "checkpoint": None, "max_memory": None, "source": None}
        if said.score.threshold is not None or said.score.alarms_per_day is not None:  # each takes the other's place
            kept["score"] |= {"threshold": None, "alarms_per_day": None}
        kept["threads"] = min(kept["threads"], cores()) if kept["threads"] else None
        if checkpoint.outside:  # only the user may name code that is to be run
            kept["train"] = {key: value for key, value in kept["train"].items() if key != "detector"}
    except (KeyError, TypeError, AttributeError) as error:
        raise _does_not_say(path) from error
    config = load_config(None, overrides, {"name": "score", **kept}, options, say)
    if problems := list(check_demands(config, said)):
        raise CheckpointError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def _does_not_say(path: Path) -> CheckpointError:
    return CheckpointError(f"{path}: not a checkpoint: it does not say how it was made")


def _released_config(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    detector = checkpoint.detector()
    streams = RELEASED_STREAMS.get(detector.feature_dim)
    if streams is None:
        raise CheckpointError(
            f"{path}: takes features of {detector.feature_dim} numbers a clip, and does not say how they are made: "
            "give -c CONFIG as well"
        )
    lad2000 = BENCHMARKS["lad2000"].classes
    return {
        "data": {"classes": list(lad2000) if detector.classes == len(lad2000) else None},
        "extract": {"streams": streams, "preset": "wan2021", "flow": "tvl1"},
        "train": {"window": detector.window},
    }


def other_features(
    checkpoint: Checkpoint, extract: ExtractConfig, identities: Mapping[str, str], *, given: bool
) -> list[str]:
    """How the features that a detector learned from differ from those that it is to score, as far as anybody knows.

    Args:
        checkpoint: of the detector.
        extract: how the features to score are made.
        identities: stream -> identity of the weights that they are made with.
        given: somebody else made them.
    """
    if checkpoint.config is None:
        return []
    learned = {stream: identity.startswith(UNKNOWN_WEIGHTS) for stream, identity in checkpoint.weights.items()}
    if any(learned.values()) != given:
        whose = ("features that were given", "features that lad makes")
        return [f"{whose[given]}, and these are {whose[not given]}"]
    if given:
        return []
    now = extract.model_dump(mode="json")
    then = ExtractConfig().model_dump(mode="json") | checkpoint.config["extract"]  # it may be older than a key
    keys = ["backbone", "preset", "context", "layers"] if now["streams"] else []  # motion alone sees no network
    keys += ["motion", "crops", "fps", "clip_stride"]
    keys += [key for key, stream in (("rgb_short_side", "rgb"), ("flow", "flow")) if stream in now["streams"]]
    found = [f"{key} {then.get(key)}, now {now[key]}" for key in keys if then.get(key) != now[key]]
    if "rgb" in now["streams"] and (then["dtype"] == "int8") != (now["dtype"] == "int8"):  # all others are alike
        found.append(f"dtype {then['dtype']}, now {now['dtype']}")
    if now["motion"] and then.get("motion") and checkpoint.weights.get(MOTION) != MOTION_IDENTITY:
        found.append("motion as another version of lad computes it")
    for stream, identity in identities.items():
        if checkpoint.weights.get(stream, identity) != identity:
            found.append(f"{stream} weights {checkpoint.weights[stream]}, now {identity}")
    return found


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically; all of it but tensors is plain Python data.

    A path that ends in `.safetensors` gets the detector alone (`detector_file`), without what resumes its training.
    """
    import torch

    if path.suffix == SUFFIX:
        write_detector(path, {"format": FORMAT, **vars(checkpoint)})
        return
    # To a file that torch does not know the name of: it would write the temporary one into it, and equal checkpoints
    # would not be the same bytes.
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(_equal_by_value({"format": FORMAT, **vars(checkpoint), "made_by": code_version()}), file)


def _equal_by_value(value: Any) -> Any:
    """The same data, in which equal strings are one object and every container its own.

    Pickle writes an object that it met before as a reference: what was read from a file, as after a resume, would
    become other bytes than the equal data of a training that was never interrupted.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, Mapping):
        return {_equal_by_value(key): _equal_by_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_equal_by_value(inner) for inner in value)
    return value


CAMERAS_OWN = ("metrics", "threshold", "selection", "fingerprint")  # of a camera's detector, beside tensors and sizes


def by_camera(checkpoint: Checkpoint) -> dict[str, Checkpoint]:
    """The detector of each camera, as if it were alone; one for all footage under the empty name.

    Raises:
        LookupError, TypeError, AttributeError: its parts are not those of several cameras.
    """
    if not checkpoint.cameras:
        return {"": checkpoint}
    found = {}
    for number, (camera, own) in enumerate(checkpoint.network["cameras"].items()):
        if not isinstance(camera, str):
            raise TypeError("its cameras have no names")
        start = f"{number}."
        tensors = {name.removeprefix(start): x for name, x in checkpoint.model.items() if name.startswith(start)}
        network = {"name": checkpoint.network["name"], "sizes": own["sizes"]}
        found[camera] = replace(checkpoint, model=tensors, network=network, **{part: own[part] for part in CAMERAS_OWN})
    return found


def _check_parts(checkpoint: Checkpoint, classes: int) -> None:
    """What scoring believes of a file: a wrong number there would become a wrong score, or end the run.

    Raises:
        ValueError, AttributeError, TypeError: it cannot be meant.
    """
    for name, tensor in checkpoint.model.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite")
    deviation = checkpoint.model.get("feature_std")
    if deviation is not None and not (deviation > 0).all():
        raise ValueError("feature_std holds numbers that are not above 0")
    names = checkpoint.classes
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its classes are no list of names")
    if names and (len(names) != classes or len(set(names)) != classes):
        raise ValueError(f"it has {len(set(names))} names for {classes} categories")
    calibration = Calibration(**checkpoint.calibration)
    if not all(math.isfinite(number) for number in (calibration.slope, calibration.offset, checkpoint.threshold)):
        raise ValueError("its calibration or its threshold is not finite")
    if checkpoint.familiar is not None and not 0 < checkpoint.familiar < math.inf:
        raise ValueError("the distance of unfamiliar clips is not above 0")
    if checkpoint.known_cameras is not None:
        KnownCameras(**checkpoint.known_cameras).check()
    reference = checkpoint.reference_clips
    if type(reference) is not int or not 0 <= reference <= MAX_REFERENCE_CLIPS:
        raise ValueError(f"train.reference_clips is no number of clips from 0 to {MAX_REFERENCE_CLIPS}")
    if not all(isinstance(identity, str) for identity in dict(checkpoint.weights).values()):
        raise ValueError("it names the weights of its features wrongly")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of this project, or a bare state dict as the authors' training code writes it.

    A file that ends in `.safetensors` is read as `detector_file` says, every other one as torch's.

    Raises:
        CheckpointError: the file is missing, damaged, would run code, or is of another format.
    """
    if path.is_dir():
        inside = path / "checkpoints" / "best.pt"
        raise CheckpointError(f"{path}: is a folder: name the checkpoint in it, such as {inside}")
    try:
        check_readable(path, MAX_CHECKPOINT_BYTES)
        data = read_detector(path) if path.suffix == SUFFIX else load_torch(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except NotADetector as error:
        raise CheckpointError(f"{path}: holds no detector: {error}; maybe it {FEATURE_WEIGHTS}") from error
    except (OSError, PickleRefused) as error:
        raise CheckpointError(f"{path}: not a checkpoint that can be read safely: {error}") from error
    import torch

    if not isinstance(data, Mapping):
        raise CheckpointError(f"{path}: not a checkpoint: it holds a {type(data).__name__}")
    if any(isinstance(tensor, torch.Tensor) and tensor.ndim == 5 for tensor in data.values()):  # of 3D convolutions
        raise CheckpointError(f"{path}: {FEATURE_WEIGHTS}")
    if "format" not in data:
        checkpoint = Checkpoint(model=data)
    elif data["format"] in (*OLDER_FORMATS, FORMAT):
        parts = {"made_by": "", **OLDER_FORMATS.get(data["format"], {})}
        parts |= {key: value for key, value in data.items() if key != "format"}
        if differing := parts.keys() ^ {one.name for one in fields(Checkpoint)}:
            raise CheckpointError(f"{path}: not as lad writes format {data['format']}: {', '.join(sorted(differing))}")
        checkpoint = Checkpoint(**parts)
        made_with = checkpoint.config
        if made_with is not None and not (
            isinstance(made_with, Mapping)
            and isinstance(made_with.get("extract"), Mapping)
            and isinstance(made_with.get("train", {}), Mapping)
        ):
            raise _does_not_say(path)
    else:
        newer = isinstance(data["format"], int) and data["format"] > FORMAT
        by = ": a newer lad wrote it: update this one" if newer else ""
        raise CheckpointError(f"{path}: its format is {data['format']}, lad {VERSION} reads {FORMAT}{by}")
    try:
        for one in by_camera(checkpoint).values():
            classes = len(one.classes)
            if not one.outside:
                with torch.device("meta"), warnings.catch_warnings():  # sizes take no memory before they fit each other
                    warnings.simplefilter("ignore")
                    classes = one.detector().classes
            _check_parts(one, classes)
    except (ValueError, AttributeError, TypeError, LookupError, RuntimeError, DetectorMissing) as error:
        raise CheckpointError(f"{path}: it cannot be used: {' '.join(str(error).split())[:300]}") from error
    return checkpoint
