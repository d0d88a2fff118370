"""What a person at a terminal sees: progress and logs on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from lad.evaluation.shown import metrics_lines, metrics_table, metrics_title, region_lines
from lad.log import Log
from lad.progress import Clock, Work, told
from lad.text import printable

if TYPE_CHECKING:
    import numpy as np

RESULT_PLACES = {
    "extract": "features",
    "train": "checkpoints/best.pt",
    "score": "scores/summary.csv",
    "evaluate": "metrics.json",
}

WIDE = 200  # columns of what is printed to a file
PIPE_COLUMNS = 200
BLOCKS = "▁▂▃▄▅▆▇█"  # a score from 0 to 1


def _console(**how: Any) -> Console:
    """A console that shows text as it is: names are no markup, and no codes for emoji.

    Where nobody looks, as in a pipe, lines are as long as they need to be.
    """
    console = Console(markup=False, emoji=False, **how)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_COLUMNS)
    return console


def clock(seconds: float) -> str:
    """`75.5` -> `1:15.5`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


@dataclass(frozen=True)
class ConsoleReporter:
    """Tells a person on stderr: a line for each thing, and bars only where it is a terminal.

    Attributes:
        console: of rich, quiet where nothing is to be said.
        verbose: whether each step of the way is said.
        name: what every line belongs to.
        log: gets all of it too.
        clock: of the lines that say how far it is.
    """

    console: Console
    verbose: bool = False
    name: str = ""
    log: Log = field(default_factory=Log)
    clock: Clock = field(default_factory=Clock)

    def say(self, text: str) -> None:
        """Log a line as it is: nothing in it is markup, and it is not wrapped."""
        self._note(text)
        self.print(self._named(text))

    def print(self, line: str) -> None:
        """Show a line that is not for the log."""
        self.console.print(printable(line), highlight=False, markup=False, emoji=False, soft_wrap=True)

    def _note(self, text: str) -> None:
        self.log.write(self._named(text))

    def _named(self, text: str) -> str:
        return f"{self.name}: {text}" if self.name else text

    def announce(self, text: str, *, on_stderr: bool = False) -> None:
        """Say what a stage came to: a result, which is for stdout, where results are text."""
        self.clock.restart()  # what comes next begins now
        if on_stderr:
            self.say(text)
        else:
            self.log.write(text)
            click.echo(text)

    @contextmanager
    def progress(self, what: str, total: int | None, unit: str = "videos") -> Iterator[ConsoleBar]:
        """A progress bar, which goes when it is done; a line at times for the log, and where no bar can be drawn."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _NoteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        work, shown = Work(what, total, unit), self.console.is_terminal and not self.console.quiet
        with (
            Progress(*columns, console=self.console, transient=True, disable=not shown) as bar,
            told(work, self.clock, self._note if shown else self.say),
        ):
            yield ConsoleBar(bar, bar.add_task(what, total=total, note=""), work)

    def within(self, name: str) -> ConsoleReporter:
        return replace(self, name=name)


def make_reporter(*, verbose: bool = False, quiet: bool = False) -> ConsoleReporter:
    """The reporter of a command."""
    return ConsoleReporter(_console(file=sys.stderr, quiet=quiet), verbose)


@dataclass(frozen=True)
class ConsoleBar:
    """A bar of rich, and the same for lines."""

    bar: Progress
    task: TaskID
    work: Work

    def advance(self, note: str = "") -> None:
        self.work.advance(note)
        self._draw()

    def show(
        self,
        *,
        done: float | None = None,
        total: float | None = None,
        note: str | None = None,
        share: float | None = None,
        speed: str | None = None,
    ) -> None:
        self.work.show(done, total, note, share, speed)
        self._draw()

    def _draw(self) -> None:
        self.bar.update(self.task, completed=self.work.done, total=self.work.total, note=self.work.note)


class _NoteColumn(ProgressColumn):
    """What is being worked on: a file's name, in which nothing is markup and nothing is for the terminal to obey."""

    def render(self, task: Task) -> Text:
        return Text(printable(task.fields["note"]))


def print_run(data: dict[str, Any]) -> None:
    """Print what came of a run; failures go to stderr."""
    failed: dict[str, str] = {}
    for stage in data["stages"].values():
        failed = {**stage["failed"], **failed}  # a later stage only repeats what an earlier one says of a video
    for video_id, info in data.get("scores", {}).items():
        print_scores(video_id, info)
    if "training" in data:
        print_training(data["training"])
    if "metrics" in data:
        print_metrics(data["metrics"])
    if data.get("weights"):  # motion alone needs none
        names = {stream: identity.partition(":sha256:")[0] for stream, identity in data["weights"].items()}
        click.echo(f"feature weights: {', '.join(f'{stream} {name}' for stream, name in names.items())}")
    for name, place in RESULT_PLACES.items():
        if name in data["stages"] and (name != "extract" or (Path(data["work"]) / place).exists()):  # not of given ones
            several = data["splits"] > 1 and name in ("train", "score")
            click.echo(f"{data['work']}/{'splits/*/' if several else ''}{place}")
    print_failures(failed)


