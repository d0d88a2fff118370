"""The configuration: one model for each stage, YAML files, `-o key=value`; errors name the key and the line."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from lad.clip import CLIP_FRAMES, MAX_PIECE_CLIPS
from lad.errors import LadError
from lad.files import path_problem

Stream = Literal["rgb", "flow"]

# What PyYAML raises: also a ValueError for 2026-02-30 and its like, a RecursionError for brackets without end, and
# whatever it stumbles over where a tag such as !!bool does not fit its value.
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError, ArithmeticError)
MAX_DEPTH = 4  # sections in sections; an alias may nest without end
# How the command line's options are called that stand for keys.
OPTIONS = {"data.root": "--data", "device": "--device", "workers": "--workers", "score.checkpoint": "--checkpoint"}
# What became of keys since they were written: the key of today (None: there is none), and why. Every renaming goes
# through this table: checkpoints, work directories and files of an older lad are read all the same.
BECAME: dict[str, tuple[str | None, str]] = {"extract.runtime": (None, "torch runs every network by now")}
IMPOSSIBLE = "impossible"  # pydantic's name for an error of values that do not go together


class ConfigError(LadError):
    """What is wrong with a configuration, one line per problem."""


def _possible(path: Any) -> Any:
    if problem := path_problem(path):
        raise PydanticCustomError("path", "{problem}", {"problem": problem})
    return path


# Numbers have upper limits far beyond what anybody needs, so that a slip of the finger gets a line, not the machine.
Place = Annotated[Path, AfterValidator(_possible)]
Seed = Annotated[int, Field(ge=-(2**62), le=2**62)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def problems(self) -> dict[str, str]:
        """Keys whose values do not go together, and why; files and registries are looked at elsewhere."""
        return {}

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if problems := self.problems():
            raise PydanticCustomError(IMPOSSIBLE, "impossible", {"problems": problems})
        return self


class DataConfig(Section):
    """Which videos.

    Exactly one of `benchmark` and `dataset` is set, or neither: then every video below `root`, without labels.
    """

    benchmark: str | None = None  # a name of lad.datasets.BENCHMARKS
    layout: Literal["official", "released"] = (
        "official"  # released: features and labels as the authors' code keeps them
    )
    allow_missing: bool = False  # go on without what the benchmark's download lacks
    normal: str = "*normal*"  # benchmark `folder`: which names of files and folders mean a normal video
    dataset: Place | None = None  # a dataset.csv: as given, or below `root`
    root: Place | None = None  # --data; the dataset.csv's folder by default
    classes: list[str] | None = None  # the labels in the order of their index; alphabetical by default
    frame_folder_fps: float = Field(25.0, ge=1e-6, le=100_000)  # where a folder of frames has no fps of its own

    def problems(self) -> dict[str, str]:
        found = {}
        if self.benchmark and self.dataset:
            found["data.benchmark"] = "data.dataset is there too: give one of them"
        if self.layout == "released" and self.benchmark in (None, "folder"):
            found["data.layout"] = "released features are those of a data.benchmark of the authors' code"
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            found["data.classes"] = "a class stands twice"
        return found


class ExtractConfig(Section):
    """Pixels to features."""

    backbone: str = "i3d"
    streams: list[Stream] = Field(default=["rgb"], min_length=1)
    weights: dict[Stream, str] = {}  # a stream left out gets the backbone's default
    weights_seed: Seed = 0  # of weights named `random`
    preset: Literal["kinetics", "wan2021"] = "kinetics"
    # Of weights and activations: by default float16 on a GPU (float32 with `wan2021`), float32 on a CPU.
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    flow: str = "dis"
    flow_weights: str | None = None  # of a flow method that is a network; its default where it is one
    crops: Literal[1, 5, 10] = (
        1  # 1: the whole frame squashed; 5: corners and centre; 10: those and their mirror images
    )
    # With one crop: rgb frames keep their shape, their short side so many pixels, where people are small in the whole
    # frame squashed to 224x224. I3D takes any size; its time and memory grow with the pixels.
    rgb_short_side: int | None = Field(None, ge=224, le=1024)
    # What I3D sees as one: each clip, as the paper has it, or the clips of a batch as the piece of video that they are,
    # from which each clip takes its own part. I3D learned from 64 frames, and to see what is before and after costs
    # hardly anything.
    context: Literal["clip", "batch"] = "clip"
    fps: float | None = Field(
        None, gt=0, le=1000
    )  # frames are picked by their times to this rate; the video's own by default
    clip_stride: int = Field(16, ge=1, le=16)  # frames from one clip's start to the next; below 16 clips overlap
    tail: Literal["pad", "drop"] = "pad"
    batch_clips: int = Field(4, ge=1, le=1024)  # clips a forward pass; a batch never mixes videos
    # A file beyond these is refused, as hostile or damaged: a few bytes can claim frames that take all memory or time.
    max_pixels: int = Field(1 << 26, ge=1 << 12, le=1 << 31)  # of a frame or image: 8192 x 8192
    max_frames: int = Field(
        10_000_000, ge=1, le=10**9
    )  # of a video, and of what it becomes at `fps`: 4 days at 25 a second
    stall_seconds: float = Field(120.0, gt=0, le=86_400)  # a decoder that shows no progress for so long is ended

    def problems(self) -> dict[str, str]:
        found = {}
        if len(set(self.streams)) != len(self.streams):
            found["extract.streams"] = "a stream stands twice"
        if self.crops > 1 and self.rgb_short_side:
            found["extract.rgb_short_side"] = "crops have a size of their own: set extract.crops=1"
        if self.context == "batch" and self.clip_stride != CLIP_FRAMES:
            found["extract.context"] = f"clips that overlap are no piece of video: set clip_stride={CLIP_FRAMES}"
        if self.context == "batch" and self.batch_clips > MAX_PIECE_CLIPS:
            found["extract.batch_clips"] = f"a network sees at most {MAX_PIECE_CLIPS} clips as one"
        return found


class TrainConfig(Section):
    """Features to a detector."""

    detector: str = "aed_t"  # the paper's two layers; `aed`: one; `linear`: for sets of a few dozen videos
    window: int = Field(5, ge=1, le=1024)  # K, clips
    hidden: int = Field(128, ge=1, le=4096)
    dropout: float = Field(0.0, ge=0, lt=1)
    standardize: bool = True  # off: the paper's recipe
    learning_rate: float = Field(1e-4, gt=0, le=1000)
    weight_decay: float = Field(5e-4, ge=0, le=1000)
    class_weight: float = Field(1.0, ge=0, le=1e6)  # L1 of the paper
    score_weight: float = Field(10.0, ge=0, le=1e6)  # L2 of the paper
    abnormal_windows: int = Field(30, ge=1, le=10_000)  # a batch
    normal_windows: int = Field(30, ge=0, le=10_000)
    steps: int = Field(12_000, ge=1, le=10**8)
    evaluate_every: int = Field(200, ge=1, le=10**8)  # also writes a checkpoint
    # How many steps: the best evaluation on held-out training videos (validation), or the best mean of several
    # divisions of them, then trained again on all (cross-validation: for small sets).
    selection: Literal["validation", "cross-validation"] = "validation"
    folds: int = Field(4, ge=2, le=1000)
    val_fraction: float = Field(0.2, ge=0.001, lt=1)  # of the sources, where dataset.csv has no `val` rows
    seed: Seed = 0


class ScoreConfig(Section):
    """Features and a detector to scores."""

    checkpoint: Place | None = None  # the run's own best.pt by default
    merge: Literal["mean", "max"] = "mean"
    # A frame that scores more is reported as an event; by default what the detector's validation chose, else 0.5.
    threshold: float | None = Field(None, ge=0, le=1)
    merge_seconds: float = Field(0.5, ge=0, le=86_400)  # events with a shorter gap between them are one
    # Shorter events are left out: five frames at 25 a second are less than a person sees as something that happened.
    min_seconds: float = Field(0.2, ge=0, le=86_400)
    # GiB that a checkpoint from elsewhere may have the extraction of features take; half of this machine's by default.
    max_memory: float | None = Field(None, gt=0, le=1e6)


class ProtocolConfig(Section):
    """How often, and on which random splits."""

    splits: int = Field(1, ge=1, le=1000)  # a benchmark with a random split is repeated with seeds seed, seed + 1, ...
    seed: Seed = 0
    # Also measure as the authors' code does: the best checkpoint by the *test* videos, overlapping windows merged by
    # their maximum. Optimistic, for comparison with published numbers only.
    released: bool = False


class Config(Section):
    """Everything that a run depends on."""

    name: Annotated[str, AfterValidator(_possible)] = "run"
    data: DataConfig = DataConfig()
    extract: ExtractConfig = ExtractConfig()
    train: TrainConfig = TrainConfig()
    score: ScoreConfig = ScoreConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$")
    workers: int = Field(2, ge=1, le=256)  # decoding processes
    # On a CPU. By default the feature networks have every core, which moves no digit, and training and scoring two, so
    # that their last digits are the same on every machine.
    threads: int | None = Field(None, ge=1, le=1024)


def load_config(
    path: Path | None,
    overrides: list[str],
    base: dict[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Config:
    """Read a YAML file, or start from `base`, and apply overrides.

    Args:
        path: the file; None: there is none.
        overrides: `key=value`, with dotted keys and YAML values; for a key that is a text or a path, as they are.
        base: what to start from where there is no file.
        options: dotted key -> value, as it is: what options of the command line say. They win.
        say: gets a line for each key in `path` or `overrides` that `BECAME` has. In `base` they are passed over.

    Raises:
        ConfigError: every wrong key and value, with its line or override.
    """
    tree: dict[str, Any] = deepcopy(base or {})
    lines: dict[tuple[str, ...], int] = {}
    if path is not None:
        tree, lines = _read_yaml(path)
        tree.setdefault("name", path.stem)
    for key, (today, why) in BECAME.items():
        parts = tuple(key.split("."))
        found, value = _take(tree, parts)
        if found and today is not None:
            _set(tree, tuple(today.split(".")), value)
        if found and path is not None:
            say(f"{path}:{lines[parts]}: {_became(key)}: {why}")
    overridden: dict[tuple[str, ...], str] = {}
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = tuple(key.strip().split("."))
        if not equals or not all(parts):
            problems.append(f"-o {override}: expected key=value, as in -o train.steps=500")
            continue
        if (old := ".".join(parts)) in BECAME:
            today, why = BECAME[old]
            say(f"-o {override}: {_became(old)}: {why}")
            if today is None:
                continue
            parts = tuple(today.split("."))
        try:
            value = text if _is_text(parts, text) else yaml.safe_load(text)
        except NOT_YAML:
            problems.append(f"-o {override}: the value is not valid YAML")
            continue
        _set(tree, parts, value)
        overridden[parts] = f"-o {override}"
    for key, value in (options or {}).items():
        parts = tuple(key.split("."))
        _set(tree, parts, value)
        overridden[parts] = OPTIONS.get(key, key)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += [line for problem in error.errors() for line in _explain(problem, path, lines, overridden)]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def override(key: str, value: object) -> str:
    """`key=value` as `-o` reads it: the text or path as it is, with quotes only where YAML would see more in it."""
    text = str(value)
    return f"{key}={text if _is_text(tuple(key.split('.')), text) else json.dumps(text, ensure_ascii=False)}"


def _is_text(parts: tuple[str, ...], text: str) -> bool:
    """Whether the value of an override is no YAML but the text or path as it stands: `*` and `#` mean nothing there.

    Quotes or blanks around all of it, and `null` for no value, are YAML's for every key.
    """
    kind: Any = Config
    for part in parts:
        fields = getattr(kind, "model_fields", {})
        if part not in fields:
            return False
        kind = fields[part].annotation
    kinds = {get_args(one)[0] if get_origin(one) is Annotated else one for one in get_args(kind) or (kind,)}
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    plain = not quoted and text == text.strip() and text not in ("", "~", "null")
    return plain and kinds <= {str, Path, type(None)}


def _set(tree: dict[str, Any], parts: tuple[str, ...], value: Any) -> None:
    for part in parts[:-1]:
        child = tree.get(part)
        tree[part] = tree = child if isinstance(child, dict) else {}
    tree[parts[-1]] = value


def _became(key: str) -> str:
    today = BECAME[key][0]
    return f"{key} is no more" if today is None else f"{key} is called {today} now"


def _take(tree: Any, parts: tuple[str, ...]) -> tuple[bool, Any]:
    """Remove a key: whether it was there, and its value."""
    for part in parts[:-1]:
        tree = tree.get(part) if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or parts[-1] not in tree:
        return False, None
    return True, tree.pop(parts[-1])


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """The file as plain data, and the line of every key."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}") from error
    except NOT_YAML as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if tree is None:
        return {}, {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}:1: a configuration is a list of `key: value`")
    lines: dict[tuple[str, ...], int] = {}
    twice: list[str] = []

    def walk(node: yaml.Node | None, prefix: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode) and len(prefix) < MAX_DEPTH:
            for key, value in node.value:
                place = (*prefix, str(key.value))
                line = key.start_mark.line + 1
                if place in lines:
                    twice.append(f"{path}:{line}: key {'.'.join(place)!r} stands already on line {lines[place]}")
                lines[place] = line
                walk(value, place)

    walk(root, ())
    if twice:
        raise ConfigError("\n".join(twice))
    return tree, lines


