"""Validation: which training videos are held out, how good a detector is on them, which evaluation is the best."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from lad.clip import top_clips
from lad.dataset import Video
from lad.detector.calibration import Calibration, fit_calibration, log_odds
from lad.detector.known_camera import Camera, KnownCameras, camera_of, joined
from lad.detector.online import ClipScores
from lad.detector.scoring import Merge, score_features
from lad.evaluation.metrics import average_precision, best_threshold, roc_auc
from lad.models.registry import is_ours

if TYPE_CHECKING:
    from lad.detector.training_windows import TrainingVideo


KNOWN = "known_"  # how keys of a `KnownValidation` begin among those of an evaluation


@dataclass(frozen=True)
class Validation:
    """How good a detector is on held-out videos; what is undefined there is None.

    Attributes:
        auc, ap: AUC and average precision: of frames, or of whole videos where labels are of those.
        threshold: of the uncalibrated scores, which separates them best.
        slope, offset: of the calibration that suits them best.
        score_loss: mean smooth-L1 of the scores.
    """

    auc: float | None
    ap: float | None
    threshold: float | None
    slope: float | None
    offset: float | None
    score_loss: float | None

    @property
    def calibration(self) -> Calibration:
        """The calibration; the one that changes nothing where there is none."""
        known = self.slope is not None and self.offset is not None
        return Calibration(self.slope, self.offset) if known else Calibration()  # type: ignore[arg-type]


class Grouped(Protocol):
    """A video, for who divides videos: those of one group stay together."""

    @property
    def group(self) -> str: ...

    @property
    def is_abnormal(self) -> bool: ...


Kept = TypeVar("Kept", bound=Grouped)
TRIED = ("test_auc", "by_test_auc", "by_test_ap")  # numbers of the test videos, by which nothing is chosen


@dataclass(frozen=True)
class KnownValidation:
    """How good a detector is on held-out cameras when it was shown their other normal footage; undefined is None.

    Attributes:
        auc: of frames.
        usual: mean level of the cameras' normal footage.
        slope, offset: of the calibration that suits their shifted scores best.
    """

    auc: float | None
    usual: float | None
    slope: float | None
    offset: float | None

    @property
    def cameras(self) -> KnownCameras | None:
        """What scoring needs of it; None: it is not all there."""
        if self.usual is None or self.slope is None or self.offset is None:
            return None
        return KnownCameras(self.usual, self.slope, self.offset)


@dataclass(frozen=True)
class Evaluation:
    """What is known of a detector after so many steps of training.

    Attributes:
        step: steps done.
        loss: mean training loss since the evaluation before.
        validation: on the held-out videos; None: there are none.
        test_auc: of the `test` videos, with `protocol.released` only.
        by_test_auc, by_test_ap: of the `test` videos, with `protocol.by_test` only.
        known: on the held-out videos, of cameras that the detector got to know; None: it learned nothing of cameras.
        familiar: the distance of features that nearly all held-out clips keep; None: nobody knows.
    """

    step: int
    loss: float | None
    validation: Validation | None = None
    test_auc: float | None = None
    by_test_auc: float | None = None
    by_test_ap: float | None = None
    known: KnownValidation | None = None
    familiar: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, flat, as checkpoints and curves keep it."""
        data: dict[str, Any] = {"step": self.step, "loss": self.loss}
        if self.validation is not None:
            data |= asdict(self.validation)
        if self.known is not None:
            data |= {f"{KNOWN}{name}": value for name, value in asdict(self.known).items()}
        if self.familiar is not None:
            data["familiar"] = self.familiar
        tried = {name: getattr(self, name) for name in TRIED}
        return data | {name: value for name, value in tried.items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """What `as_dict` made.

        Raises:
            KeyError, TypeError: it is of another version.
        """
        names = [field.name for field in fields(Validation)]
        validation = Validation(**{name: data[name] for name in names}) if "auc" in data else None
        of_known = {key.removeprefix(KNOWN): value for key, value in data.items() if key.startswith(KNOWN)}
        known = KnownValidation(**of_known) if of_known else None
        return cls(
            data["step"],
            data["loss"],
            validation,
            known=known,
            familiar=data.get("familiar"),
            **{name: data.get(name) for name in TRIED},
        )

    def describe(self) -> str:
        """It in a few words."""
        numbers = {"loss": self.loss}
        if self.validation is not None:
            numbers |= {"auc": self.validation.auc, "ap": self.validation.ap}
        if self.known is not None:
            numbers["auc of known cameras"] = self.known.auc
        return ", ".join(f"{name} {value:.4f}" for name, value in numbers.items() if value is not None)


def divide(videos: Sequence[Kept], parts: int, seed: int) -> list[list[Kept]]:
    """Deal videos into `parts` by source, so that each part gets its share of abnormal and of normal ones.

    Sources are shuffled by `seed` and dealt largest first to the part that has the fewest videos of their kind.
    """
    groups: dict[str, list[Kept]] = {}
    for video in videos:
        groups.setdefault(video.group, []).append(video)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(groups[group]))
    dealt: list[list[Kept]] = [[] for _ in range(parts)]
    kinds = [Counter[bool]() for _ in range(parts)]  # how many abnormal and normal videos each part has
    for group in order:
        kind = any(video.is_abnormal for video in groups[group])
        target = min(range(parts), key=lambda part: (kinds[part][kind], len(dealt[part])))
        dealt[target].extend(groups[group])
        kinds[target].update(video.is_abnormal for video in groups[group])
    return dealt


