"""Videos to features: decoding processes beside the network, every video's events in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lad.extract.jobs import Clips, Failed, Finished, Job, Message, Started
from lad.extract.runtime import BATCHES_AT_ONCE
from lad.extract.workers import decode_videos
from lad.memory import give_back_freed

if TYPE_CHECKING:
    from lad.extract.extractor import FeatureExtractor


@dataclass(frozen=True)
class Computed:
    """The features of a video's next batch of clips: stream -> `(clips, dim)` or `(crops, clips, dim)`, float32."""

    item: str
    batch: dict[str, np.ndarray]


Event = Started | Computed | Finished | Failed


def extract_videos(
    jobs: Sequence[Job], extractor: FeatureExtractor, *, workers: int, stall_seconds: float
) -> Iterator[Event]:
    """Decode videos in `workers` processes and yield what comes of them, the features of a video in order.

    A video's events are `Started`, some `Computed`, and `Finished` or `Failed`. Where its reader gives up it is
    `Started` again, and what was computed before is void if `skip_clips` is 0.

    Args:
        jobs: the videos.
        extractor: their networks.
        workers: decoding processes.
        stall_seconds: a process that shows no progress for so long is ended.
    """
    return compute(decode_videos(jobs, workers=workers, stall_seconds=stall_seconds), extractor, BATCHES_AT_ONCE)


def compute(messages: Iterator[Message], extractor: FeatureExtractor, at_once: int) -> Iterator[Event]:
    """The messages in their order, features in the place of clips, of `at_once` batches at a time."""

    def features(clips: Clips) -> Computed:
        return Computed(clips.item, {stream: extractor(stream, batch) for stream, batch in clips.batch.items()})

    waiting: deque[Future[Computed] | Event] = deque()
    largest = 0
    with ThreadPoolExecutor(at_once, thread_name_prefix="network") as network:
        try:
            for message in messages:
                if isinstance(message, Clips):
                    size = sum(batch.nbytes for batch in message.batch.values())
                    if size > largest:  # what is kept of smaller ones are holes too small for it
                        give_back_freed()
                        largest = size
                    waiting.append(network.submit(features, message))
                else:
                    waiting.append(message)
                while waiting and (len(waiting) > at_once or _is_there(waiting[0])):
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            network.shutdown(cancel_futures=True)


def _is_there(event: Future[Computed] | Event) -> bool:
    return not isinstance(event, Future) or event.done()


def _result(event: Future[Computed] | Event) -> Event:
    return event.result() if isinstance(event, Future) else event
