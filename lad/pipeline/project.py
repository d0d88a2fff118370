"""Which videos a command works on, and what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from lad.config import Config, ConfigError, DataConfig
from lad.dataset import MAX_PROBLEMS, DatasetError, Video, class_names, read_dataset
from lad.datasets import BENCHMARKS, Listing, Options
from lad.datasets.folder import read_folder
from lad.datasets.released import read_released
from lad.engine.ray_cluster import OnRay
from lad.events import Reviewed
from lad.features.labels import with_review
from lad.finding import find_videos
from lad.footage import Passed
from lad.pipeline.checks import dataset_paths
from lad.pipeline.shards import Shard
from lad.remote.room import Bounds
from lad.remote.url import Location, Url

NOT_REVIEWED = (
    "no videos but those that were scored here: say what they show (lad review --work {}), or give -c CONFIG with "
    "data.dataset"
)
NO_VIDEOS = "no videos: name some, or give -c CONFIG with data.benchmark or data.dataset, or --data DIR"
ALLOW_MISSING = "lad prepare --allow-missing; -o data.allow_missing=true with every other command"


@dataclass(frozen=True)
class Asked:
    """How a command shall work.

    Attributes:
        force: do everything again, failures included.
        verify: trust no size and no time stamp, hash again.
        alarm: a command to run for each event of each video that is scored; empty: none.
        shard: the part of the videos to work on; None: all.
        ray: where the work on single videos is done; None: on this machine.
        add: the camera to add to a detector of several; empty: none, all footage teaches.
        normal: what `lad score --normal` names: footage of the camera in which nothing happens.
    """

    force: bool = False
    verify: bool = False
    alarm: str = ""
    shard: Shard | None = None
    ray: OnRay | None = None
    add: str = ""
    normal: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """A configuration and its videos.

    Attributes:
        config: resolved.
        videos: with the labels and splits that they have here.
        named: whether the videos were named on the command line, so that they are no dataset.
        listing: of a benchmark whose split is drawn at random, which other seeds split otherwise.
        passed: the files of the folders that were searched that are no videos.
        reviews: video id -> what `lad review` was told of it.
        listed: the videos as the configuration has them, where reviews changed some or added some.
        normal: footage of their camera in which nothing happens, as `lad score --normal` names it.
    """

    config: Config
    videos: list[Video]
    named: bool = False
    listing: Listing | None = None
    passed: Passed = field(default_factory=Passed)
    reviews: Mapping[str, Reviewed] = field(default_factory=dict)
    listed: list[Video] | None = None
    normal: list[Video] = field(default_factory=list)

    def camera(self, video: Video) -> str:
        """Which camera filmed a video: as asked for, or as the data say; empty: nobody knows."""
        return self.config.score.source or video.source

    @property
    def footage(self) -> list[Video]:
        """All videos that need features: its own, and the normal footage that is none of them."""
        own = {video.id for video in self.videos}
        return [*self.videos, *(video for video in self.normal if video.id not in own)]

    @property
    def scored(self) -> list[Video]:
        """The videos that are to be scored: all that are named, and of a dataset those of `score.videos`."""
        only_test = self.config.score.videos == "test" and not self.named
        return [video for video in self.videos if video.split == "test"] if only_test else self.videos

    @cached_property
    def classes(self) -> list[str]:
        """The categories in the order of their index: as configured, as the benchmark has them, or alphabetical."""
        data = self.config.data
        benchmark = BENCHMARKS[data.benchmark].classes if data.benchmark else ()
        return data.classes or list(benchmark) or sorted({*class_names(self.videos), *self._reviewed_names()})

    def _reviewed_names(self) -> set[str]:
        """The categories that people named; labels with events in seconds get them only when the frames are known."""
        return {name for video in self.videos if video.reviewed for name in video.reviewed.categories}

    @property
    def all_given(self) -> bool:
        """Whether every video comes as features that somebody else made."""
        return all(video.is_features for video in self.videos)

    @property
    def room(self) -> Bounds:
        """Where videos at URLs are fetched to, and how much of them."""
        return Bounds.in_gb(self.config.data.download_dir, self.config.data.download_gb)

    def folder_fps(self, video: Video) -> float:
        """Frames a second of a video that has no times of its own."""
        return video.fps or self.config.data.frame_folder_fps

    @property
    def unreviewed(self) -> Project:
        """It without what people said in `lad review`."""
        return self if self.listed is None else replace(self, videos=self.listed, reviews={}, listed=None)

    def reviewed(self, reviews: Mapping[str, Reviewed], added: Sequence[Video] = ()) -> Project:
        """It with the labels that people gave in `lad review`, and with videos that only they know."""
        given = [replace(v, reviewed=reviews[v.id]) if v.id in reviews else v for v in (*self.videos, *added)]
        return replace(self, videos=[with_review(v) for v in given], reviews=reviews, listed=self.videos)

    def random_splits(self) -> list[Project]:
        """One project for each random split of the benchmark, or none where there is one split."""
        protocol = self.config.protocol
        if protocol.splits == 1 or self.named:
            return []
        assert self.listing is not None  # the checks saw to it
        configured = {video.id for video in self.listed or self.videos}
        added = [video for video in self.videos if video.id not in configured]
        projects = []
        for number in range(protocol.splits):
            seed = protocol.seed + number
            changed = protocol.model_copy(update={"splits": 1, "seed": seed})
            config = self.config.model_copy(update={"protocol": changed})
            split = replace(self.unreviewed, config=config, videos=self.listing.split(seed))
            projects.append(split.reviewed(self.reviews, added) if self.reviews else split)
        return projects


def load_project(
    config: Config, arguments: Sequence[str] = (), warn: Callable[[str], None] = lambda _: None
) -> Project:
    """The videos that a command works on: those of the configuration, or its arguments alone.

    An argument that is a video of the configuration keeps what that says of it (its frame rate, its labels). `warn`
    gets one line for each thing that the benchmark's download lacks and `data.allow_missing` lets it lack, and one for
    all files that were passed over in the folders that were searched.

    Raises:
        ConfigError, dataset.DatasetError: their description is wrong.
    """
    data = config.data
    listing: Listing | None = None
    configured: list[Video] = []
    passed = Passed()
    if data.benchmark:
        listing = _read_benchmark(config, warn)
        configured = listing.official() if config.protocol.official else listing.split(config.protocol.seed)
        passed = listing.passed
    elif data.dataset and (dataset_paths(data) or not arguments):
        configured = _read_dataset(data, warn)
    elif data.root and not arguments:
        configured = find_videos([str(data.root)], data.root, passed)
    if arguments:
        known: dict[Location, Video] = {video.path.absolute(): video for video in configured}
        passed = Passed()
        named = [known.get(video.path, video) for video in find_videos(arguments, data.root, passed)]
        _say_passed(passed, warn)
        return Project(config, named, named=True, passed=passed)
    _say_passed(passed, warn)
    return Project(config, configured, listing=listing, passed=passed)


def with_normal(project: Project, arguments: Sequence[str], warn: Callable[[str], None]) -> Project:
    """It with the footage of its camera in which nothing happens.

    Raises:
        ConfigError: the videos are of several cameras.
        dataset.DatasetError: an argument names nothing.
    """
    cameras = sorted({project.camera(video) for video in project.videos})
    if len(cameras) > 1:
        some = ", ".join(map(repr, cameras[:3])) + (", ..." if len(cameras) > 3 else "")
        raise ConfigError(
            f"--normal: the videos are of {len(cameras)} sources ({some}), and the footage is of one camera: score the "
            "videos of one source at a time, or list the footage in the dataset: normal, split train, with its source"
        )
    passed = Passed()
    known: dict[Location, Video] = {video.path.absolute(): video for video in project.videos}
    found = [known.get(video.path, video) for video in find_videos(arguments, None, passed)]
    _say_passed(passed, warn)
    return replace(project, normal=found)


def _read_dataset(data: DataConfig, warn: Callable[[str], None]) -> list[Video]:
    path, *others = dataset_paths(data)  # the checks saw to it that there is one
    if others and path.read_bytes() != others[0].read_bytes():
        warn(f"warning: {path} and {others[0].absolute()} differ: the first is used; give data.dataset a whole path")
    videos = read_dataset(path, data.root)
    warn(f"dataset: {path}, {len(videos)} videos")
    return videos


def _say_passed(passed: Passed, warn: Callable[[str], None]) -> None:
    for line in passed.lines():
        warn(line)


def _read_benchmark(config: Config, warn: Callable[[str], None]) -> Listing:
    data = config.data
    assert data.benchmark is not None and data.root is not None  # the checks saw to it
    benchmark = BENCHMARKS[data.benchmark]
    options = Options(normal=data.normal, protocol=data.protocol)
    if isinstance(data.root, Url):
        listing = read_folder(data.root, options)  # the checks saw to it that it is this one
    elif data.layout == "released":
        classes = data.classes or benchmark.classes
        listing = read_released(data.root, data.benchmark, classes, config.extract.streams)
    else:
        listing = benchmark.read(data.root, options)
    if listing.missing:
        count = len(listing.missing)
        shown = listing.missing[:MAX_PROBLEMS]
        first = f", the first {len(shown)}" if len(shown) < count else ""
        said = [f"{data.root}: missing of {data.benchmark}: {count}{first} (docs/datasets.md says what belongs there)"]
        said += [f"missing: {line}" for line in shown]
        if not data.allow_missing:
            raise DatasetError("\n".join([*said, f"to go on without: {ALLOW_MISSING}"]))
        for line in said:
            warn(line)
    if not listing.videos:
        raise DatasetError(f"{data.root}: no video of {data.benchmark} is here")
    return listing
