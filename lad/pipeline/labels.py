"""Whether a project's labels can teach and test: what its dataset.csv alone can tell, before hours of work.

Training asks again when it knows which videos can be used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lad.clip import CLIP_FRAMES
from lad.config import Config, TrainConfig
from lad.dataset import Video
from lad.events import Click, Event, Somewhere, TimedEvent, last_frame
from lad.extract.count import promised_frames
from lad.features.labels import without_found
from lad.models.registry import LEARNS_FROM, OF_FRAMES, Supervision
from lad.names import is_normal
from lad.pipeline.checks import dataset_paths
from lad.pipeline.reporter import StageError
from lad.remote.url import is_missing
from lad.text import did_you_mean, look_alikes

MAX_SHOWN = 20  # classes in one line
NO_LABEL = "without a label"
ABNORMAL, CLICKED, SOMEWHERE, NORMAL = KINDS = ("abnormal", "abnormal (a frame)", "abnormal (?)", "normal")
FOLDER = "folder"  # the benchmark that judges by names


def check_labels_of(
    names: Sequence[str], videos: Sequence[Video], classes: Sequence[str], config: Config, say: Callable[[str], None]
) -> None:
    """Check what the named stages need of the videos' labels; `say` gets their counts, and what is odd about them.

    Raises:
        StageError: training or evaluation is impossible.
    """
    if "train" in names:
        chosen = teaching_videos(videos, config.train)
        check_training(chosen, classes, config)
        say(f"train: {counted_labels(chosen)}")
        say(f"train: {_taught_by(chosen, config.train)}")
        if _teach_places(chosen, config.train):
            say(
                "warning: no source has both normal and abnormal training videos: labels of videos may teach the "
                "places instead of the events: add videos of the other kind to the sources, or, where videos begin "
                "before their event, set train.reference_clips=1 and train.detector=linear"
            )
    if "evaluate" in names:
        test_videos(videos)
    if "train" in names or "evaluate" in names:
        for warning in _oddities(videos, config):
            say(f"warning: {warning}")


def teaching_videos(videos: Sequence[Video], train: TrainConfig) -> list[Video]:
    """Those in the splits `train` and `val`; for a detector of normal footage alone without what a review found."""
    chosen = [video for video in videos if video.split in ("train", "val")]
    return [without_found(video) for video in chosen] if LEARNS_FROM.get(train.detector) == ("normal",) else chosen


def check_training(videos: Sequence[Video], classes: Sequence[str], config: Config) -> None:
    """Check that a detector can learn from `videos`, those in the splits `train` and `val`.

    Raises:
        StageError: it cannot, with what to do.
    """
    train = [video for video in videos if video.split == "train"]
    if not train:
        raise StageError(
            "no video is in the split `train`: there is nothing to train on; write train in the column split of some"
        )
    supervision = supervision_of(videos, config.train)
    _check_classes(videos, classes, needed=supervision != "normal")
    if config.train.adapt == "source":
        _check_cameras(videos, supervision)
    if supervision == "normal":
        return
    if config.train.selection == "cross-validation" and any(video.split == "val" for video in videos):
        raise StageError(
            "some videos are in the split `val`, and train.selection cross-validation has no use for them: "
            "give -o train.selection=validation, or write train in their column split"
        )
    events_elsewhere = _where_events_come_from(config)
    sources = {video.group for video in train if video.is_abnormal}
    if not sources:
        raise StageError(
            f"no training video has an event: there is nothing to learn from; {events_elsewhere['none']}; or, to learn "
            "from normal footage alone, -o train.detector=normality"
        )
    compares = supervision == "videos" or "frames" not in LEARNS_FROM.get(config.train.detector, OF_FRAMES)
    if compares and all(video.is_abnormal for video in train):
        raise StageError(
            "every training video has an event, and labels of whole videos teach by comparing them with normal ones; "
            f"{events_elsewhere['all']}"
        )
    if all(_is_whole(video) for video in videos):
        raise StageError(
            f"all {len(videos)} training videos are abnormal from end to end, and a detector learns from normal frames "
            f"too; {events_elsewhere['all']}"
        )
    divided = not any(video.split == "val" for video in videos)  # some are held out to validate
    if divided and len(sources) < 2:
        raise StageError(
            f"the events of the training videos are all of one source ({next(iter(sources))}), which cannot both teach "
            "and validate: add an event of another source (column source; without one each video is its own), or rows "
            "of the split val with an event, and -o train.selection=validation"
        )


def _check_cameras(videos: Sequence[Video], supervision: Supervision) -> None:
    if supervision != "frames":
        raise StageError(
            f"train.adapt is source, which needs labels of frames, and train.supervision is {supervision} here: "
            "leave it out (-o train.adapt=none)"
        )
    counts = Counter(video.group for video in videos)
    if not any(counts[video.group] > 1 for video in videos if not video.is_abnormal):
        raise StageError(
            "train.adapt is source, and no normal training video has another video of its source beside it: fill in "
            "the column source, or leave it out (-o train.adapt=none)"
        )


def supervision_of(videos: Sequence[Video], train: TrainConfig) -> Supervision:
    """What the labels are of that teach and validate: as configured, or the strongest that all of them allow.

    Where there is no event at all, that is `normal` for a detector that learns from it.

    Args:
        videos: those in the splits `train` and `val`.
        train: names the detector, which cannot learn from everything.

    Raises:
        StageError: the labels or the detector do not allow it.
    """
    weak = [video.id for video in videos if video.is_weak]
    nowhere = [video.id for video in videos if Somewhere() in video.events]
    learns_from = LEARNS_FROM.get(train.detector, OF_FRAMES)
    if train.supervision == "frames" and weak:
        raise StageError(
            f"{_some(weak)}: training videos with ? or a single frame in the column events, and train.supervision is "
            "frames: write where each event begins and ends, or nothing in their column split, or set "
            f"train.supervision={'videos' if nowhere else 'clicks'}"
        )
    if train.supervision == "clicks" and (nowhere or not weak):
        raise StageError(
            f"{_some(nowhere)}: training videos with ? in the column events, and train.supervision is clicks: write a "
            "frame of each event, or nothing in their column split, or set train.supervision=videos"
            if nowhere
            else "no training video has a single frame in the column events, and train.supervision is clicks: write a "
            "frame of each event, or set train.supervision=auto"
        )
    abnormal = [video.id for video in videos if video.is_abnormal]
    if abnormal and (train.supervision == "normal" or (train.supervision, learns_from) == ("auto", ("normal",))):
        raise StageError(
            f"{_some(abnormal)}: training videos with an event, and the detector {train.detector} is to learn from "
            "normal footage alone (train.supervision normal): write test, or nothing, in their column split"
        )
    wanted: tuple[Supervision, ...] = ("frames", "videos")
    if train.supervision != "auto":
        wanted = (train.supervision,)
    elif weak:
        wanted = ("videos",) if nowhere else ("clicks", "videos")
    elif not abnormal:
        wanted = ("normal", "frames", "videos")
    for supervision in wanted:
        if supervision in learns_from:
            return supervision
    able = " or ".join(f"train.detector={name}" for name in LEARNS_FROM if wanted[0] in LEARNS_FROM[name])
    if train.supervision == "auto":
        raise StageError(
            f"{_some(nowhere or weak)}: training videos with {'?' if nowhere else 'a single frame'} in the column "
            f"events, and the detector {train.detector} cannot learn from that: set {able}"
        )
    raise StageError(f"train.supervision {wanted[0]}: the detector {train.detector} cannot learn from that: set {able}")


def grows(videos: Sequence[Video], train: TrainConfig) -> bool:
    """Whether intervals are grown around clicks in these videos, those in the splits `train` and `val`."""
    with suppress(StageError):
        return supervision_of(videos, train) == "clicks"
    return False


def _taught_by(videos: Sequence[Video], train: TrainConfig) -> str:
    supervision = supervision_of(videos, train)
    if supervision == "frames":
        return "it learns from labels of frames (train.supervision frames)"
    if supervision == "normal":
        return "no training video has an event: it learns from normal footage alone (train.supervision normal)"
    if supervision == "clicks":
        return "it learns from intervals that it grows around single frames of events (train.supervision clicks)"
    known = sum(
        video.is_abnormal and any(not isinstance(event, Somewhere) for event in video.events) for video in videos
    )
    more = f"; of {known} of them more is known, and not used" if known else ""
    return f"it learns from labels of whole videos (train.supervision videos){more}"


def warn_of_missing(videos: Sequence[Video], say: Callable[[str], None]) -> None:
    """Warn of videos that are not there, before the others are decoded for hours."""
    gone = [video for video in videos if not video.is_features and is_missing(video.path)]
    if gone:
        some = ", ".join(str(video.path) for video in gone[:3]) + (", ..." if len(gone) > 3 else "")
        say(f"warning: {len(gone)} of {len(videos)} videos are not there: {some}")


def warn_of_misfits(videos: Sequence[Video], config: Config, say: Callable[[str], None]) -> None:
    """Warn of events that end long after the frames which their video says it has; decoding decides.

    Args:
        videos: that are not decoded yet.
    """
    data = config.data
    here = [(v, v.path) for v in videos if isinstance(v.path, Path) and not v.is_features]
    unknown = {path: v for v, path in here if v.events and v.n_frames is None}
    for path, (frames, fps) in promised_frames(list(unknown)).items():
        video = unknown[path]
        rate = fps or video.fps or data.frame_folder_fps
        for event in video.events:
            if isinstance(event, TimedEvent):
                end = (event.end or event.start) * rate
            else:
                end = (last_frame(event) or 0) + 1
            if end > frames + CLIP_FRAMES:
                where = f"{dataset_paths(data)[0]}:{video.line}: " if data.dataset and video.line else ""
                say(f"warning: {where}{video.id}: event {event} ends after the {frames} frames that {path} says it has")
                break


def test_videos(videos: Sequence[Video]) -> list[Video]:
    """The videos to evaluate.

    Raises:
        StageError: there is none, or of one nobody said which frames its events have.
    """
    test = [video for video in videos if video.split == "test"]
    if not test:
        raise StageError(
            "no video is in the split `test`: there is nothing to evaluate; write test in the column split of some, or "
            "run `lad train`"
        )
    if weak := [video.id for video in test if video.is_weak]:
        raise StageError(
            f"{_some(weak)}: test videos with ? or a single frame in the column events, and frames are what is "
            "measured: write where each event begins and ends, or nothing in their column split"
        )
    return test


def _check_classes(videos: Sequence[Video], classes: Sequence[str], *, needed: bool) -> None:
    # Of a video that only `lad review` knows, nobody needs to say what else it shows.
    unlabelled = [video.id for video in videos if not video.categories and not video.unlabelled]
    if needed and unlabelled:
        raise StageError(
            f"{_some(unlabelled)}: training videos without a label: name each one's category in the column label; a "
            "normal video has the category of the events that may happen there, or one of its own"
        )
    if needed and not classes:
        raise StageError("no video has a category: name each one's in the column label, or give one in lad review")
    known = set(classes)
    if strangers := [video for video in videos if video.categories and video.categories[0] not in known]:
        label = strangers[0].categories[0]
        raise StageError(
            f"{_some([video.id for video in strangers])}: the label {label!r} of a training video is not in "
            f"data.classes{did_you_mean(label, classes)}"
        )


def _where_events_come_from(config: Config) -> dict[str, str]:
    """What to do where no video is abnormal, and where all are."""
    data = config.data
    if data.benchmark == FOLDER:
        pattern = f"-o data.normal=PATTERN (lad prepare folder --normal PATTERN), now {data.normal!r}"
        return {
            "none": f"a video is normal if its name or a folder's matches {pattern}",
            "all": f"put normal ones into a folder called normal: a video is normal if its name or a folder's matches "
            f"{pattern}",
        }
    return {
        "none": "write where they are in the column events of the dataset.csv, such as 61-180 or 0:12-0:15 (0- is a "
        "whole video; ? is one somewhere in the video)",
        "all": "add normal videos, whose events are empty, or write in the column events which frames are abnormal",
    }


def _is_whole(video: Video) -> bool:
    """Whether every labelled frame is abnormal, as far as the labels alone say."""
    if video.unlabelled and video.reviewed:
        return not video.reviewed.normal
    return any(
        isinstance(event, Event)
        and event.start == 0
        and (event.end is None or (video.n_frames is not None and event.end >= video.n_frames))
        for event in video.events
    )


def counted_labels(videos: Sequence[Video]) -> str:
    """Classes and counts, in one line."""
    counts = Counter((video.categories[0] if video.categories else NO_LABEL, _kind(video)) for video in videos)
    labels = sorted({label for label, _ in counts})
    parts = []
    for label in labels[:MAX_SHOWN]:
        kinds = [f"{counts[label, kind]} {kind}" for kind in KINDS]
        parts.append(f"{label} {' + '.join(kind for kind in kinds if not kind.startswith('0 '))}")
    more = f", and {len(labels) - MAX_SHOWN} more labels" if len(labels) > MAX_SHOWN else ""
    return f"labels of {len(videos)} videos: {', '.join(parts)}{more}"


def _kind(video: Video) -> str:
    kinds = {type(event) for event in video.events}
    if not kinds:
        return NORMAL
    return SOMEWHERE if Somewhere in kinds else CLICKED if Click in kinds else ABNORMAL


def _oddities(videos: Sequence[Video], config: Config) -> list[str]:
    counts = Counter(category for video in videos for category in video.categories)
    found = []
    for pair in look_alikes(counts):
        rarer, other = sorted(pair, key=lambda label: counts[label])
        found.append(
            f"label {rarer!r} ({counts[rarer]} videos) looks like {other!r} ({counts[other]}): "
            "write one of them if both mean the same"
        )
    eventful = {category for video in videos if video.is_abnormal for category in video.categories}
    for label in sorted(label for label in eventful if is_normal(label)):
        found.append(f"label {label!r}: some of its videos have events, which count as abnormal")
    for label in sorted(label for label in counts.keys() - eventful if eventful and not is_normal(label)):
        found.append(f"label {label!r}: none of its videos has an event, so all of them count as normal")
    classes = config.data.classes
    if classes is not None:
        missing = [name for name in classes if name not in counts]
        strange = [name for name in counts if name not in classes]
        if missing:
            found.append(f"data.classes: no video has the label {', '.join(map(repr, missing))}")
        if strange:
            found.append(f"data.classes: does not name the labels {', '.join(map(repr, strange))} of some videos")
    return found


def _teach_places(videos: Sequence[Video], train: TrainConfig) -> bool:
    """Whether whole videos are compared of which the normal ones and the others are of other named sources."""
    if not all(video.source for video in videos) or supervision_of(videos, train) != "videos":
        return False
    if train.reference_clips and train.detector == "linear":
        return False
    abnormal, normal = ({video.source for video in videos if video.is_abnormal is kind} for kind in (True, False))
    return not abnormal & normal and len(abnormal | normal) < len(videos)


def _some(ids: Sequence[str]) -> str:
    """The first of many ids, and how many there are."""
    return ", ".join(ids[:3]) + (f", ... ({len(ids)} in all)" if len(ids) > 3 else "")
