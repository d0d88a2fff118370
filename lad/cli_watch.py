"""`lad watch`: cameras and files to scores and events as they come."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lad.options import DEVICE, EXIT_DONE, EXIT_SOME_FAILED, OVERRIDES, PLACE, QUIET, VERBOSE, Number
from lad.text import printable, to_cell

if TYPE_CHECKING:
    from io import FileIO

    from lad.console import ConsoleReporter
    from lad.detector.online import FrameScores
    from lad.watch.cameras import Camera, WatchConfig
    from lad.watch.outbox import Outbox
    from lad.watch.payload import Notice
    from lad.watch.watched import Watched

OUT = Path("runs/watch")
QUEUES = ".queues"  # in the folder of events: what waits for sinks
LEFT_SECONDS = 4.0  # to deliver what an earlier run left
BUDGETS = ".budgets"  # and the scores that thresholds follow from


def _ends_well(command: Callable[..., int]) -> Callable[..., int]:
    """Ctrl-C and SIGTERM while networks are loaded are no failure either: nothing was watched yet."""

    @wraps(command)
    def ending(**options: Any) -> int:
        try:
            return command(**options)
        except KeyboardInterrupt:
            os._exit(EXIT_DONE)

    return ending


@click.command()
@click.argument("sources", nargs=-1)
@click.option("-c", "--config", "config_path", type=PLACE, help="Several cameras, sinks, thresholds: cameras.yaml.")
@click.option(
    "--checkpoint",
    type=PLACE,
    help="Detector: a file, or a name as in `lad detectors list` [default: surveillance].",
)
@click.option("--out", type=PLACE, help=f"Folder of events: clips, pictures, what was told [default: {OUT}].")
@click.option("--no-clips", is_flag=True, help="Keep no clips and pictures.")
@click.option("--threshold", type=Number(0, 1), help="Of events [default: the detector's].")
@click.option(
    "--latency",
    type=click.Choice(["exact", "low"]),
    help="exact: the scores of `lad score`, some seconds late. low: each clip by what came before it [default: exact].",
)
@click.option("--realtime", is_flag=True, help="Play files at their own pace, as cameras would send them.")
@click.option("--follow", is_flag=True, help="Go on reading files that grow: transport streams, Matroska.")
@click.option("--scores", "scores_folder", type=PLACE, help="Write every frame's score to a CSV for each camera there.")
@click.option("--metrics", help="Answer Prometheus and /healthz at this address, such as :9090.")
@OVERRIDES
@DEVICE
@VERBOSE
@QUIET
@_ends_well
def watch(
    sources: tuple[str, ...],
    config_path: Path | None,
    checkpoint: Path | None,
    out: Path | None,
    no_clips: bool,
    threshold: float | None,
    latency: str | None,
    realtime: bool,
    follow: bool,
    scores_folder: Path | None,
    metrics: str | None,
    overrides: tuple[str, ...],
    device: str | None,
    verbose: bool,
    quiet: bool,
) -> int:
    """Watch cameras: events as JSON lines on stdout, as they happen, until Ctrl-C.

    SOURCE is rtsp://, http:// (MJPEG, HLS), /dev/video0, or a file. docs/watch.md says all of it. Write a password as
    ${NAME}, and it is taken from the environment.

    \b
    Examples:
      lad watch 'rtsp://user:${CAMERA_PASSWORD}@10.0.0.5/stream'
      lad watch -c cameras.yaml --metrics :9090
      lad watch street.mp4
    """
    from lad.console import make_reporter
    from lad.watch.cameras import WatchConfig, cameras_of, read_config, with_options

    if realtime and follow:
        raise click.UsageError("--realtime and --follow: choose one of them")
    config = read_config(config_path) if config_path else WatchConfig()
    options = {"threshold": threshold, "latency": latency, "metrics": metrics, "out": out, "checkpoint": checkpoint}
    config = with_options(config, options | {"clips": False if no_clips else None})
    cameras = cameras_of(config, sources, realtime=realtime, follow=follow)
    if not cameras:
        raise click.UsageError("name a SOURCE: rtsp://user@camera/stream, a file; or -c cameras.yaml")
    reporter = make_reporter(verbose=verbose, quiet=quiet)
    failed = _watch(config, cameras, overrides, device, scores_folder, reporter)
    return EXIT_SOME_FAILED if failed else EXIT_DONE


def _watch(
    config: WatchConfig,
    cameras: Sequence[Camera],
    overrides: Sequence[str],
    device: str | None,
    scores_folder: Path | None,
    reporter: ConsoleReporter,
) -> dict[str, str]:
    from lad.console import print_failures
    from lad.detector.checkpoint import scoring_config
    from lad.detector.included import DEFAULT, card_of, find_detector
    from lad.detector.known_camera import NOBODY
    from lad.device import detector_threads, repeatable
    from lad.extract.video import Limits
    from lad.files import file_sha256
    from lad.pipeline.known_cameras import kept_camera
    from lad.watch.budget import Budget
    from lad.watch.events import Cooldown, Events
    from lad.watch.metrics import Metrics, serve_metrics
    from lad.watch.online import open_eye
    from lad.watch.payload import plain_name
    from lad.watch.stop import Stop
    from lad.watch.unended import unended
    from lad.watch.watch import Keep, Watch
    from lad.watch.watched import Watched

    path = find_detector(config.checkpoint or DEFAULT)
    detector = scoring_config(path, list(overrides), {"device": device} if device else {}, reporter.say)
    if card := card_of(path):
        reporter.say(card.line)
    out = config.out or OUT
    metrics = Metrics([camera.name for camera in cameras]) if config.metrics else None
    server = serve_metrics(metrics, config.metrics) if metrics and config.metrics else None
    if server:
        reporter.say(f"metrics: {server.address}/metrics")
    eye = open_eye(path, detector, config.latency or "exact", reporter.say)
    if config.known:
        eye.check_known()
    reporter.say(_delay(eye.delay_frames, eye.spec.fps, eye.latency))
    sha256, cooldown = file_sha256(path), Cooldown(config.cooldown_all_seconds)
    likeliest = eye.looks.actions.likeliest if eye.looks else None
    limits = Limits(max_pixels=detector.extract.max_pixels, max_frames=detector.extract.max_frames)
    watched = []
    for camera in cameras:
        rule, known = camera.rule_with(eye.scorer.threshold), NOBODY
        if config.known:
            known = kept_camera(config.known, camera.name, sha256, eye.recipe, detector.score.merge)
            reporter.say(f"{camera.name}: {_known(known.clips, config.known, camera.name)}")
        events = Events(camera.name, rule, eye.scorer.classes, sha256, cooldown, likeliest)
        if camera.alarms_per_day and camera.address.kind == "live":
            kept = out / BUDGETS / f"{plain_name(camera.name)}.npy"
            events.budget = Budget(camera.name, camera.alarms_per_day, rule.threshold, kept, reporter.say)
        watched.append(Watched(camera, eye.at(known), events, limits, detector.data.frame_folder_fps))
    stop = Stop()
    outbox = _outbox(config, out, metrics, reporter)  # first: it is refused where another `lad watch` has the folder
    with (
        _stopped_by_signals(stop),
        _Teller(reporter, watched, eye.scorer.classes, scores_folder) as teller,
        repeatable(eye.recipe.device, detector_threads(detector.threads)),
    ):
        if outbox.has_delivered("folder", LEFT_SECONDS):
            for notice in unended(out, time.time()):
                reporter.say(f"{notice.after.id}: ends now: the run in which it began was killed")
                outbox.send(notice)
        keep = Keep(out, config.keep_days, config.keep_gigabytes)
        failed = Watch(watched, outbox, teller, stop, files_at_once=detector.workers, keep=keep, metrics=metrics).run()
    if server:
        server.close()
    if failed:
        print_failures(failed)
    if stop.asked:  # Python would wait for the networks' threads and then tidy up, for longer than a signal may take
        sys.stderr.flush()  # each notice was flushed; one that nobody reads would keep this process
        os._exit(EXIT_SOME_FAILED if failed else EXIT_DONE)
    return failed


def _outbox(config: WatchConfig, out: Path, metrics: object, reporter: ConsoleReporter) -> Outbox:
    from typing import cast

    from lad.watch.outbox import Outbox
    from lad.watch.sinks import SINKS

    asked: dict[str, dict[str, Any]] = {"stdout": {}} if config.stdout else {}
    asked |= {"folder": {"path": out}}
    asked |= config.sinks
    sinks = {}
    for name, keys in asked.items():
        kind = SINKS[str(keys.get("kind", name))]
        sinks[name] = kind.make(kind.options(**{key: value for key, value in keys.items() if key != "kind"}))
    most = round(config.queue_megabytes * 1e6)
    return Outbox(sinks, out / QUEUES, max_bytes=most, metrics=cast(Any, metrics), say=reporter.say)


def _known(clips: float, work: Path, camera: str) -> str:
    if clips:
        return f"known by {clips:.0f} clips of its normal footage"
    words = ["lad", "score", "VIDEO", "--source", camera, "--normal", "FOOTAGE", "--work", str(work)]
    return f"this detector does not know it yet in {work}: `{shlex.join(words)}`, with the same settings"


def _delay(frames: int, fps: float | None, latency: str) -> str:
    if fps:
        return f"scores ({latency}) come at most {frames / fps:.1f} s after their frames, and what computing them takes"
    return (
        f"scores ({latency}) come at most {frames} frames after theirs ({frames / 25:.1f} s at 25 a second), and what "
        "computing them takes"
    )


@contextmanager
def _stopped_by_signals(stop: object) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the watching as it should end: with status 0."""
    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@dataclass
