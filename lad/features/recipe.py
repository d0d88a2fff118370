"""What features depend on: computed once for a run, frozen, and hashed into their fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lad.clip import CLIP_FRAMES
from lad.config import ExtractConfig, Stream
from lad.device import STEADY_THREADS, DeviceError, kind_of, numerics, repeatable
from lad.extract import motion, stillness
from lad.extract.clips import ClipSpec
from lad.extract.cost import threads_in
from lad.extract.flow import FLOW_METHODS
from lad.extract.runtime import Context, Dtype, Preset, choose_dtype
from lad.memory import machine_memory
from lad.models import weights
from lad.models.cpu import ranges
from lad.models.published import NETWORKS
from lad.models.registry import BACKBONES
from lad.text import unknown

if TYPE_CHECKING:
    from lad.extract.extractor import FeatureExtractor

CODE_VERSION = 2  # raised by hand when the same input gives other features, by more than rounding (1e-4)
INT8_CODE_VERSION = 1  # the same, of networks in 8-bit integers
MOTION_CODE_VERSION = 2  # the same, of motion
LAYER_CODE_VERSION = 1  # the same, of layers
MOTION_IDENTITY = f"version {MOTION_CODE_VERSION}"
EXTRACT = "extract"  # the stage's name in fingerprints and the manifest
UNKNOWN_WEIGHTS = "not known"


@dataclass(frozen=True)
class FeatureRecipe:
    """All that the features of a video depend on, but for the video itself.

    Attributes:
        clips: how videos are cut into clips.
        backbone: name of the feature network.
        weights: stream -> name of its weights.
        identities: stream -> what results call its weights: the name with a checksum.
        flow: what results call the flow method: its name, with a version or the identity of its weights.
        weights_seed: of weights named `random`.
        preset: how pixels are scaled.
        context: what the network sees as one.
        dtype: the precision that the networks run in.
        device: `cpu`, `cuda` or `cuda:<index>`.
        threads: of the networks on a CPU. No feature depends on them.
        layers: what else the networks give of a clip, see `i3d.ClipPooling`; features of their own.
    """

    clips: ClipSpec
    backbone: str
    weights: Mapping[str, str]
    identities: Mapping[str, str]
    flow: str
    weights_seed: int
    preset: Preset
    context: Context
    dtype: Dtype
    device: str
    threads: int
    layers: tuple[str, ...] = ()

    @property
    def streams(self) -> tuple[str, ...]:
        """What a video has a file of features for each: `rgb`, `flow`, their layers as `rgb.Mixed_3c`, `motion`."""
        return self.clips.streams

    @property
    def dims(self) -> tuple[int, ...]:
        """How many numbers each of them has for a clip."""
        return tuple(stream_dim(self.backbone, stream) for stream in self.streams)

    @property
    def remembered(self) -> dict[str, str]:
        """What a detector keeps of the features that it learns from: by what each stream was made."""
        by_lad = {motion.MOTION: MOTION_IDENTITY} if motion.MOTION in self.streams else {}
        return {**self.identities, **by_lad}

    def dtype_of(self, stream: str) -> Dtype:
        """The precision of a stream's network: flow stays in float32 where rgb is in 8-bit integers.

        On footage where little moves, flow's features differ so little from clip to clip that 8 bits lose it.
        """
        return "float32" if self.dtype == "int8" and stream != "rgb" else self.dtype

    def facts(self, stream: str) -> dict[str, object]:
        """What the features of one stream depend on, as plain data."""
        if stream == motion.MOTION:
            return {**self._motion_facts(), **self._reader_facts(), **self._still_facts()}
        stream, _, layer = stream.partition(".")
        # Every number of threads gives the features that two give, so those of an older lad with two stay valid.
        numbers = {**numerics(self.device, STEADY_THREADS), "dtype": self.dtype_of(stream)}
        facts: dict[str, object] = {
            "stage": EXTRACT,
            "code": CODE_VERSION,
            "backbone": self.backbone,
            "weights": self.identities[stream],
            "preset": self.preset,
            "flow": self.flow if stream == "flow" else None,
            "crops": self.clips.crops,
            "fps": self.clips.fps,
            "clip_stride": self.clips.stride,
            "tail": self.clips.tail,
            "batch_clips": self.clips.batch_clips,
            "numerics": numbers,
        }
        if stream == "rgb" and self.clips.rgb_short_side:
            facts["short_side"] = self.clips.rgb_short_side
        if self.context != "clip":
            facts["context"] = self.context
        if self.dtype_of(stream) == "int8":
            facts["int8"] = f"{INT8_CODE_VERSION}, ranges {ranges.identity()}"
        if layer:
            facts |= {"layer": layer, "layer_code": LAYER_CODE_VERSION}
        return {**facts, **self._reader_facts(), **self._still_facts()}

    def _motion_facts(self) -> dict[str, object]:
        """The same of motion, which needs neither a network nor its device."""
        return {
            "stage": EXTRACT,
            "code": MOTION_CODE_VERSION,
            "crops": self.clips.crops,
            "fps": self.clips.fps,
            "clip_stride": self.clips.stride,
            "tail": self.clips.tail,
            # Of clips without gaps it says nothing.
            **({"together": self.clips.together} if self.clips.stride > CLIP_FRAMES else {}),
        }

    def _reader_facts(self) -> dict[str, object]:
        """The first reader, where it is not decord: a GPU has colours of its own, and so may have another FFmpeg."""
        return {} if self.clips.reader == "decord" else {"reader": f"{self.clips.reader}, {kind_of(self.clips.device)}"}

    def _still_facts(self) -> dict[str, object]:
        """How still clips are left out, where they are: of how many together that is asked."""
        if not self.clips.still:
            return {}
        together = f", {self.clips.still} clips together" if self.clips.still > 1 else ""
        return {"still": f"skip:{stillness.CODE_VERSION}{together}"}

    def describe(self) -> str:
        """It in a few words, for a log."""
        flow = self.clips.flow
        of_networks = [f"{s} ({name}{', ' + flow if s == 'flow' else ''})" for s, name in self.weights.items()]
        parts = [f"{self.backbone} {' + '.join(of_networks)}"] if of_networks else []
        streams = " + ".join([*parts, *(s for s in self.streams if s not in self.weights)])
        threads = f", {self.threads} threads" if self.device == "cpu" else ""
        still = ", without still clips" if self.clips.still else ""
        reader = "" if self.clips.reader == "decord" else f", read by {self.clips.reader}"
        return f"{streams}{still}, {self.device}, {self.dtype}{threads}{reader}"


def stream_dim(backbone: str, stream: str) -> int:
    """How many numbers the features of a stream have for a clip."""
    if stream == motion.MOTION:
        return motion.DIM
    layer = stream.partition(".")[2]
    return BACKBONES[backbone].layers[layer] if layer else BACKBONES[backbone].feature_dim


def configured_streams(extract: ExtractConfig) -> tuple[str, ...]:
    """The streams that a configuration has features of, in the order in which they stand side by side.

    The layers that a network passes come behind its own features.
    """
    of_networks = [part for s in extract.streams for part in (s, *(f"{s}.{layer}" for layer in extract.layers))]
    return (*of_networks, *([motion.MOTION] if extract.motion else []))


def make_recipe(extract: ExtractConfig, *, device: str, threads: int, given: bool = False) -> FeatureRecipe:
    """The recipe that a configuration describes.

    Args:
        extract: the configuration.
        device: where networks run, resolved.
        threads: of networks on a CPU.
        given: all features were made by somebody else, so that nobody knows of which weights.

    Raises:
        weights.WeightsError: weights are not in the cache (`needed_weights` names them), do not fit, or are
            another copy than the one that `int8` is known for.
        DeviceError: 8-bit integers are asked of a GPU.
    """
    if extract.dtype == "int8" and kind_of(device) != "cpu" and not given:
        raise DeviceError("extract.dtype int8 is for a CPU: set it to auto, or pass --device cpu")
    names: dict[str, str] = {stream: weights_name(extract, stream) for stream in extract.streams}
    if given:
        identities = dict.fromkeys(names, f"{UNKNOWN_WEIGHTS}: the features were given")
    else:
        seed, backbone = extract.weights_seed, extract.backbone
        identities = {s: weights.identity(name, backbone=backbone, stream=s, seed=seed) for s, name in names.items()}
        if extract.dtype == "int8" and "rgb" in names:
            ranges.check(names["rgb"], identities["rgb"].rpartition(":")[2])
    return FeatureRecipe(
        clips=clip_spec(extract, device),
        backbone=extract.backbone,
        weights=names,
        identities=identities,
        flow=extract.flow if given else _flow_identity(extract),
        weights_seed=extract.weights_seed,
        preset=extract.preset,
        context=extract.context,
        dtype=choose_dtype(extract.dtype, device, extract.preset),
        device=device,
        threads=threads,
        layers=tuple(extract.layers),
    )


def clip_spec(extract: ExtractConfig, device: str) -> ClipSpec:
    """How a configuration has videos cut into clips."""
    as_one = extract.batch_clips if extract.context == "batch" else 1
    return ClipSpec(
        streams=configured_streams(extract),
        flow=extract.flow,
        tail=extract.tail,
        batch_clips=extract.batch_clips,
        stride=extract.clip_stride,
        crops=extract.crops,
        rgb_short_side=extract.rgb_short_side,
        fps=extract.fps,
        reader=extract.reader,
        device=device,
        flow_weights=_flow_weights(extract),
        still=0 if extract.still == "see" else as_one,
        together=as_one,
    )


def weights_name(extract: ExtractConfig, stream: Stream) -> str:
    """The weights of a stream: the configured ones, or its backbone's default."""
    return extract.weights.get(stream) or weights.default_name(extract.backbone, stream)


