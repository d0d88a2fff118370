"""Features that somebody else made: used where they lie, and checked before they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import Video
from lad.features.layout import CROPS, OWN, read_layout
from lad.features.recipe import EXTRACT, stream_dim
from lad.features.video import CropFiles, FeatureFile, beside, feature_file, files_of, open_array
from lad.files import read_npy
from lad.models.registry import BACKBONES
from lad.names import CROP, CROP_SUFFIX

GIVEN = "given"  # stands for the stream in the manifest's items of such features


@dataclass(frozen=True)
class Headers:
    """What the headers of a video's given features say.

    Attributes:
        files: of each stream, or one of all.
        layout: the order of their axes.
        why: why they are read in that order, where it is not lad's own and nobody asked for it; else empty.
    """

    files: list[FeatureFile | CropFiles]
    layout: str
    why: str


@dataclass(frozen=True)
class Checked:
    """What a look at given features showed.

    Attributes:
        frames: how many they tell of.
        warnings: what is odd about them.
        refusal: why they cannot be used; empty: they can.
        layout: the order of the files' axes.
        why: as `Headers` has it.
    """

    frames: int = 0
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    layout: str = OWN
    why: str = ""


def given_parts(video: Video, streams: Sequence[str]) -> list[list[Path]]:
    """The feature files of a video that comes as features.

    One for each stream where its path says `{stream}`. Where it says `{crop}`, each of them is several: `a__{crop}.npy`
    stands for `a__0.npy`, `a__1.npy`, ..., as XD-Violence has them, or with `a.npy` in the first one's place, as those
    of UCF-Crime have it (Roc-Ng/DeepMIL).
    """
    paths = dict.fromkeys(Path(str(video.path).replace("{stream}", stream)) for stream in streams)
    return [_crops(path) if CROP in path.name else [path] for path in paths]


def _crops(path: Path) -> list[Path]:
    first, plain = (path.with_name(path.name.replace(mark, with_)) for mark, with_ in ((CROP, "0"), (CROP_SUFFIX, "")))
    others = [path.with_name(path.name.replace(CROP, str(number))) for number in range(1, max(CROPS))]
    missing = next((number for number, other in enumerate(others) if not other.exists()), len(others))
    return [plain if plain.exists() and not first.exists() else first, *others[:missing]]


def _behind_a_gap(path: Path, crops: int) -> Path | None:
    """The file of a later crop, where the one behind the first `crops` is not there."""
    numbers = range(crops + 1, max(CROPS)) if CROP in path.name else ()
    later = (path.with_name(path.name.replace(CROP, str(number))) for number in numbers)
    return next((one for one in later if one.exists()), None)


def given_paths(video: Video, streams: Sequence[str]) -> list[Path]:
    """All of a video's `given_parts`, one after the other."""
    return [path for part in given_parts(video, streams) for path in part]


def read_headers(video: Video, streams: Sequence[str], asked: str) -> Headers:
    """Read the headers of a video's given features; `asked`: `data.npy_layout`.

    Raises:
        OSError: a file cannot be read.
        ValueError: it holds something else, or its axes cannot be told from each other; names it.
    """
    parts = given_parts(video, streams)
    paths, crops = [path for part in parts for path in part], len(parts[0])
    arrays = [open_array(path) for path in paths]
    try:
        layout, why = read_layout(arrays[0].shape, asked, video.n_frames)
    except ValueError as error:
        raise ValueError(f"{paths[0]}: {error}") from error
    files = [feature_file(path, array, layout) for path, array in zip(paths, arrays, strict=True)]
    if beyond := _behind_a_gap(Path(str(video.path).replace("{stream}", streams[0] if streams else "")), crops):
        raise ValueError(f"{video.path}: the file of crop {crops} is missing, and {beyond} is there")
    if crops not in CROPS or {len(part) for part in parts} != {crops}:
        raise ValueError(f"{video.path}: {crops} files of crops are there, and there can be 1, 5 or 10")
    for file in files if crops > 1 else ():
        if file.shape[0] > 1:
            raise ValueError(f"{file.path}: holds {file.shape[0]} crops, and others are in files of their own")
        if file.shape != files[0].shape:
            raise ValueError(f"{file.path}: {file.shape[1:]} does not go with {paths[0]}: {files[0].shape[1:]}")
    return Headers(beside(files, crops), layout, why)