class _Teller:
    """Tells a person what happens, and writes scores where they are wanted."""

    reporter: ConsoleReporter
    watched: Sequence[Watched]
    classes: Sequence[str]
    folder: Path | None
    _files: dict[str, FileIO] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> _Teller:
        from lad.files import open_kept, write_all
        from lad.watch.payload import plain_name

        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            for one in self.watched:
                path = self.folder / f"{plain_name(one.camera.name)}.csv"
                path.unlink(missing_ok=True)
                self._files[one.camera.name] = file = open_kept(path)
                header = ",".join(["frame", "time", "score", *map(to_cell, self.classes)])
                write_all(file, f"{header}\n".encode())
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            with suppress(OSError):
                file.close()

    def say(self, text: str) -> None:
        self.reporter.say(text)

    def scores(self, camera: str, frames: FrameScores) -> None:
        from lad.files import write_all

        if file := self._files.get(camera):
            first = self._rows.get(camera, 0)
            self._rows[camera] = first + len(frames)
            rows = zip(frames.times.tolist(), frames.scores.tolist(), frames.classes.tolist(), strict=True)
            lines = (
                f"{first + number},{time:.3f},{score:.7g},{','.join(f'{p:.5g}' for p in classes)}\n"
                for number, (time, score, classes) in enumerate(rows)
            )
            try:
                write_all(file, "".join(lines).encode())
            except OSError as error:  # a full disk is no reason not to watch
                self.say(f"{camera}: scores are not written any more: {error.strerror}")
                del self._files[camera]

    def event(self, notice: Notice) -> None:
        """A line for a person, where one looks."""
        from lad.console import clock

        if not self.reporter.console.is_terminal:
            return
        event = notice.after
        live = event.start_time > 1e8
        begun = f"{datetime.fromtimestamp(event.start_time):%H:%M:%S}" if live else clock(event.start_time)
        lasted = f", {event.end_time - event.start_time:.1f} s" if event.end_time is not None else ""
        what = {"new": "begins", "update": "goes on", "end": "is over"}[notice.type]
        self.reporter.print(
            printable(f"{event.camera}: {event.severity} {event.label} {what}: {begun}{lasted}, {event.top_score:.3f}")
        )