def needed_weights(extract: ExtractConfig) -> list[str]:
    """Names of the weights that features of this configuration need, those of a flow network included."""
    names = [weights_name(extract, stream) for stream in extract.streams]
    if "flow" in extract.streams and (flow := _flow_weights(extract)):
        names.append(flow)
    return list(dict.fromkeys(name for name in names if name != "random"))


def missing_weights(extract: ExtractConfig) -> list[str]:
    """Those of `needed_weights` that are not in the cache yet.

    Raises:
        weights.WeightsError: a name is unknown.
    """
    return [name for name in needed_weights(extract) if weights.find(name) is None]


def recipe_problems(extract: ExtractConfig) -> Iterator[str]:
    """What of a configuration no registry knows, or what does not fit together, one line each."""
    wrong = unknown("extract.flow", extract.flow, FLOW_METHODS)
    yield from wrong
    if extract.flow_weights and not wrong:
        yield from _weights_problems("extract.flow_weights", extract.flow_weights, extract.flow, "flow")
    if wrong := unknown("extract.backbone", extract.backbone, BACKBONES):
        yield from wrong
        return
    backbone = BACKBONES[extract.backbone]
    wrong = [line for layer in extract.layers for line in unknown("extract.layers", layer, backbone.layers)]
    if extract.layers and not backbone.layers:
        known = ", ".join(name for name, one in BACKBONES.items() if one.layers)
        instead = f"set extract.backbone to {known}, or extract.layers to []"
        wrong = [f"extract.layers: {extract.backbone} gives none: {instead}"]
    if "moving" in extract.layers and "flow" in extract.streams and extract.preset == "wan2021":
        wrong = ["extract.layers: moving cannot tell what moves from flow as extract.preset wan2021 scales it"]
    if wrong:
        yield from wrong
        return
    for stream in extract.streams:
        if stream not in backbone.streams:
            yield f"extract.streams: {extract.backbone} has no {stream} stream"
        else:
            name = weights_name(extract, stream)
            yield from _weights_problems(f"extract.weights.{stream}", name, extract.backbone, stream)
    if extract.dtype == "int8":
        yield from _int8_problems(extract)
    if (dim := sum(stream_dim(extract.backbone, stream) for stream in configured_streams(extract))) % 16:
        yield f"extract: {dim} numbers a clip; the detector needs a multiple of 16"