def divide_normal(videos: Sequence[Video], parts: int, seed: int) -> list[list[Video]]:
    """Normal videos in parts to hold out: whole sources; of one source, as of one camera, whole videos."""
    if len({video.group for video in videos}) == 1:
        videos = [replace(video, source="") for video in videos]
    return [part for part in divide(videos, parts, seed) if part]


def validate(model: Any, videos: Sequence[TrainingVideo], merge: Merge = "mean") -> Validation:
    """How good a detector is on the labelled frames of `videos`, of which there is one at least.

    It is left in training mode.
    """
    scores = _scores_of_frames(model, videos, merge)
    truth = np.concatenate([video.known(video.frame_labels) for video in videos])
    predicted = np.concatenate([video.known(one) for video, one in zip(videos, scores, strict=True)])
    return _validation(truth, predicted, 1 / _frames_a_clip(videos))


def validate_whole(model: Any, videos: Sequence[TrainingVideo], merge: Merge = "mean") -> Validation:
    """How good a detector is on whole `videos`: each has the mean score of the clips that stand for it (`top_clips`).

    It is left in training mode.
    """
    used = [video for video in videos if video.mask.any()]
    predicted = []
    for video, found in zip(used, scores_of(model, used, merge), strict=True):
        clips = found.clips[video.known_clips].mean(axis=1)
        predicted.append(float(np.sort(clips)[-top_clips(len(clips)) :].mean()))
    return _validation(np.array([video.is_abnormal for video in used]), np.array(predicted), 1.0)


def validate_known(model: Any, videos: Sequence[TrainingVideo], merge: Merge = "mean") -> KnownValidation:
    """The same on cameras that the detector gets to know: of each video, by the normal frames of the camera's others.

    A camera that has no others stays as it is. The detector is left in training mode.
    """
    scores = _scores_of_frames(model, videos, merge)
    footage: dict[str, dict[int, Camera]] = {}
    for index, (video, one) in enumerate(zip(videos, scores, strict=True)):
        normal = video.known(one)[~video.known(video.frame_labels)]
        footage.setdefault(video.group, {})[index] = camera_of(normal, _frames_a_clip(videos))
    levels = [camera.level for camera in map(joined, map(dict.values, footage.values())) if camera.clips]
    if not levels:
        return KnownValidation(None, None, None, None)
    usual = float(np.mean(levels))
    shifted = []
    for index, (video, one) in enumerate(zip(videos, scores, strict=True)):
        others = joined(piece for other, piece in footage[video.group].items() if other != index)
        shifted.append(video.known(log_odds(one) - others.shift(usual)))
    truth = np.concatenate([video.known(video.frame_labels) for video in videos])
    predicted = 1 / (1 + np.exp(-np.concatenate(shifted)))
    found = _validation(truth, predicted, 1 / _frames_a_clip(videos))
    return KnownValidation(found.auc, usual, found.slope, found.offset)


def _frames_a_clip(videos: Sequence[TrainingVideo]) -> int:
    """The same for all of them: they have one recipe."""
    return videos[0].source.timeline().frames_a_clip


def _scores_of_frames(model: Any, videos: Sequence[TrainingVideo], merge: Merge) -> list[np.ndarray]:
    found = scores_of(model, videos, merge)
    return [video.source.timeline().by_frame(one.clips) for video, one in zip(videos, found, strict=True)]


def scores_of(model: Any, videos: Sequence[TrainingVideo], merge: Merge = "mean") -> list[ClipScores]:
    """The scores of several videos, in their order. The detector is left in training mode.

    On a CPU, each of torch's threads has a video of its own. Together on one video they would wait for each other after
    every small operation, which takes nearly as long as one thread alone. The last digits may be others, and do not
    depend on the number of threads.
    """
    import torch

    def of(video: TrainingVideo) -> ClipScores:
        return score_features(model, video.features, merge=merge)

    model.eval()
    if model.feature_mean.device.type != "cpu" or not is_ours(model):
        found = [of(video) for video in videos]
    else:
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads, "video", initializer=torch.set_num_threads, initargs=(1,))
        try:
            found = list(pool.map(of, videos))
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # what is set in any thread holds for those that begin later
    model.train()
    return found


