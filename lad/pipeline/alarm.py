"""`--alarm CMD`: a command of the user's for each event that is found."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from typing import Any

from lad.errors import LadError
from lad.pipeline.reporter import Reporter
from lad.work.layout import Work

STAGE = "alarm"  # of the manifest's items: a video whose alarm did not go off keeps it until it does
ALARM_SECONDS = 60.0


class AlarmError(LadError):
    """The command cannot be one."""


def alarm_words(command: str) -> list[str]:
    """The words of a command, as a shell splits them; no shell runs it.

    Raises:
        AlarmError: a quote is not closed, or there is no such command.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise AlarmError(f"--alarm {command!r}: {error}") from error
    if not words:
        raise AlarmError("--alarm: say which command is to be run")
    if shutil.which(words[0]) is None:
        raise AlarmError(f"--alarm: there is no command {words[0]!r}: give its whole path")
    return words


def is_due(work: Work, video_id: str) -> bool:
    """Whether the alarm of a video was asked for before and has not gone off."""
    row = work.manifest.get(STAGE, work.item(video_id))
    return row is not None and row.status != "done"


def make_due(work: Work, video_id: str, scored: str) -> None:
    """Note that the alarm of a video is to go off, so that it still is after a kill; `scored`: its fingerprint."""
    work.manifest.start(STAGE, work.item(video_id), scored)


def sound_alarm(command: str, work: Work, video_id: str, info: dict[str, Any], reporter: Reporter) -> str:
    """Run a command for each event of a scored video, with the event as JSON on its standard input.

    The JSON has the keys `video`, `path`, `start` and `end` (frames), `start_time` and `end_time` (seconds),
    `category`, `peak`, `threshold`, `looks_like` and `confidence`.

    Args:
        command: of the user.
        work: where the video was scored.
        video_id: of the video.
        info: of its scores' row.
        reporter: who is told of a command that fails, or takes more than a minute.

    Returns:
        the first such failure, which is kept, so that the next run tries again; empty: the alarm went off.
    """
    first = ""
    for event in info["events"]:
        facts = {"video": video_id, "path": info["path"], "threshold": info["threshold"], **event}
        if problem := _run(alarm_words(command), json.dumps(facts) + "\n"):
            said = f"the alarm for frames {event['start']}-{event['end']} did not go off: {problem}"
            reporter.say(f"warning: {video_id}: {said}")
            first = first or said
    if first:
        work.manifest.fail(STAGE, work.item(video_id), "alarm", first)
    else:
        work.manifest.finish(STAGE, work.item(video_id), [], {"events": len(info["events"])})
    return first


def _run(words: list[str], text: str) -> str:
    """Why a command did not do what it is for; empty: it did."""
    try:
        # What it prints is no result of ours.
        done = subprocess.run(
            words, input=text, stdout=sys.stderr, text=True, encoding="utf-8", timeout=ALARM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{words[0]} took more than {ALARM_SECONDS:g} s and was ended"
    except OSError as error:
        return f"{words[0]} cannot be run: {error.strerror}"
    return f"{words[0]} ended with exit status {done.returncode}" if done.returncode else ""
