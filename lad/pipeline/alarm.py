"""`--alarm CMD`: a command of the user's for each event that is found."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import asdict

from lad.dataset import Video
from lad.detector.scoring import Scores
from lad.errors import LadError
from lad.pipeline.reporter import Reporter

ALARM_SECONDS = 60.0


class AlarmError(LadError):
    """The command cannot be one."""


def alarm_words(command: str) -> list[str]:
    """The words of a command, as a shell splits them; no shell runs it.

    Raises:
        AlarmError: a quote is not closed, or there is nothing.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise AlarmError(f"--alarm {command!r}: {error}") from error
    if not words:
        raise AlarmError("--alarm: say which command is to be run")
    return words


def sound_alarm(command: str, video: Video, scores: Scores, reporter: Reporter) -> None:
    """Run a command for each event of a video, with the event as JSON on its standard input.

    The JSON has the keys `video`, `path`, `start` and `end` (frames), `start_time` and `end_time` (seconds),
    `category`, `peak` and `threshold`. A command that fails, or takes more than a minute, is a warning.
    """
    words = alarm_words(command)
    for event in scores.events:
        facts = {"video": video.id, "path": str(video.path), "threshold": scores.threshold, **asdict(event)}
        try:
            done = subprocess.run(
                words, input=json.dumps(facts) + "\n", text=True, encoding="utf-8", timeout=ALARM_SECONDS, check=False
            )
            problem = f"exit status {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            problem = f"it took more than {ALARM_SECONDS:g} s and was ended"
        except OSError as error:
            problem = f"it cannot be run: {error.strerror}"
        if problem:
            reporter.say(f"warning: {video.id}: the alarm {words[0]} for frames {event.start}-{event.end}: {problem}")
