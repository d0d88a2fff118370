"""`lad train`: features to a detector, `checkpoints/best.pt`; goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import filesize

from lad.dataset import Video
from lad.detector.checkpoint import DEFAULT_THRESHOLD, Checkpoint, load_checkpoint, save_checkpoint
from lad.detector.validation import (
    best_evaluation,
    chosen_calibration,
    describe,
    divide,
    evaluate_detector,
    mean_curve,
)
from lad.files import fingerprint, naming, replacing, write_json, write_text
from lad.models.registry import DETECTORS
from lad.pipeline.inventory import VideoFeatures, check_labels, find_features, weights_in_use
from lad.pipeline.project import Run, StageError, StageResult, numerics, prepare_torch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from lad.detector.windows import LabelledFeatures, WindowSampler
    from lad.models.registry import Detector

STAGE = "train"
ITEM = "detector"
CODE_VERSION = 5
KEPT_STEPS = 3  # step_*.pt files
STD_FLOOR = 0.01  # of the mean deviation: a feature that never varies in training must not explode in testing


def train_detector(run: Run, videos: list[Video]) -> StageResult:
    """Train on the `train` videos and keep the best checkpoint by validation, never by test.

    Raises:
        StageError: there is nothing to train on, or its features are not there.
    """
    result = StageResult(STAGE)
    chosen = [video for video in videos if video.split in ("train", "val")]
    _check(chosen, run.classes)
    # The released protocol looks at the test videos too, for a number that is not used.
    test = [video for video in videos if video.split == "test" and run.config.protocol.released]
    features, failed = find_features(run, chosen + test)
    result.failed = {item: f"has no features: {reason}" for item, reason in failed.items()}
    check_labels(run, chosen + test, features, result)
    usable = [video for video in chosen if video.id not in result.failed]
    test = [video for video in test if video.id not in result.failed]
    if not usable and result.failed:
        raise StageError(f"no training video can be used: {next(iter(result.failed.values()))}")
    _check_events(usable, divided=not any(video.split == "val" for video in usable))
    today = fingerprint(
        {
            "stage": STAGE,
            "code": CODE_VERSION,
            "train": run.config.train.model_dump(mode="json"),
            "merge": run.config.score.merge,  # of the validation videos' scores
            "classes": run.classes,
            "videos": [
                [v.id, v.split, v.label, v.group, [[e.start, e.end] for e in v.events], features[v.id].fingerprint]
                for v in usable + test
            ],
            "numerics": numerics(run.config),
        }
    )
    before = run.manifest.get(STAGE, run.item(ITEM))
    if not run.force and run.manifest.is_done(before, today, verify=run.verify):
        result.skipped = 1
        return result
    checkpoints = run.work / "checkpoints"
    if run.force or (before and before.fingerprint != today):
        shutil.rmtree(checkpoints, ignore_errors=True)  # nobody shall score with another run's detector by mistake
    run.manifest.start(STAGE, run.item(ITEM), today)
    for video_id, warnings in result.warnings.items():
        run.say(f"warning: {video_id}: {'; '.join(warnings)}")
    info = Training(run, today, usable, test, features).run_all()
    info |= {"config": run.config.train.model_dump(mode="json"), "left_out": sorted(result.failed)}
    run.manifest.finish(STAGE, run.item(ITEM), [checkpoints / "best.pt", checkpoints / "last.pt"], info)
    result.done = 1
    return result


def _check(videos: list[Video], classes: list[str]) -> None:
    if not any(video.split == "train" for video in videos):
        raise StageError("no video is in the split `train`: there is nothing to train on")
    if unlabelled := [video.id for video in videos if not set(video.categories[:1]) & set(classes)]:
        raise StageError(
            f"{len(unlabelled)} training videos ({unlabelled[0]}, ...) have no label, or one not in data.classes"
        )


def _check_events(videos: list[Video], divided: bool) -> None:
    """`divided`: some of the training videos are held out to validate, so that the others must have an event too."""
    sources = {video.group for video in videos if video.split == "train" and video.is_abnormal}
    if not sources:
        raise StageError("no training video has an event: there is nothing to learn from")
    if divided and len(sources) < 2:
        raise StageError(
            "the events of the training videos are all of one source, which cannot both teach and validate: "
            "add videos of another, or `val` rows to the dataset.csv"
        )


class Training:
    """One training run: its settings, its files, its random numbers."""

    def __init__(
        self, run: Run, today: str, videos: list[Video], test: list[Video], features: dict[str, VideoFeatures]
    ) -> None:
        from lad.detector.windows import open_labelled

        self.run, self.config, self.today = run, run.config.train, today
        self.folder = run.work / "checkpoints"
        self.weights = weights_in_use(run)
        self.device = prepare_torch(run.config)
        self.videos = videos
        with run.progress("features", len(videos)) as (bar, task):
            self.loaded: dict[str, LabelledFeatures] = {}
            for video, labelled in zip(videos, open_labelled(videos, features, run.classes), strict=True):
                self.loaded[video.id] = labelled
                bar.update(task, advance=1, note=video.id)
        size = sum(path.stat().st_size for video in videos for path in features[video.id].paths)
        clips = sum(labelled.features.clips for labelled in self.loaded.values())
        run.say(f"train: {len(videos)} videos, {clips} clips, {filesize.decimal(size)} of features")
        self.test = list(open_labelled(test, features, run.classes))

    def pick(self, videos: Sequence[Video]) -> list[LabelledFeatures]:
        return [self.loaded[video.id] for video in videos]

    def run_all(self) -> dict[str, Any]:
        """Choose the number of steps on held-out videos, train, and say what came of it."""
        train = [video for video in self.videos if video.split == "train"]
        val = [video for video in self.videos if video.split == "val"]
        if val or self.config.selection == "validation":
            if not val:
                parts = divide(train, max(2, round(1 / self.config.val_fraction)), self.config.seed)
                val, train = parts[0], [video for part in parts[1:] for video in part]
            history = self.fit("train", self.folder, self.pick(train), self.pick(val), self.config.steps)
            return self._outcome(best_evaluation(history), "validation", train, history)
        curves = []
        folds = [fold for fold in divide(train, self.config.folds, self.config.seed) if fold]
        for number, held_out in enumerate(folds):
            rest = [video for fold in folds if fold is not held_out for video in fold]
            curves.append(self._fold_curve(number, self.pick(rest), self.pick(held_out)))
        best = best_evaluation(mean_curve(curves))
        self.run.say(f"train: {best['step']} steps by cross-validation ({describe(best)})")
        history = self.fit("train", self.folder, self.pick(train), [], best["step"], chosen=best)
        return self._outcome(best, f"cross-validation, {len(folds)} folds", train, history)

    def _outcome(
        self, best: dict[str, Any], selection: str, train: list[Video], history: list[dict[str, Any]]
    ) -> dict[str, Any]:
        outcome = {"steps": best["step"], "selection": selection, "validation": best, "videos": len(train)}
        tested = [entry for entry in history if entry.get("test_auc") is not None]
        if tested:
            outcome["released_protocol"] = max(tested, key=lambda entry: entry["test_auc"])
        return outcome

    def _fold_curve(
        self, number: int, train: list[LabelledFeatures], val: list[LabelledFeatures]
    ) -> list[dict[str, Any]]:
        """The validation curve of one fold; a finished fold leaves its curve and nothing else."""
        folder = self.folder / f"fold_{number}"
        curve = folder / "curve.json"
        with suppress(OSError, ValueError, LookupError, TypeError):  # not there, or of another version
            saved = json.loads(curve.read_text())
            if saved["fingerprint"] == self.today:
                return saved["history"]
        name = f"fold {number + 1}/{self.config.folds}"
        history = self.fit(name, folder, train, val, self.config.steps, keep_best=False)
        write_json(curve, {"fingerprint": self.today, "history": history})
        (folder / "last.pt").unlink(missing_ok=True)
        return history

    def fit(
        self,
        name: str,
        folder: Path,
        train: list[LabelledFeatures],
        val: list[LabelledFeatures],
        steps: int,
        keep_best: bool = True,
        chosen: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Train for `steps` steps, evaluating on `val` on the way; returns the history of evaluations.

        `chosen`: the evaluation whose threshold and calibration the checkpoints get; by default each gets its own.

        Writes `last.pt` at every evaluation and, for `keep_best`, `best.pt` and the last three `step_*.pt`; where
        `last.pt` of the same run is there already, goes on from it, bit for bit as if it had never stopped.
        """
        import torch

        from lad.detector.windows import WindowSampler
        from lad.models.aed import multi_task_loss

        config = self.config
        sampler = WindowSampler(train, config.window, self.device)
        torch.manual_seed(config.seed)
        model = self._new_detector(sampler)
        optimizer = torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        step, history = self._resume(folder, model, optimizer)
        losses: list[torch.Tensor] = []
        with self._logs(name, step) as writer, self.run.progress(name, steps) as (bar, task):
            bar.update(task, completed=step)
            if self.run.verbose:
                self.run.say(f"{name}: goes on from step {step}" if step else f"{name}: begins")
            while step < steps:
                batch = sampler.draw(config.abnormal_windows, config.normal_windows)
                logits, scores = model(batch.features)
                loss = multi_task_loss(
                    logits, scores, batch.labels, batch.targets, batch.mask, config.class_weight, config.score_weight
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                step += 1
                losses.append(loss.detach())  # not asked for its number, which a GPU would have to stop for
                if step % config.evaluate_every == 0 or step == steps:
                    entry = {
                        "step": step,
                        "loss": torch.stack(losses).mean().item(),
                        **evaluate_detector(model, val, self.run.config.score.merge),
                    }
                    if keep_best and self.test:
                        entry["test_auc"] = evaluate_detector(model, self.test, merge="max")["auc"]
                    losses.clear()
                    history.append(entry)
                    self._save(folder, model, optimizer, step, history, keep_best, chosen)
                    self._log(name, writer, entry, history)
                    bar.update(task, note=describe(entry))
                bar.update(task, completed=step)
        return history

    def _new_detector(self, sampler: WindowSampler) -> Detector:
        from lad.detector.windows import feature_statistics

        config = self.config
        model = DETECTORS[config.detector](
            feature_dim=sampler.feature_dim,
            classes=len(self.run.classes),
            window=config.window,
            hidden=config.hidden,
            dropout=config.dropout,
        ).to(self.device)
        try:
            mean, std = feature_statistics(sampler.videos)
        except ValueError as error:
            raise StageError(str(error)) from error
        if config.standardize:
            model.feature_mean.copy_(mean)
            model.feature_std.copy_(std.clamp(min=max(float(std.mean()) * STD_FLOOR, 1e-12)))
        return model

    def _resume(self, folder: Path, model: Detector, optimizer: Any) -> tuple[int, list[dict[str, Any]]]:
        import torch

        last = folder / "last.pt"
        if last.exists():
            checkpoint = load_checkpoint(last)
            if checkpoint.fingerprint == self.today and checkpoint.optimizer is not None:
                model.load_state_dict(checkpoint.model)
                optimizer.load_state_dict(checkpoint.optimizer)
                torch.set_rng_state(checkpoint.rng["cpu"])
                if self.device.startswith("cuda"):
                    torch.cuda.set_rng_state(checkpoint.rng["cuda"], self.device)
                return checkpoint.step, checkpoint.history
        for stale in [*folder.glob("*.pt"), *folder.glob(".*.tmp"), folder / "curve.json"]:
            stale.unlink(missing_ok=True)
        return 0, []

    def _save(
        self,
        folder: Path,
        model: Detector,
        optimizer: Any,
        step: int,
        history: list[dict[str, Any]],
        keep_best: bool,
        chosen: dict[str, Any] | None,
    ) -> None:
        import torch

        chosen = chosen or history[-1]
        calibration, threshold = chosen_calibration(chosen), chosen.get("threshold")
        rng = {"cpu": torch.get_rng_state()}
        if self.device.startswith("cuda"):
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint = Checkpoint(
            model=model.state_dict(),
            classes=self.run.classes,
            calibration=vars(calibration),
            threshold=DEFAULT_THRESHOLD if threshold is None else float(calibration(np.array(threshold))),
            config=self.run.config.model_dump(mode="json"),
            step=step,
            metrics={key: value for key, value in history[-1].items() if key != "step"},
            weights=self.weights,
            fingerprint=self.today,
            optimizer=optimizer.state_dict(),
            rng=rng,
            history=history,
        )
        if not keep_best:
            save_checkpoint(folder / "last.pt", checkpoint)
            return
        this_step = folder / f"step_{step:06d}.pt"
        save_checkpoint(this_step, checkpoint)
        if best_evaluation(history)["step"] == step:
            _link(this_step, folder / "best.pt")
        # Last of all: it is what a rerun goes on from, so the others must be there already.
        _link(this_step, folder / "last.pt")
        for old in sorted(folder.glob("step_*.pt"))[:-KEPT_STEPS]:
            old.unlink()

    @contextmanager
    def _logs(self, name: str, step: int) -> Iterator[SummaryWriter]:
        from torch.utils.tensorboard import SummaryWriter

        place = self.run.work / "logs" / name.replace("/", "_of_").replace(" ", "_")
        if step == 0:
            shutil.rmtree(place, ignore_errors=True)
        # Its thread raises again in this one what stops it, and shall not print it too.
        threading.excepthook, before = lambda _: None, threading.excepthook
        try:
            with naming(place), SummaryWriter(str(place), purge_step=step + 1) as writer:
                yield writer
        finally:
            threading.excepthook = before

    def _log(self, name: str, writer: SummaryWriter, entry: dict[str, Any], history: list[dict[str, Any]]) -> None:
        for key, value in entry.items():
            if key != "step" and value is not None:
                writer.add_scalar(key, value, entry["step"])
        writer.flush()
        place = Path(writer.log_dir) / "metrics.jsonl"
        write_text(place, "".join(json.dumps({"run": name, **one}) + "\n" for one in history))
        if self.run.verbose:
            self.run.say(f"{name}: step {entry['step']}, {describe(entry)}")


def _link(existing: Path, name: Path) -> None:
    """Let `name` be the same file as `existing`, atomically and without writing it again."""
    with replacing(name) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            temporary.hardlink_to(existing)
        except OSError:  # a filesystem without hard links
            shutil.copyfile(existing, temporary)
