"""`lad train`: features to a detector, `checkpoints/best.pt`; goes on where it was stopped."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lad.dataset import Video, class_names
from lad.files import fingerprint, replacing, write_json, write_text
from lad.metrics import average_precision, roc_auc
from lad.models.registry import DETECTORS
from lad.pipeline.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lad.pipeline.extract import VideoFeatures, find_features, weights_in_use
from lad.pipeline.score import score_features
from lad.pipeline.stage import Run, StageError, StageResult, numerics, prepare_torch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from lad.models.aed import AED
    from lad.pipeline.windows import LabelledFeatures, WindowSampler

STAGE = "train"
ITEM = "detector"
CODE_VERSION = 1
KEPT_STEPS = 3  # step_*.pt files
STD_FLOOR = 0.01  # of the mean deviation: a feature that never varies in training must not explode in testing


def train_detector(run: Run, videos: list[Video]) -> StageResult:
    """Train on the `train` videos and keep the best checkpoint by validation, never by test.

    Raises:
        StageError: there is nothing to train on, or its features are not there.
    """
    result = StageResult(STAGE)
    classes = run.config.data.classes or class_names(videos)
    chosen = [video for video in videos if video.split in ("train", "val")]
    _check(chosen, classes)
    features, failed = find_features(run, chosen)
    result.failed = {item: f"has no features: {reason}" for item, reason in failed.items()}
    usable = [video for video in chosen if video.id in features]
    _check_events(usable, divided=not any(video.split == "val" for video in usable))
    today = fingerprint(
        {
            "stage": STAGE,
            "code": CODE_VERSION,
            "train": run.config.train.model_dump(mode="json"),
            "classes": classes,
            "videos": [
                [v.id, v.split, v.label, v.group, [[e.start, e.end] for e in v.events], features[v.id].fingerprint]
                for v in usable
            ],
            "numerics": numerics(run.config),
        }
    )
    before = run.manifest.get(STAGE, ITEM)
    if not run.force and run.manifest.is_done(before, today, verify=run.verify):
        result.skipped = 1
        return result
    checkpoints = run.work / "checkpoints"
    if run.force or (before and before.fingerprint != today):
        shutil.rmtree(checkpoints, ignore_errors=True)  # nobody shall score with another run's detector by mistake
    run.manifest.start(STAGE, ITEM, today)
    training = Training(run, classes, today)
    info = training.run_all(usable, features)
    run.manifest.finish(STAGE, ITEM, [checkpoints / "best.pt", checkpoints / "last.pt"], info)
    result.done = 1
    return result


def _check(videos: list[Video], classes: list[str]) -> None:
    if not any(video.split == "train" for video in videos):
        raise StageError("no video is in the split `train`: there is nothing to train on")
    if unlabelled := [video.id for video in videos if video.label not in classes]:
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


def divide(videos: Sequence[Video], parts: int, seed: int) -> list[list[Video]]:
    """Deal videos into `parts` by source, so that each part gets its share of abnormal and of normal ones.

    Sources are shuffled by `seed` and dealt largest first to the part that has the fewest videos of their kind.
    """
    groups: dict[str, list[Video]] = {}
    for video in videos:
        groups.setdefault(video.group, []).append(video)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(groups[group]))
    dealt: list[list[Video]] = [[] for _ in range(parts)]

    def load(part: list[Video], kind: bool) -> int:
        return sum(video.is_abnormal == kind for video in part)

    for group in order:
        kind = any(video.is_abnormal for video in groups[group])
        target = min(dealt, key=lambda part: (load(part, kind), len(part)))
        target.extend(groups[group])
    return dealt


class Training:
    """One training run: its settings, its files, its random numbers."""

    def __init__(self, run: Run, classes: list[str], today: str) -> None:
        self.run, self.config, self.classes, self.today = run, run.config.train, classes, today
        self.folder = run.work / "checkpoints"
        self.weights = weights_in_use(run)
        self.device = prepare_torch(run.config)

    def run_all(self, videos: list[Video], features: dict[str, VideoFeatures]) -> dict[str, Any]:
        """Choose the number of steps on held-out videos, train, and say what came of it."""
        from lad.pipeline.windows import LabelledFeatures

        index = {name: position for position, name in enumerate(self.classes)}
        loaded = {
            v.id: LabelledFeatures(v, features[v.id].load(), len(features[v.id].load_times()), index[v.label])
            for v in videos
        }

        def pick(chosen: Sequence[Video]) -> list[LabelledFeatures]:
            return [loaded[video.id] for video in chosen]

        train = [video for video in videos if video.split == "train"]
        val = [video for video in videos if video.split == "val"]
        if val or self.config.selection == "validation":
            if not val:
                parts = divide(train, max(2, round(1 / self.config.val_fraction)), self.config.seed)
                val, train = parts[0], [video for part in parts[1:] for video in part]
            history = self.fit("train", self.folder, pick(train), pick(val), self.config.steps)
            best = _best(history)
            return {"steps": best["step"], "selection": "validation", "validation": best, "videos": len(train)}
        curves = []
        folds = [fold for fold in divide(train, self.config.folds, self.config.seed) if fold]
        for number, held_out in enumerate(folds):
            rest = [video for fold in folds if fold is not held_out for video in fold]
            curves.append(self._fold_curve(number, pick(rest), pick(held_out)))
        mean = _mean_curve(curves)
        best = _best(mean)
        self.run.say(f"train: {best['step']} steps by cross-validation ({_describe(best)})")
        self.fit("train", self.folder, pick(train), [], best["step"])
        chosen = {
            "steps": best["step"],
            "selection": f"cross-validation, {len(folds)} folds",
            "validation": best,
        }
        return {**chosen, "videos": len(train)}

    def _fold_curve(
        self, number: int, train: list[LabelledFeatures], val: list[LabelledFeatures]
    ) -> list[dict[str, Any]]:
        """The validation curve of one fold; a finished fold leaves its curve and nothing else."""
        folder = self.folder / f"fold_{number}"
        curve = folder / "curve.json"
        if curve.exists():
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
    ) -> list[dict[str, Any]]:
        """Train for `steps` steps, evaluating on `val` on the way; returns the history of evaluations.

        Writes `last.pt` at every evaluation and, for `keep_best`, `best.pt` and the last three `step_*.pt`; where
        `last.pt` of the same run is there already, goes on from it, bit for bit as if it had never stopped.
        """
        import torch

        from lad.models.aed import multi_task_loss
        from lad.pipeline.windows import WindowSampler

        config = self.config
        sampler = WindowSampler(train, config.window, self.device)
        torch.manual_seed(config.seed)
        model = self._new_detector(sampler)
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        step, history = self._resume(folder, model, optimizer)
        losses: list[float] = []
        with self._logs(name, step) as writer, self.run.progress(name, steps) as (bar, task):
            bar.update(task, completed=step)
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
                losses.append(loss.detach().item())
                if step % config.evaluate_every == 0 or step == steps:
                    entry = {"step": step, "loss": float(np.mean(losses)), **evaluate_detector(model, val)}
                    losses.clear()
                    history.append(entry)
                    self._save(folder, model, optimizer, step, history, keep_best)
                    self._log(name, writer, entry, history)
                    bar.update(task, note=_describe(entry))
                bar.update(task, completed=step)
        return history

    def _new_detector(self, sampler: WindowSampler) -> AED:
        config = self.config
        model = DETECTORS[config.detector](
            feature_dim=sampler.features.shape[1],
            classes=len(self.classes),
            window=config.window,
            hidden=config.hidden,
            dropout=config.dropout,
        ).to(self.device)
        if config.standardize:
            std = sampler.features.std(dim=0, correction=0)
            model.feature_mean.copy_(sampler.features.mean(dim=0))
            model.feature_std.copy_(std.clamp(min=max(float(std.mean()) * STD_FLOOR, 1e-12)))
        return model

    def _resume(self, folder: Path, model: AED, optimizer: Any) -> tuple[int, list[dict[str, Any]]]:
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
        self, folder: Path, model: AED, optimizer: Any, step: int, history: list[dict[str, Any]], keep_best: bool
    ) -> None:
        import torch

        rng = {"cpu": torch.get_rng_state()}
        if self.device.startswith("cuda"):
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint = Checkpoint(
            model=model.state_dict(),
            classes=self.classes,
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
        if _best(history)["step"] == step:
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
        with SummaryWriter(str(place), purge_step=step + 1) as writer:
            yield writer

    def _log(self, name: str, writer: SummaryWriter, entry: dict[str, Any], history: list[dict[str, Any]]) -> None:
        for key, value in entry.items():
            if key != "step" and value is not None:
                writer.add_scalar(key, value, entry["step"])
        writer.flush()
        place = Path(writer.log_dir) / "metrics.jsonl"
        write_text(place, "".join(json.dumps({"run": name, **one}) + "\n" for one in history))
        if self.run.verbose:
            self.run.say(f"{name}: step {entry['step']}, {_describe(entry)}")


def evaluate_detector(model: AED, videos: Sequence[LabelledFeatures]) -> dict[str, float | None]:
    """Frame-level AUC and average precision of `videos`, and the mean smooth-L1 of their scores."""
    if not videos:
        return {}
    model.eval()
    labels, scores = [], []
    for video in videos:
        labels.append(video.video.frame_labels(video.n_frames))
        scores.append(score_features(model, video.features).frames[: video.n_frames])
    model.train()
    truth, predicted = np.concatenate(labels), np.concatenate(scores)
    error = np.abs(predicted - truth)
    return {
        "auc": roc_auc(truth, predicted),
        "ap": average_precision(truth, predicted),
        "score_loss": float(np.mean(0.5 * error**2)),
    }


def _best(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The evaluation with the highest AUC, else the lowest loss on validation, else the last one."""
    if any(entry.get("auc") is not None for entry in history):
        return max(history, key=lambda entry: -1.0 if entry.get("auc") is None else entry["auc"])
    if all("score_loss" in entry for entry in history):
        return min(history, key=lambda entry: entry["score_loss"])
    return history[-1]


def _mean_curve(curves: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The folds' curves averaged, step by step; a fold where a number is undefined does not count for it."""
    mean = []
    for entries in zip(*curves, strict=True):
        values = {key: [e[key] for e in entries if e[key] is not None] for key in entries[0] if key != "step"}
        mean.append({"step": entries[0]["step"], **{k: float(np.mean(v)) if v else None for k, v in values.items()}})
    return mean


def _describe(entry: dict[str, Any]) -> str:
    parts = [f"loss {entry['loss']:.4f}"]
    parts += [f"{key} {entry[key]:.4f}" for key in ("auc", "ap") if entry.get(key) is not None]
    return ", ".join(parts)


def _link(existing: Path, name: Path) -> None:
    """Let `name` be the same file as `existing`, atomically and without writing it again."""
    with replacing(name) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            temporary.hardlink_to(existing)
        except OSError:  # a filesystem without hard links
            shutil.copyfile(existing, temporary)
