"""What `lad.children` promises of processes of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from lad.extract.clips import ClipSpec
from lad.extract.jobs import Clips, Finished, Job
from lad.extract.workers import decode_videos


def test_a_decoder_outlives_the_thread_that_asked_for_it(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    video = make_video(tmp_path / "v.mp4", 64)
    messages = decode_videos([Job("v", video, ClipSpec(("rgb",), batch_clips=1))], workers=1, stall_seconds=60)
    seen: list[object] = []
    while not (seen and isinstance(seen[-1], Finished)):  # each message is asked for by a thread of its own
        thread = threading.Thread(target=lambda: seen.append(next(messages)))
        thread.start()
        thread.join()
    assert sum(isinstance(message, Clips) for message in seen) == 4
    assert [type(message).__name__ for message in seen].count("Started") == 1  # none was killed and began anew
