"""Training a detector: one loop, which resumes where it stopped, bit for bit as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lad.config import TrainConfig
from lad.detector.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lad.detector.familiar import limit_of
from lad.detector.scoring import Merge
from lad.detector.training_clicks import grow
from lad.detector.training_videos import VideoSampler
from lad.detector.training_windows import TrainingVideo, WindowSampler, feature_statistics
from lad.detector.validation import Evaluation, best_evaluation, doubt, validate, validate_known, validate_whole
from lad.files import link
from lad.models.registry import Supervision, build_detector, sees_videos

KEPT_STEPS = 3  # step_*.pt files
STD_FLOOR = 0.01  # of the mean deviation: a feature that never varies in training must not explode in testing


@dataclass(frozen=True)
class Setup:
    """What all fits of a training run have in common.

    Attributes:
        train: the configuration of training.
        merge: of the scores of validation videos.
        classes: names of the categories, in the order of their index.
        device: where it runs.
        fingerprint: of the run: another run's checkpoint is never resumed.
        config: the whole resolved configuration, for the checkpoints.
        weights: what the checkpoints keep of their features, see `FeatureRecipe.remembered`.
        selection: how the number of steps is chosen, for the checkpoints.
        supervision: what labels are of: frames, which windows teach; clicks, which become such labels; or whole
            videos, whose best clips teach.
        released, by_test: ask for these numbers of the test videos, too: see `ProtocolConfig`.
    """

    train: TrainConfig
    merge: Merge
    classes: list[str]
    device: str
    fingerprint: str
    config: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    selection: str = ""
    supervision: Supervision = "frames"
    released: bool = False
    by_test: bool = False


class Fit:
    """One training of a detector, of which `run` does the steps.

    It writes `last.pt` at every evaluation and, for `keep_best`, `best.pt` and the last three `step_*.pt`. Where
    `last.pt` of the same run is there already, it resumes from it; other checkpoints in the folder are removed.

    Args:
        setup: of the training run.
        folder: for checkpoints.
        train: the videos to learn from.
        val: those to validate on; none: nothing is validated.
        test: those that `released` and `by_test` look at, for numbers that choose nothing.
        keep_best: keep the best checkpoint, and those of several steps.
        chosen: the evaluation whose threshold and calibration the checkpoints get; None: each gets its own.
        validated_on: videos of which validation was made: those with an event, and those without.

    Attributes:
        step: steps done.
        history: the evaluations so far.

    Raises:
        TrainingError: there is nothing to learn from.
    """

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        train: Sequence[TrainingVideo],
        val: Sequence[TrainingVideo],
        *,
        test: Sequence[TrainingVideo] = (),
        keep_best: bool = True,
        chosen: Evaluation | None = None,
        validated_on: tuple[int, int] = (0, 0),
    ) -> None:
        self.setup, self.folder, self.val, self.test = setup, folder, val, test
        self.keep_best, self.chosen, self.validated_on = keep_best, chosen, validated_on
        self.sampler: WindowSampler | VideoSampler
        if setup.supervision == "clicks":
            train, self.val = grow(train, val, setup.train, setup.device)
        self.validate = validate_whole if setup.supervision == "videos" else validate
        if setup.supervision == "videos" or sees_videos(setup.train.detector):
            self.sampler = VideoSampler(train, setup.device, located=setup.supervision != "videos")
        else:
            self.sampler = WindowSampler(train, setup.train.window, setup.device)
        torch.manual_seed(setup.train.seed)
        self.model: Any = _new_detector(setup, self.sampler)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=setup.train.learning_rate, weight_decay=setup.train.weight_decay, fused=True
        )
        self.familiar = limit_of(self.model, [video.features for video in val])
        self.step = 0
        self.history: list[Evaluation] = []
        self._resume()

    def run(self, steps: int) -> Iterator[Evaluation | None]:
        """Train until `steps` steps are done; yields after each of them, an evaluation where one is due."""
        config = self.setup.train
        losses: list[torch.Tensor] = []
        while self.step < steps:
            loss = self.sampler.loss(self.model, config)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.step += 1
            losses.append(loss.detach())  # not asked for its number, which a GPU would have to stop for
            if self.step % config.evaluate_every and self.step != steps:
                yield None
                continue
            knows = bool(self.val) and config.adapt == "source"
            evaluation = Evaluation(
                self.step,
                torch.stack(losses).mean().item(),
                self.validate(self.model, self.val, self.setup.merge) if self.val else None,
                known=validate_known(self.model, self.val, self.setup.merge) if knows else None,
                familiar=self.familiar,
                **self._try(),
            )
            losses.clear()
            self.history.append(evaluation)
            self._save()
            yield evaluation

    def detector(self) -> Any:
        """The detector as it scores: in float32, whatever it is trained in."""
        if self.setup.train.dtype != "float32":
            self.model.multiply_in(torch.float32)
        return self.model.eval()

    def _try(self) -> dict[str, float | None]:
        """The numbers of the test videos that were asked for."""
        tried: dict[str, float | None] = {}
        if self.test and self.keep_best and self.setup.released:
            tried["test_auc"] = validate(self.model, self.test, "max").auc
        if self.test and self.keep_best and self.setup.by_test:
            found = validate(self.model, self.test, self.setup.merge)
            tried |= {"by_test_auc": found.auc, "by_test_ap": found.ap}
        return tried

    def _resume(self) -> None:
        last = self.folder / "last.pt"
        if last.exists():
            checkpoint = load_checkpoint(last)
            if checkpoint.fingerprint == self.setup.fingerprint and checkpoint.optimizer is not None:
                self.model.load_state_dict(checkpoint.model)
                self.optimizer.load_state_dict(checkpoint.optimizer)
                torch.set_rng_state(checkpoint.rng["cpu"])
                if self.setup.device.startswith("cuda"):
                    torch.cuda.set_rng_state(checkpoint.rng["cuda"], self.setup.device)
                self.step = checkpoint.step
                self.history = [Evaluation.from_dict(entry) for entry in checkpoint.history]
                return
        for stale in [*self.folder.glob("*.pt"), self.folder / "curve.json"]:
            stale.unlink(missing_ok=True)

    def _save(self) -> None:
        checkpoint = self._checkpoint()
        if not self.keep_best:
            save_checkpoint(self.folder / "last.pt", checkpoint)
            return
        this_step = self.folder / f"step_{self.step:06d}.pt"
        save_checkpoint(this_step, checkpoint)
        if best_evaluation(self.history).step == self.step:
            link(this_step, self.folder / "best.pt")
        # Last of all: a rerun resumes from it, so the others must be there already.
        link(this_step, self.folder / "last.pt")
        for old in sorted(self.folder.glob("step_*.pt"))[:-KEPT_STEPS]:
            old.unlink()

    def _checkpoint(self) -> Checkpoint:
        evaluation = self.chosen or self.history[-1]
        chosen = evaluation.validation
        calibration, threshold = (chosen.calibration, chosen.threshold) if chosen else (None, None)
        rng = {"cpu": torch.get_rng_state()}
        if self.setup.device.startswith("cuda"):
            rng["cuda"] = torch.cuda.get_rng_state(self.setup.device)
        checkpoint = Checkpoint(
            model=self.model.state_dict(),
            classes=self.setup.classes,
            config=self.setup.config,
            step=self.step,
            metrics={key: value for key, value in self.history[-1].as_dict().items() if key != "step"},
            weights=self.setup.weights,
            network={"name": self.setup.train.detector, "sizes": _sizes(self.setup, self.sampler)},
            selection=self.setup.selection,
            doubt=doubt(chosen.auc if chosen else None, *self.validated_on),
            familiar=evaluation.familiar,
            fingerprint=self.setup.fingerprint,
            optimizer=self.optimizer.state_dict(),
            rng=rng,
            history=[one.as_dict() for one in self.history],
        )
        if calibration is not None:
            checkpoint.calibration = vars(calibration)
        if calibration is not None and threshold is not None:
            checkpoint.threshold = float(calibration(np.array(threshold)))
        known = evaluation.known.cameras if evaluation.known else None
        checkpoint.known_cameras = vars(known) if known else None
        return checkpoint


def _new_detector(setup: Setup, sampler: WindowSampler | VideoSampler) -> Any:
    config = setup.train
    model = build_detector(config.detector, dropout=config.dropout, **_sizes(setup, sampler)).to(setup.device)
    mean, std = feature_statistics(sampler.videos)  # also finds features that are not finite
    if config.standardize:
        model.feature_mean.copy_(mean)
        model.feature_std.copy_(std.clamp(min=max(float(std.mean()) * STD_FLOOR, 1e-12)))
    if config.dtype != "float32":
        model.multiply_in(getattr(torch, config.dtype))
    return model


def _sizes(setup: Setup, sampler: WindowSampler | VideoSampler) -> dict[str, int]:
    """What a detector is built with: see `Detector`."""
    return {
        "feature_dim": sampler.feature_dim,
        "classes": len(setup.classes),
        "window": setup.train.window,
        "hidden": setup.train.hidden,
    }