def _weights_problems(key: str, name: str, backbone: str, stream: str) -> Iterator[str]:
    try:
        weights.check(name, backbone=backbone, stream=stream)
    except weights.WeightsError as error:
        yield f"{key}: {error}"


def _int8_problems(extract: ExtractConfig) -> Iterator[str]:
    """Of what it is not known how large activations become."""
    instead = "set extract.dtype to float32"
    if extract.preset != "kinetics":
        yield f"extract.dtype: int8 is not known for preset {extract.preset}, only for kinetics: {instead}"
    if "rgb" not in extract.streams:
        yield f"extract.dtype: int8 is for rgb, which extract.streams does not name: {instead}"
    elif (name := weights_name(extract, "rgb")) not in ranges.known():
        yield f"extract.dtype: int8 is known for weights {', '.join(ranges.known())}, not for {name}: {instead}"


def _flow_weights(extract: ExtractConfig) -> str | None:
    """The weights of a flow method that is a network."""
    if (extract.flow, "flow") not in NETWORKS:
        return None
    return extract.flow_weights or weights.default_name(extract.flow, "flow")


def _flow_identity(extract: ExtractConfig) -> str:
    """The flow method, with its version where that is not the first, or the identity of a network's weights."""
    if extract.flow == "tvl1":
        return "tvl1:2"  # the first was OpenCV's
    name = _flow_weights(extract)
    if name is None or "flow" not in extract.streams:
        return extract.flow
    return f"{extract.flow}:{weights.identity(name, backbone=extract.flow, stream='flow')}"


def load_extractor(recipe: FeatureRecipe) -> FeatureExtractor:
    """The feature networks of a recipe, ready on its device.

    Raises:
        weights.WeightsError: their weights are not in the cache, or damaged there.
        Int8Error: this machine cannot compute in 8-bit integers.
        DeviceError: the device is not there.
    """
    from lad.extract.extractor import FeatureExtractor

    # Each thread's piece takes memory: all of them together no more than half of what there is.
    threads = threads_in(machine_memory() // 2, recipe.threads, recipe.clips, recipe.backbone, recipe.context)
    # On one thread, beside a decoder that begins. Two would wait for each other longer than they save.
    with repeatable(recipe.device, 1):
        networks = {
            stream: weights.load(name, backbone=recipe.backbone, stream=stream, seed=recipe.weights_seed)
            for stream, name in recipe.weights.items()
        }
        return FeatureExtractor(
            networks,
            backbone=recipe.backbone,
            preset=recipe.preset,
            device=recipe.device,
            crops=recipe.clips.crops,
            context=recipe.context,
            dtype=recipe.dtype,
            threads=threads,
            layers=recipe.layers,
            ranges={s: ranges.load(name) for s, name in recipe.weights.items() if recipe.dtype_of(s) == "int8"},
        )