def print_failures(failed: dict[str, str], what: str = "video") -> None:
    """Which videos failed and why, to stderr; `what` they are."""
    if failed:
        click.echo(f"{len(failed)} {what}{'s' if len(failed) > 1 else ''} failed:", err=True)
        for reason in failed.values():
            click.echo(f"  {printable(reason)}", err=True)


def print_scores(video_id: str, info: dict[str, Any]) -> None:
    """A video's peak and its events, as times and frames."""
    category = f", {printable(info['category'])}" if info["events"] else ""  # of nothing there is no kind
    click.echo(
        f"{printable(video_id)}: peak {info['peak_score']:.3f} at {clock(info['peak_time'])} "
        f"(frame {info['peak_frame']}){category}; {info['frames']} frames, {clock(info['seconds'])}"
    )
    for event in info["events"]:
        times = f"{clock(event['start_time'])} - {clock(event['end_time'])}"
        looks = f"; looks like: {', '.join(event['looks_like'])}" if event.get("looks_like") else ""
        click.echo(f"  event {times}  frames {event['start']}-{event['end']}  {printable(event['category'])}{looks}")
    if not info["events"]:
        click.echo(f"  no event above {info['threshold']:g}")
    for warning in info["warnings"]:
        click.echo(f"  warning: {printable(warning)}")


def print_clips(clips: list[dict[str, Any]]) -> None:
    """A line for each clip, worst first."""
    for clip in clips:
        first, last = clip["events"][0], clip["events"][-1]
        times = f"{clock(first['start_seconds'])} - {clock(last['end_seconds'])}"
        click.echo(printable(f"{clip['peak']:.3f}  {times}  {clip['category']}  {clip['path']}"))


def print_training(info: dict[str, Any]) -> None:
    """How long was trained and why."""
    best = info["validation"]
    numbers = ", ".join(f"{key} {best[key]:.4f}" for key in ("auc", "ap") if best.get(key) is not None)
    chosen = f", chosen by {info['selection']} ({numbers})" if numbers else ""
    how = f": {info['steps']} steps{chosen}" if info["steps"] else " of normal footage"
    click.echo(f"trained on {info['videos']} videos{how}")
    if info.get("doubt"):
        click.echo(f"warning: the detector may be worth nothing: {info['doubt']}")


def print_metrics(metrics: dict[str, Any]) -> None:
    """The numbers of an evaluation: of one split, or the mean and deviation of several."""
    if "rbdc" in metrics:
        lines = region_lines(metrics)
    else:
        print_tables([metrics_table(metrics)], metrics_title(metrics))
        lines = metrics_lines(metrics)
    for line in lines:
        click.echo(printable(line))


def print_tables(tables: Iterable[tuple[Sequence[str], Sequence[Sequence[str]]]], title: str = "") -> None:
    """Print tables of a header and rows, the first below a title; no word in them is torn where there is room."""
    console = _console()
    if not console.is_terminal:  # whoever reads a file wants no line folded
        console = _console(width=WIDE)
    for header, rows in tables:
        table = Table(title=title or None, title_justify="left", show_lines=any("\n" in c for row in rows for c in row))
        title = ""
        for number, name in enumerate(header):
            words = [*name.split(), *(line for row in rows for line in row[number].splitlines())] if number else []
            longest = max(map(len, words), default=0)
            table.add_column(printable(name), justify="right" if number else "left", overflow="fold", min_width=longest)
        for row in rows:
            table.add_row(*map(printable, row))
        console.print(table)


def print_curve(name: str, scores: np.ndarray, truth: np.ndarray, frames_a_block: int = 16) -> None:
    """A video's scores as a row of blocks, and a line below them where the truth says event."""
    starts = range(0, len(scores), frames_a_block)
    heights = [float(scores[start : start + frames_a_block].mean()) for start in starts]
    marks = [bool(truth[start : start + frames_a_block].mean() >= 0.5) for start in starts]
    blocks = "".join(BLOCKS[min(int(height * len(BLOCKS)), len(BLOCKS) - 1)] for height in heights)
    click.echo(f"  {name:<24} {blocks}")
    if any(marks):
        click.echo(f"  {'':<24} {''.join('━' if mark else ' ' for mark in marks)}".rstrip())


@contextmanager
def verify_bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr for items that are verified, only where it is a terminal."""
    console = _console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("verify", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_weights(data: list[dict[str, Any]]) -> None:
    """A table of the weights that there are."""
    table = Table()
    for name in ("name", "backbone", "stream", "here", "what it is"):
        table.add_column(name, overflow="fold")
    for entry in data:
        table.add_row(
            entry["name"], entry["backbone"], entry["stream"], "yes" if entry["cached"] else "no", entry["description"]
        )
    _console().print(table)


@contextmanager
def download_bar(what: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """A progress bar on stderr for a download, only where it is a terminal."""
    console = _console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, step: bar.update(task, completed=done, total=total, description=step)
