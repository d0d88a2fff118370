"""What of a work directory is not as a configuration would make it today, and why; nothing is hashed and written.

A result is stale where its fingerprint is not today's. Why, the facts tell that were kept with it. Whatever is made
from stale results is stale too: its own facts are not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from lad.config import Config, ConfigError
from lad.dataset import Video
from lad.device import network_threads, resolve_device
from lad.errors import LadError
from lad.features.labels import labels_misfit, with_events_in_frames
from lad.features.recipe import EXTRACT, FeatureRecipe, make_recipe, missing_weights
from lad.features.video import VideoFeatures
from lad.files import fingerprint
from lad.pipeline.checks import check_config
from lad.pipeline.evaluate import ITEM as METRICS
from lad.pipeline.evaluate import STAGE as EVALUATE
from lad.pipeline.evaluate import metrics_facts
from lad.pipeline.facts import FACTS, differences
from lad.pipeline.inventory import features_facts, input_paths, of_content, video_features
from lad.pipeline.known_cameras import KeptCameras
from lad.pipeline.project import NO_VIDEOS, Project, load_project
from lad.pipeline.reviewed import with_verdicts
from lad.pipeline.score_facts import detector_repairs, score_facts
from lad.pipeline.scored import STAGE as SCORE
from lad.pipeline.train import ITEM as DETECTOR
from lad.pipeline.train import STAGE as TRAIN
from lad.pipeline.train import detector_facts
from lad.pipeline.training_set import training_videos
from lad.work.layout import Work
from lad.work.manifest import Item, Manifest

OTHER_FILE = (
    "its file is new here, or has another size or time: the next run hashes the file, and may find the same in it"
)
# Sections of the configuration that the results of a stage can depend on.
SECTIONS = {EXTRACT: ("extract",), TRAIN: ("train", "score"), SCORE: ("score",), EVALUATE: ("score", "protocol")}
Rows = Mapping[tuple[str, str], Item]
Today = list[tuple[Mapping[str, Any], str]]  # what a result may depend on today, with its hash; empty: not known


@dataclass
class Compared:
    """A stage held against a configuration.

    Attributes:
        wanted: items that the configuration asks for.
        done: those of them that are done, stale ones included.
        stale: why they are -> how many.
    """

    wanted: int = 0
    done: int = 0
    stale: Counter[str] = field(default_factory=Counter)

    def data(self) -> dict[str, Any]:
        """It as plain data."""
        stale = self.stale.total()
        return {
            "wanted": self.wanted,
            "current": self.done - stale,
            "stale": stale,
            "not_done": self.wanted - self.done,
            "why": dict(self.stale.most_common()),
        }


def compared_data(manifest: Manifest, config: Config, before: Config | None) -> dict[str, Any]:
    """What is done, held against a configuration, as plain data; `error`: why it cannot be.

    Args:
        manifest: of the work directory.
        config: what to compare with.
        before: the configuration of the last command there, where it is known.
    """
    try:
        check_config(config)
        project = with_verdicts(load_project(config), Work(manifest))
        if not project.videos:
            raise ConfigError(NO_VIDEOS)
        if not project.all_given and (missing := missing_weights(config.extract)):
            return {"error": f"the weights are not here yet: {', '.join(missing)}"}
        device, threads = resolve_device(config.device), network_threads(config.threads)
        recipe = make_recipe(config.extract, device=device, threads=threads, given=project.all_given)
        compared = compare(project, recipe, Work(manifest), before)
    except (LadError, OSError) as error:  # the second: times of frames that cannot be read
        return {"error": str(error)}
    return {"stages": {stage: one.data() for stage, one in compared.items() if one.wanted}}


def _hashed(*facts: Mapping[str, Any]) -> Today:
    return [(one, fingerprint(one)) for one in facts]


def compare(project: Project, recipe: FeatureRecipe, work: Work, before: Config | None) -> dict[str, Compared]:
    """Hold what is done against what a configuration asks for: stage -> what came of it.

    Args:
        project: of the configuration.
        recipe: of the configuration.
        work: its directory; it may be at work.
        before: what the last command here was asked for, for results of older versions, which kept no facts.
    """
    compared = {stage: Compared() for stage in (EXTRACT, TRAIN, SCORE, EVALUATE)}
    rows = work.manifest.items()
    features = _Comparison(project, recipe, work, before, compared, rows).features()
    splits = project.random_splits()
    parts = [(split, work.of_split(number)) for number, split in enumerate(splits)] or [(project, work)]
    for part, place in parts:
        comparison = _Comparison(part, recipe, place, before, compared, rows)
        has_train = comparison.detector(features)
        comparison.metrics(features, comparison.scores(features, has_train))
    return compared


@dataclass
class _Features(Mapping[str, VideoFeatures]):
    """The features that are today's, by video, each made of its rows when it is asked for: often none is."""

    recipe: FeatureRecipe
    work: Work
    found: dict[str, tuple[Video, list[Item]]] = field(default_factory=dict)

    def __getitem__(self, video_id: str) -> VideoFeatures:
        return video_features(self.recipe, self.work, *self.found[video_id])

    def __contains__(self, video_id: object) -> bool:
        return video_id in self.found

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


