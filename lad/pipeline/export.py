"""`lad export`: a run's features, labels and splits in the layout of the LAD2000 authors' code.

`lad.datasets.released` says what the layout is, and reads it.
"""

from __future__ import annotations

import io
import pickle
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lad.clip import CLIP_FRAMES
from lad.dataset import Video
from lad.datasets.released import COMBINED, COMBINED_STREAMS, FEATURES, FRAME_LABELS, SPLIT_FILES, VIDEO_LABELS
from lad.features.labels import labels_misfit, with_events_in_frames
from lad.features.recipe import FeatureRecipe
from lad.features.video import VideoFeatures
from lad.files import write_bytes
from lad.pipeline.inventory import find_features
from lad.pipeline.project import Asked, Project
from lad.pipeline.reporter import Reporter, StageError, StageResult
from lad.work.layout import Work

STAGE = "export"
SPLIT_OF = {"train": "train", "val": "train", "test": "test"}  # the layout has no validation videos


def export_released(
    project: Project, recipe: FeatureRecipe, work: Work, asked: Asked, reporter: Reporter, out: Path
) -> StageResult:
    """Write the videos of a project below `out`: their features, and the labels and splits of those that have them.

    What is there already with the same bytes is left alone. Of several labels the foremost is written. The layout has
    no word for frames that nobody labelled, so the labels are those of the dataset, without those of `lad review`.

    Returns:
        Videos written, left alone and failed: those without features, or with labels for another number of frames.

    Raises:
        StageError: two videos would bear one name, features are not there yet, the layout has no place for them, or
            somebody else's file is in the way.
        OSError: `out` cannot be written to.
    """
    result, project = StageResult(STAGE), project.unreviewed
    names = _names(project.videos)
    write = partial(write_export, work, force=asked.force)
    features, failed = find_features(project, recipe, work, asked, reporter, project.videos)
    result.failed.update(failed)
    classes = project.classes
    frame_labels: dict[str, np.ndarray] = {}
    video_labels: dict[str, int] = {}
    splits: dict[str, list[str]] = {split: [] for split in SPLIT_FILES}
    unlabelled: list[str] = []
    weak: list[str] = []
    with reporter.progress(STAGE, len(project.videos)) as bar:
        for one in project.videos:
            bar.advance(one.id)
            if one.id in failed:
                continue
            found, name = features[one.id], names[one.id]
            video = with_events_in_frames(one, found.timeline)
            if reason := labels_misfit(video, found.frames):
                result.failed[video.id] = reason
                continue
            written = [
                write(out / FEATURES / folder / name / "feature.npy", _npy(array))
                for folder, array in _arrays(found, recipe).items()
            ]
            result.done += any(written)
            result.skipped += not any(written)
            if video.split:
                splits[SPLIT_OF[video.split]].append(name)
            if video.categories and video.categories[0] in classes:
                if video.is_weak:
                    weak.append(video.id)
                else:
                    frame_labels[name] = video.frame_labels(found.frames).astype(np.uint8)[None]
                video_labels[name] = classes.index(video.categories[0])
            else:
                unlabelled.append(video.id)
    write(out / "GT" / f"{FRAME_LABELS}_IET.pickle", _pickle(frame_labels))
    write(out / "GT" / f"{VIDEO_LABELS}_IET.pickle", _pickle(video_labels))
    for split, file in SPLIT_FILES.items():
        write(out / file, "".join(f"{name}\n" for name in splits[split]).encode())
    if unlabelled:
        reporter.say(f"export: {_some(unlabelled)} have no label, or one that is no class: not in GT")
    if weak:
        reporter.say(f"export: of {_some(weak)} only a frame of each event is known, or ?: not in {FRAME_LABELS}")
    return result


def _some(ids: Sequence[str]) -> str:
    return f"{len(ids)} videos ({', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''})"


def _names(videos: Sequence[Video]) -> dict[str, str]:
    """Video id -> its name in the layout, which is a folder's and a line's."""
    names = {video.id: video.id.replace("/", "__") for video in videos}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        both = " and ".join(video_id for video_id, name in names.items() if name == twice[0])
        raise StageError(f"{both} would both be {twice[0]} in this layout: rename one of them")
    return names


def _arrays(features: VideoFeatures, recipe: FeatureRecipe) -> dict[str, np.ndarray]:
    """Folder of the layout -> `(clips, dim)` float32.

    Raises:
        StageError: a row is not 16 consecutive frames of the whole picture.
    """
    opened = features.open()
    if opened.crops > 1:
        raise StageError("this layout has no place for crops: extract with extract.crops=1")
    if features.stride != CLIP_FRAMES or features.rate is not None:
        raise StageError(
            f"a row of this layout is {CLIP_FRAMES} frames of the video: "
            f"extract with extract.clip_stride={CLIP_FRAMES} and extract.fps=null"
        )
    parts = [part[0, : opened.clips] for part in opened.parts]
    whole = parts[0] if len(parts) == 1 else np.hstack(parts)
    by_stream = dict(zip(recipe.streams, np.hsplit(whole, np.cumsum(recipe.dims)[:-1]), strict=True))
    if set(COMBINED_STREAMS) <= by_stream.keys():
        return {**by_stream, COMBINED: np.hstack([by_stream[stream] for stream in COMBINED_STREAMS])}
    return by_stream


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    return content.getvalue()


def _pickle(labels: object) -> bytes:
    """Protocol 2, and numpy 1's name of a module that numpy 2 calls otherwise: the authors' environment is old."""
    return pickle.dumps(labels, protocol=2).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_export(work: Work, path: Path, content: bytes, *, force: bool) -> bool:
    """Write a file, unless it is there with the same bytes; whether it was written.

    Raises:
        StageError: another one is there that was not exported from this work directory.
    """
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    if not force and not work.manifest.is_own(path, altered=True):  # one of ours is mended
        raise StageError(
            f"{path}: is there already, and was not exported from {work.home}: name another --out, "
            "or give --force to replace it"
        )
    work.manifest.record_own(path, content)
    write_bytes(path, content)
    return True