def _explain(
    problem: Any, path: Path | None, lines: dict[tuple[str, ...], int], overridden: dict[tuple[str, ...], str]
) -> list[str]:
    def where(location: tuple[str, ...]) -> str:
        for length in range(len(location), 0, -1):
            if location[:length] in overridden:
                return overridden[location[:length]]
            if location[:length] in lines:
                return f"{path}:{lines[location[:length]]}"
        return str(path or "configuration")

    if problem["type"] == IMPOSSIBLE:
        return [f"{where(tuple(key.split('.')))}: {key}: {why}" for key, why in problem["ctx"]["problems"].items()]
    location = tuple(str(part) for part in problem["loc"])
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return [f"{where(location)}: unknown key {key!r}; {_known_keys(location[:-1])}"]
    said = problem["msg"][0].lower() + problem["msg"][1:]
    return [f"{where(location)}: {key}: {said}, got {_shown(problem['input'])}"]


def _shown(value: object) -> str:
    """A wrong value, cut where it is long: aliases can make a short file of a value without end."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 200
    try:
        return short.repr(value)
    except ValueError:  # Python spells out no integer of so many digits
        return "a number of too many digits"


def _known_keys(section: tuple[str, ...]) -> str:
    model: Any = Config
    for part in section:
        model = model.model_fields[part].annotation
    return f"known here: {', '.join(sorted(model.model_fields))}"