@dataclass
class _Comparison:
    """Of a project, or one random split of it, and what its work directory holds."""

    project: Project
    recipe: FeatureRecipe
    work: Work
    before: Config | None
    compared: dict[str, Compared]
    rows: Rows

    @cached_property
    def known(self) -> KeptCameras:
        """What is kept of the cameras."""
        return KeptCameras(self.project, self.work)

    def features(self) -> _Features:
        """The features that are today's, by video; the others are counted."""
        current = _Features(self.recipe, self.work)
        for video in self.project.videos:
            facts = features_facts(self.project, self.recipe, video)
            good = [
                self._is_current(EXTRACT, item, partial(self._features_today, video, one))
                for item, one in facts.items()
            ]
            if all(good):
                current.found[video.id] = video, [self.rows[EXTRACT, item] for item in facts]
        return current

    def _features_today(self, video: Video, facts: Mapping[str, object]) -> Today:
        known = [self.work.manifest.contents.known(path) for path in input_paths(video, self.recipe)]
        contents = [content for content in known if content is not None]
        return [(facts, of_content(video, facts, contents) if len(contents) == len(known) else "")]

    def detector(self, features: Mapping[str, VideoFeatures]) -> bool:
        """Whether the detector is today's."""
        chosen, test = training_videos(self.project)
        if not chosen:
            return False
        item = self.work.item(DETECTOR)
        if self._lacks(chosen + test, features):
            return self._is_current(TRAIN, item, because="its features are stale")

        def today() -> Today:
            fitting = self._fitting(chosen + test, features)
            return _hashed(detector_facts(self.project, self.recipe, fitting, features))

        return self._is_current(TRAIN, item, today)

    def scores(self, features: Mapping[str, VideoFeatures], has_detector: bool) -> set[str]:
        """The videos whose scores are today's."""
        named = self.project.config.score.checkpoint
        sha256 = self.work.manifest.contents.known(named) if named else self._trained()
        repairs = detector_repairs(self.work, sha256) if sha256 else 0
        current: set[str] = set()
        for video in self.project.scored:
            because = ""
            if video.id not in features:
                because = "its features are stale" if self._is_wanted(video) else "its features failed"
            elif not named and not has_detector:
                because = "its detector is stale"
            elif sha256 is None:
                because = f"{named} is not there, or another since"
            today = partial(self._scores_today, video, features, sha256 or "", repairs)
            if self._is_current(SCORE, self.work.item(video.id), today, because=because):
                current.add(video.id)
        return current

    def _scores_today(self, video: Video, features: Mapping[str, VideoFeatures], detector: str, repairs: int) -> Today:
        camera = self.known(video, detector)
        facts = score_facts(self.project, self.recipe, video, features[video.id], detector, repairs, camera)
        return _hashed(*facts)

    def _trained(self) -> str | None:
        """The hash of the run's own detector, as training left it."""
        row, best = self.rows.get((TRAIN, self.work.item(DETECTOR))), str(self.work.best.relative_to(self.work.home))
        return next((output.sha256 for output in row.outputs if output.path == best), None) if row else None

    def metrics(self, features: Mapping[str, VideoFeatures], scored: set[str]) -> None:
        """Count the metrics."""
        test = [video for video in self.project.videos if video.split == "test"]
        if not test:
            return
        item = self.work.item(METRICS)
        if any(self._is_wanted(video) and video.id not in scored for video in test):
            self._is_current(EVALUATE, item, because="its scores are stale")
            return

        def today() -> Today:
            usable = self._fitting(test, features)
            rows = {video.id: self.rows[SCORE, self.work.item(video.id)] for video in usable}
            left_out = {v.id for v in test} - {v.id for v in usable}
            return _hashed(metrics_facts(self.project, self.work, usable, rows, left_out))

        self._is_current(EVALUATE, item, today)

    def _is_wanted(self, video: Video) -> bool:
        """Whether later stages wait for a video: not where it failed."""
        items = features_facts(self.project, self.recipe, video)
        return not any((row := self.rows.get((EXTRACT, item))) and row.status == "failed" for item in items)

    def _lacks(self, videos: Sequence[Video], features: Mapping[str, VideoFeatures]) -> bool:
        return any(video.id not in features and self._is_wanted(video) for video in videos)

    def _fitting(self, videos: Sequence[Video], features: Mapping[str, VideoFeatures]) -> list[Video]:
        """Those with features which their labels fit, with all events in frames: `inventory.check_labels`."""
        there = [with_events_in_frames(video, features[video.id].timeline) for video in videos if video.id in features]
        return [video for video in there if not labels_misfit(video, features[video.id].frames)]

    def _is_current(
        self,
        stage: str,
        item: str,
        today: Callable[[], Today] = list,
        *,
        because: str = "",
    ) -> bool:
        """Count an item in; whether it is done and one of today's, which are asked for only if it is done.

        `because`: why it is stale without a look at it.
        """
        counted, row = self.compared[stage], self.rows.get((stage, item))
        counted.wanted += 1
        if row is None or row.status != "done":
            return False
        counted.done += 1
        if not because:
            wanted = today()
            if row.fingerprint in [one for _, one in wanted]:
                return True
            because = self._why(row, wanted)
        counted.stale[because] += 1
        return False

    def _why(self, row: Item, today: Today) -> str:
        then = row.info.get(FACTS)
        if isinstance(then, dict):
            differ = min((differences(row.stage, then, facts) for facts, _ in today), key=len)
            if differ:
                return ", ".join(differ)
        if not all(one for _, one in today):
            return OTHER_FILE
        return "the content of the video is another" if isinstance(then, dict) else self._likely(row)

    def _likely(self, row: Item) -> str:
        """Of an older version's result: what the last command here was asked for tells most."""
        said = "made by an older lad, which did not keep why"
        changed: list[str] = []
        if self.before:
            for section in SECTIONS[row.stage]:
                then, now = (vars(getattr(config, section)) for config in (self.before, self.project.config))
                changed += differences(row.stage, {section: then}, {section: now})
        likely = f"the last command here had another {', '.join(changed)}" if changed else "its code or weights changed"
        return f"{said}; likely {likely}"
