"""Every key of the configuration: its default, its limits, its meaning."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from lad.clip import CLIP_FRAMES, MAX_PIECE_CLIPS
from lad.config_data import DataConfig
from lad.config_section import Place, Section, Seed, possible

Stream = Literal["rgb", "flow"]
MAX_REFERENCE_CLIPS = 1024


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:([0-9]{1,3}|all))?", name):
        raise PydanticCustomError("device", "choose auto, cpu, cuda, cuda:<number> or cuda:all")
    return name


class ExtractConfig(Section):
    """Pixels to features."""

    backbone: str = Field(
        "i3d", description="feature network: `i3d`, `i3d_r50`; `tiny`, which is small and knows nothing, for trials"
    )
    streams: list[Stream] = Field(
        default=["rgb"], description="what a network makes features of: pictures (`rgb`), optical flow (`flow`)"
    )
    motion: bool = Field(
        False,
        description=(
            "beside the streams, how fast things move: 9 quantiles over the picture for each frame, 144 numbers a "
            "clip, without a network; with it `streams` may be empty"
        ),
    )
    layers: list[str] = Field(
        default=[],
        description=(
            "beside the streams, each in an array of its own: `moving`, I3D's features of the parts of the picture in "
            "which something moves; or blocks that it passes on the way, of each the mean and deviation over a clip's "
            "time: `Mixed_3b`, `3c`, `4b` to `4f`, `5b`, `5c`"
        ),
    )
    weights: dict[Stream, str] = Field(
        {}, description="name of the weights of each stream; one left out gets the backbone's default"
    )
    weights_seed: Seed = Field(0, description="seed of weights named `random`")
    preset: Literal["kinetics", "wan2021"] = Field(
        "kinetics",
        description=(
            "how pixels are scaled: as Kinetics' networks have them, or as the authors' released extractor does"
        ),
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto",
        description=(
            "of weights and activations: by default float16 on a GPU (float32 with `wan2021`), float32 on a CPU; "
            "`int8`: rgb twice as fast on a CPU with VNNI, for I3D's own weights and preset `kinetics`"
        ),
    )
    flow: str = Field("dis", description="method of optical flow: `dis`, `farneback`, `raft`, `tvl1`")
    flow_weights: str | None = Field(None, description="name of the weights of `flow: raft`; other methods need none")
    crops: Literal[1, 5, 10] = Field(
        1, description="1: the whole frame squashed; 5: corners and centre; 10: those and their mirror images"
    )
    rgb_short_side: int | None = Field(
        None,
        ge=224,
        le=1024,
        description=(
            "pixels; with one crop, rgb frames keep their shape and get this short side, where people are "
            "small in the whole frame squashed to 224x224; time and memory grow with the pixels"
        ),
    )
    context: Literal["clip", "batch"] = Field(
        "clip",
        description=(
            "what I3D sees as one: each clip, as the paper has it, or the clips of a batch as the piece of "
            "video that they are; I3D learned from 64 frames, and seeing them costs hardly anything"
        ),
    )
    fps: float | None = Field(
        None, gt=0, le=1000, description="frames a second that are picked, by their times; the video's own by default"
    )
    clip_stride: int = Field(
        16,
        ge=1,
        le=1024,
        description=(
            "frames from one clip's start to the next: below 16 clips overlap; above 16 no network sees the frames "
            "between them, which have the scores of the nearest clip (with `context: batch` batches lie so far apart)"
        ),
    )
    tail: Literal["pad", "drop"] = Field(
        "pad",
        description="what becomes of a last clip of fewer than 16 frames: filled up with its last frame, or dropped",
    )
    batch_clips: int = Field(4, ge=1, le=1024, description="clips a forward pass; a batch never mixes videos")
    still: Literal["see", "skip"] = Field(
        "see",
        description="`skip`: no network sees clips in which nothing moves: they have the features of the last one seen",
    )
    reader: Literal["decord", "torchcodec"] = Field(
        "decord",
        description=(
            "what decodes video files first, before PyAV: `torchcodec` (an extra of its own) has a GPU do it, where "
            "networks run on one"
        ),
    )
    max_pixels: int = Field(
        1 << 26,
        ge=1 << 12,
        le=1 << 31,
        description=(
            "pixels of a frame or image, 8192 x 8192 by default; a file with more is refused, as hostile or damaged"
        ),
    )
    max_frames: int = Field(
        10_000_000,
        ge=1,
        le=10**9,
        description=(
            "frames of a video, and of what it becomes at `fps`: 4 days at 25 a second; one with more is refused"
        ),
    )
    stall_seconds: float = Field(
        120.0, gt=0, le=86_400, description="seconds after which a decoder that shows no progress is ended"
    )

    def problems(self) -> dict[str, str]:
        found = {}
        if len(set(self.streams)) != len(self.streams):
            found["extract.streams"] = "a stream stands twice"
        if not self.streams and not self.motion:
            found["extract.streams"] = "there is none: name rgb or flow, or set extract.motion=true"
        if len(set(self.layers)) != len(self.layers):
            found["extract.layers"] = "a layer stands twice"
        if self.layers and not self.streams:
            found["extract.layers"] = (
                "no network passes them: name rgb or flow in extract.streams, or leave them out with []"
            )
        if self.crops > 1 and self.rgb_short_side:
            found["extract.rgb_short_side"] = "crops have a size of their own: set extract.crops=1"
        if self.context == "batch" and self.clip_stride < CLIP_FRAMES:
            found["extract.context"] = f"clips that overlap are no piece of video: set clip_stride={CLIP_FRAMES}"
        if self.still == "skip" and self.clip_stride < CLIP_FRAMES:
            found["extract.still"] = f"clips that overlap are never left out: set clip_stride={CLIP_FRAMES}"
        if self.context == "batch" and self.batch_clips > MAX_PIECE_CLIPS:
            found["extract.batch_clips"] = f"a network sees at most {MAX_PIECE_CLIPS} clips as one"
        return found


class TrainConfig(Section):
    """Features to a detector."""

    detector: str = Field(
        "aed_t",
        description=(
            "`aed_t`: the paper's two layers; `aed`: one; `linear`: for sets of a few dozen videos; `mil`: for labels "
            "of whole videos; `mil_causal`: the same for cameras; `normality`: for normal footage alone"
        ),
    )
    supervision: Literal["auto", "frames", "clicks", "videos", "normal"] = Field(
        "auto",
        description=(
            "what labels are of: `frames`, where each event begins and ends; `clicks`, one frame of each; `videos`, "
            "whether there is one; `normal`: there is no event at all; `auto`: the one that says most, if the labels "
            "of all training videos and the detector allow it"
        ),
    )
    cameras: Literal["each", "one"] = Field(
        "each",
        description=(
            "of `normality`, where the column `source` names cameras: a detector for `each` of them, in one file, or "
            "`one` of all footage"
        ),
    )
    motion_quantile: float = Field(
        0.98,
        ge=0,
        le=1,
        description=(
            "of `normality`: the share of the picture that is slower than what counts as a frame's speed, one of "
            "0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995 and 1"
        ),
    )
    smooth_seconds: float = Field(
        0.4,
        ge=0,
        le=3600,
        description="of `normality`: sigma of the Gaussian that smooths scores over time",
    )
    window: int = Field(
        5,
        ge=1,
        le=1024,
        description="clips that the detector sees at once: K; of `mil`, which sees more, those near a clip",
    )
    hidden: int = Field(128, ge=1, le=4096, description="width of the detector's layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of activations that training leaves out")
    reference_clips: int = Field(
        0,
        ge=0,
        le=MAX_REFERENCE_CLIPS,
        description=(
            "the mean of so many clips at the start of each video is subtracted from its features; no event may have "
            "begun there; 0: features stay as they are"
        ),
    )
    standardize: bool = Field(
        True, description="scale features by the training videos' mean and deviation; off: the paper's recipe"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description=(
            "precision of the convolutions of `aed` and `aed_t` in training and its validations: `bfloat16` is faster "
            "where the processor has it (/proc/cpuinfo: avx512_bf16, amx_bf16); scoring is in float32"
        ),
    )
    learning_rate: float = Field(1e-4, gt=0, le=1000, description="step size of the optimizer")
    weight_decay: float = Field(5e-4, ge=0, le=1000, description="weight decay of the optimizer, Adam")
    class_weight: float = Field(1.0, ge=0, le=1e6, description="weight of the category's loss: L1 of the paper")
    score_weight: float = Field(10.0, ge=0, le=1e6, description="weight of the score's loss: L2 of the paper")
    abnormal_windows: int = Field(30, ge=1, le=10_000, description="windows, or whole videos, with an event in a batch")
    normal_windows: int = Field(
        30, ge=0, le=10_000, description="windows, or whole videos, without an event in a batch"
    )
    steps: int = Field(12_000, ge=1, le=10**8, description="batches to train for, at most")
    evaluate_every: int = Field(
        200, ge=1, le=10**8, description="steps from one evaluation to the next, which also writes a checkpoint"
    )
    selection: Literal["validation", "cross-validation"] = Field(
        "validation",
        description=(
            "how many steps: the best evaluation on held-out training videos (validation), or the best mean "
            "of several divisions of them, then trained again on all (cross-validation: for small sets)"
        ),
    )
    folds: int = Field(4, ge=2, le=1000, description="divisions of cross-validation")
    val_fraction: float = Field(
        0.2, ge=0.001, lt=1, description="share of the sources that is held out, where dataset.csv has no `val` rows"
    )
    adapt: Literal["none", "source"] = Field(
        "none",
        description=(
            "`source`: the detector also learns how to score a camera whose normal footage it is shown "
            "(`lad score --normal`); it needs labels of frames, and normal footage of several sources"
        ),
    )
    seed: Seed = Field(0, description="of the detector's first weights, of batches and of what is held out")

    def problems(self) -> dict[str, str]:
        useless = {
            "normality": "it compares clips with normal footage",
            "mil_causal": "it is for cameras, whose start was long ago",
        }
        why = useless.get(self.detector) if self.reference_clips else None
        return {"train.reference_clips": f"{self.detector} has no use for it, since {why}: set it to 0"} if why else {}


class ScoreConfig(Section):
    """Features and a detector to scores."""

    checkpoint: Place | None = Field(None, description="`--checkpoint`: the detector; the run's own best.pt by default")
    source: str | None = Field(
        None,
        min_length=1,
        description=(
            "`--source`: which camera filmed the videos, where the detector has one for each; by default what the "
            "column `source` says"
        ),
    )
    videos: Literal["all", "test"] = Field(
        "all", description="`test`: of a dataset only the videos in the split `test` are scored, not those that teach"
    )
    merge: Literal["mean", "max"] = Field("mean", description="how the scores of overlapping windows become one")
    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description=(
            "a frame that scores more is part of an event; by default what the detector's validation chose, else 0.5"
        ),
    )
    alarms_per_day: float | None = Field(
        None,
        gt=0,
        le=86_400,
        description=(
            "with `normality`: sets the threshold, so that normal footage exceeds it so often; 2 where neither this "
            "nor `threshold` is set"
        ),
    )
    merge_seconds: float = Field(0.5, ge=0, le=86_400, description="events with a shorter gap between them are one")
    min_seconds: float = Field(
        0.2,
        ge=0,
        le=86_400,
        description=(
            "shorter events are left out: five frames at 25 a second are less than a person sees as something "
            "that happened"
        ),
    )
    max_memory: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description=(
            "GiB that a checkpoint from elsewhere may have the extraction of features take; half of this "
            "machine's by default"
        ),
    )

    def problems(self) -> dict[str, str]:
        if self.alarms_per_day is not None and self.threshold is not None:
            return {"score.alarms_per_day": "score.threshold is set too: give one of them"}
        return {}


class ProtocolConfig(Section):
    """How often, and on which random splits."""

    splits: int = Field(
        1,
        ge=1,
        le=1000,
        description=(
            "a benchmark with a random split is repeated with seeds `seed`, `seed` + 1, ...; where an earlier run had "
            "more splits, their detectors and scores stay on the disk and are not counted"
        ),
    )
    seed: Seed = Field(0, description="of the first random split")
    official: bool = Field(
        False,
        description=(
            "of `avenue`, `ped1` and `ped2`: the split that the benchmark was published with, in whose training half "
            "nothing happens, instead of a random one: what detectors of normal footage alone are measured on"
        ),
    )
    released: bool = Field(
        False,
        description=(
            "also measure as the authors' code does: the best checkpoint by the *test* videos, overlapping "
            "windows merged by their maximum; optimistic, for comparison with published numbers only"
        ),
    )
    by_test: bool = Field(
        False,
        description=(
            "also measure as RTFM, UR-DMU, PEL4VAD and BN-WVAD do: the best evaluation by the *test* videos; "
            "optimistic, for comparison with published numbers only"
        ),
    )


class Config(Section):
    """Everything that a run depends on."""

    name: Annotated[str, AfterValidator(possible)] = Field(
        "run", description="of the run: its work directory is runs/<name>; the configuration file's name by default"
    )
    data: DataConfig = DataConfig()
    extract: ExtractConfig = ExtractConfig()
    train: TrainConfig = TrainConfig()
    score: ScoreConfig = ScoreConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    device: Annotated[str, AfterValidator(_device)] = Field(
        "auto",
        description=(
            "`--device`: where networks run: `auto`, `cpu`, `cuda` or `cuda:<number>`; `cuda:all`: features are "
            "extracted on all GPUs of this machine"
        ),
    )
    workers: int = Field(2, ge=1, le=256, description="`--workers`: decoding processes")
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description=(
            "On a CPU. By default the feature networks have every core, which moves no digit, and training "
            "and scoring two, so that their last digits are the same on every machine."
        ),
    )


def all_keys(model: type[BaseModel] | None = None, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of the configuration, dotted, with what is known of it."""
    for name, field in (model or Config).model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, Section):
            yield from all_keys(field.annotation, f"{name}.")
        else:
            yield f"{prefix}{name}", field