def given_layout(video: Video, streams: Sequence[str], asked: str) -> str:
    """The order of the axes of a video's given features; empty where `check_given` will say why there is none."""
    try:
        first = open_array(given_parts(video, streams)[0][0])  # as all of its files are, which `check_given` sees to
        return read_layout(first.shape, asked, video.n_frames)[0]
    except (OSError, ValueError):
        return ""


def given_facts(video: Video, backbone: str, streams: Sequence[str], fps: float, layout: str) -> dict[str, object]:
    """What the use of a video's given features depends on, but for their content.

    Args:
        video: of the features.
        backbone, streams: what they are checked against.
        fps: frames a second, since they say nothing of times.
        layout: the order of their axes.
    """
    facts: dict[str, object] = {"stage": EXTRACT, "of": [backbone, *streams], "frames": video.n_frames, "fps": fps}
    return facts | ({"layout": layout} if layout != OWN else {})  # left out, as rows of an older lad have it


def dim_misfit(files: Sequence[FeatureFile | CropFiles], backbone: str, streams: Sequence[str]) -> str:
    """Why the features of one video are of another length than those of the backbone and streams; empty: they fit."""
    dims = [stream_dim(backbone, stream) for stream in streams]
    dim, wanted = sum(file.shape[2] for file in files), sum(dims)
    if dim == wanted:
        return ""
    said = f"{files[0].path}: {dim} numbers a clip, {backbone} {' + '.join(streams)} has {wanted}: "
    if (dims[0] if len(files) > 1 else wanted) in files[0].shape[:2]:
        stored = tuple(read_npy(files[0].path).shape)
        return f"{said}its axes are {stored}: say which is which with data.npy_layout, such as dim,clips"
    made = sorted({known.feature_dim for known in BACKBONES.values()})
    if not any(dim % one == 0 for one in made):
        return f"{said}lad's feature networks make {', '.join(map(str, made))} for a stream, and others cannot be used"
    layers = "set extract.layers to [] if it holds none, " if any("." in stream for stream in streams) else ""
    return (
        f"{said}{layers}set extract.backbone and extract.streams to what it holds, or say {{stream}} in the "
        "dataset.csv's path where each stream has a file"
    )


def is_finite(path: Path) -> bool:
    """Whether a feature file holds finite numbers alone; it is read whole.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
    """
    numbers = open_array(path)
    return bool(np.isfinite([numbers.min(), numbers.max()]).all())  # not their sum, which float16 may not hold


def check_given(
    video: Video, backbone: str, streams: Sequence[str], asked: str, finite: Mapping[Path, bool]
) -> Checked:
    """Look at a video's given features: are they features, of these streams, of as many frames as are labelled?

    Args:
        video: of the features.
        backbone, streams: what they should be of.
        asked: `data.npy_layout`.
        finite: what `is_finite` said of those files that were read already.
    """
    try:
        headers = read_headers(video, streams, asked)
        if misfit := dim_misfit(headers.files, backbone, streams):
            return Checked(refusal=misfit)
        for file in (one for part in headers.files for one in files_of(part)):
            if not (finite[file.path] if file.path in finite else is_finite(file.path)):
                return Checked(refusal=f"{file.path}: holds numbers that are not finite")
    except OSError as error:
        return Checked(refusal=f"{error.filename or video.path}: cannot be read: {error.strerror or error}")
    except ValueError as error:
        return Checked(refusal=str(error))
    first, last = headers.files[0], headers.files[-1]
    if len({file.shape[:2] for file in headers.files}) > 1:
        return Checked(refusal=f"{first.path}: {first.shape} does not go with {last.path}: {last.shape}")
    clips = first.shape[1]
    frames = video.n_frames or clips * CLIP_FRAMES
    if abs(clips * CLIP_FRAMES - frames) > CLIP_FRAMES:
        return Checked(
            refusal=f"{first.path}: {clips} clips are {clips * CLIP_FRAMES} frames, its labels are for {frames}: "
            "more than a clip apart"
        )
    expected = {frames // CLIP_FRAMES, -(-frames // CLIP_FRAMES)}
    odd = () if clips in expected else (f"{clips} clips for {frames} labelled frames",)
    return Checked(frames, odd, layout=headers.layout, why=headers.why)