def _validation(truth: np.ndarray, predicted: np.ndarray, weight: float) -> Validation:
    """How well scores tell `(n,)` bool apart; `weight`: of each in the calibration, where an observation counts 1."""
    error = np.abs(predicted - truth)
    calibration = fit_calibration(truth, predicted, weight)
    return Validation(
        auc=roc_auc(truth, predicted),
        ap=average_precision(truth, predicted),
        threshold=best_threshold(truth, predicted),
        slope=calibration.slope if calibration else None,
        offset=calibration.offset if calibration else None,
        score_loss=float(np.mean(0.5 * error**2)) if len(error) else None,
    )


def hold_out(videos: Sequence[Video], fraction: float, seed: int) -> tuple[list[Video], list[Video]]:
    """Divide videos by source: (those that train, those that are held out to validate).

    Of the videos with an event and of those without, the share `fraction` is held out, as nearly as whole sources
    allow: at least one source of a kind, and never all of them.
    """
    groups: dict[str, list[Video]] = {}
    for video in videos:
        groups.setdefault(video.group, []).append(video)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    held: set[str] = set()
    for kind in (True, False):
        sources = [group for group in order if any(v.is_abnormal for v in groups[group]) == kind]
        wanted = fraction * sum(len(groups[group]) for group in sources)
        count = 0
        for group in sources[:-1]:
            size = len(groups[group])
            if count == 0 or abs(count + size - wanted) < abs(count - wanted):
                held.add(group)
                count += size
    return [v for v in videos if v.group not in held], [v for v in videos if v.group in held]


CHANCE = 0.5
ONE_SIDED_95 = 1.645  # deviations of a normal distribution


def doubt(auc: float | None, abnormal: int, normal: int) -> str:
    """Why a validated detector may be no better than chance; empty where it is.

    Its AUC less 1.645 standard errors has to be above one half. The standard error is that of Hanley and McNeil, "The
    meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology 143, 1982, of as many
    observations as there are videos, since the frames of one say nearly the same.

    Args:
        auc: frame-level, on the validation videos; None: undefined.
        abnormal, normal: how many of them have an event, and how many have none.
    """
    if not abnormal + normal:
        return ""
    if auc is None:
        return "validation could not tell how good it is: the held-out frames are all alike"
    positive, negative = max(abnormal, 1), abnormal + normal  # a video with an event has frames without, too
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positive - 1) * (first - auc**2) + (negative - 1) * (second - auc**2)
    low = auc - ONE_SIDED_95 * (variance / (positive * negative)) ** 0.5
    if low > CHANCE:
        return ""
    return f"its validation AUC is {auc:.2f} on {abnormal + normal} videos, which may be chance (0.5)"


def best_evaluation(history: Sequence[Evaluation]) -> Evaluation:
    """The evaluation with the highest AUC, else the lowest loss on validation, else the last one."""
    validated = [(one.validation, one) for one in history if one.validation is not None]
    by_auc = [(validation.auc, one) for validation, one in validated if validation.auc is not None]
    if by_auc:
        return max(by_auc, key=lambda pair: pair[0])[1]
    by_loss = [(validation.score_loss, one) for validation, one in validated if validation.score_loss is not None]
    if by_loss and len(by_loss) == len(history):
        return min(by_loss, key=lambda pair: pair[0])[1]
    return history[-1]


def best_by_test(history: Sequence[Evaluation]) -> dict[str, Any]:
    """The highest AUC and the highest AP of the test videos, each with its step; nothing where none was measured."""
    best: dict[str, Any] = {}
    for name in ("auc", "ap"):
        tried = [(value, one.step) for one in history if (value := getattr(one, f"by_test_{name}")) is not None]
        if tried:
            best[name], best[f"{name}_step"] = max(tried, key=lambda pair: pair[0])
    return best


def mean_curve(curves: Sequence[Sequence[Evaluation]]) -> list[Evaluation]:
    """The folds' curves averaged, step by step; a fold where a number is undefined does not count for it."""
    mean = []
    for entries in zip(*curves, strict=True):
        validations = [one.validation for one in entries if one.validation is not None]
        numbers = {
            field.name: _mean([getattr(validation, field.name) for validation in validations])
            for field in fields(Validation)
        }
        known = [one.known for one in entries if one.known is not None]
        of_known = {field.name: _mean([getattr(one, field.name) for one in known]) for field in fields(KnownValidation)}
        mean.append(
            Evaluation(
                entries[0].step,
                _mean([one.loss for one in entries]),
                Validation(**numbers),
                known=KnownValidation(**of_known) if known else None,
                familiar=_mean([one.familiar for one in entries]),
            )
        )
    return mean


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
