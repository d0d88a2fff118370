"""Videos to features: decoding processes beside the network, every video's events in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from lad.errors import LadError
from lad.extract.failures import NotFinite, has_broken_device, why_it_failed
from lad.extract.jobs import NOWHERE, Clips, Failed, Finished, Job, Message, Reached, Started
from lad.extract.stillness import with_repeated
from lad.extract.workers import decode_videos
from lad.memory import give_back_freed

if TYPE_CHECKING:
    from lad.extract.extractor import FeatureExtractor


class DeviceBroken(LadError):
    """The device runs nothing any more in this process."""


@dataclass(frozen=True)
class Computed:
    """The features of a video's next batch of clips: stream -> `(clips, dim)` or `(crops, clips, dim)`, float32.

    Of every layer of the extractor there are some, asked for or not: the network passed there.
    `back`: which of them were not seen, as `Clips` has it.
    """

    item: str
    batch: dict[str, np.ndarray]
    reached: Reached = NOWHERE
    back: tuple[int, ...] = ()


@dataclass(frozen=True)
class _NetworkFailed:
    """The network gave no features of a batch. `broken`: nor will it give any of another."""

    item: str
    error: str
    broken: bool = False


Network = Callable[[str, np.ndarray], Mapping[str, np.ndarray]]  # as `FeatureExtractor.by_layer`
Event = Started | Computed | Finished | Failed
_Result = Event | _NetworkFailed
_Waiting = Future[_Result] | Event


def extract_videos(
    jobs: Iterable[Job | None],
    load: Callable[[], FeatureExtractor],
    *,
    batch_clips: int,
    workers: int,
    stall_seconds: float,
) -> Iterator[Event]:
    """Decode videos in `workers` processes and yield what comes of them, the features of a video in order.

    A video's events are `Started`, some `Computed`, and `Finished` or `Failed`. Where its reader gives up it is
    `Started` again, and what was computed before is void if `skip_clips` is 0.

    Args:
        jobs: the videos; None among them: there is none now, and there will be more.
        load: gives their networks, loaded now or before. It is called once, when the first decoder is at work: both
            take a while to begin.
        batch_clips: that their batches have at most.
        workers: decoding processes.
        stall_seconds: a process that shows no progress for so long is ended.

    Raises:
        DeviceBroken: nothing can be computed any more; the video that broke it has `Failed` before.
    """
    known: dict[str, Mapping[str, np.ndarray]] = {}

    def noted() -> Iterator[Job | None]:
        for job in jobs:
            if job and job.before:
                known[job.item] = job.before
            yield job

    with closing(decode_videos(noted(), workers=workers, stall_seconds=stall_seconds)) as messages:
        begun = list(islice(messages, 1))
        extractor = load()
        at_once = extractor.batches_at_once(batch_clips)
        yield from compute(chain(begun, messages), extractor.by_layer, at_once, known)


def compute(
    messages: Iterator[Message | None],
    network: Network,
    at_once: int,
    known: MutableMapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Iterator[Event]:
    """The messages in their order, features in the place of clips, of `at_once` batches at a time.

    A video of which the network gives no features has `Failed`, and nothing more comes of it. `known`: item ->
    `Job.before`, which is taken out when it is needed.
    """
    waiting: deque[_Waiting] = deque()
    failed: set[str] = set()
    first_clip: dict[str, int] = {}  # of each video's next batch
    latest: dict[str, Mapping[str, np.ndarray]] = {}  # of each video, the features of the batch before
    largest = 0

    def next_event() -> Iterator[Event]:
        """The oldest that waits, unless its video has failed."""
        event = waiting.popleft()
        result = event.result() if isinstance(event, Future) else event
        if result.item in failed:
            return
        match result:
            case Computed(item):
                batch = with_repeated(result.batch, result.back, latest.get(item, {}))
                result, latest[item] = replace(result, batch=batch), batch
            case Started(item, skip_clips=0) | Finished(item) | Failed(item):
                latest.pop(item, None)
            case Started(item):
                latest.setdefault(item, known.pop(item, {}) if known else {})
        if not isinstance(result, _NetworkFailed):
            yield result
            return
        failed.add(result.item)
        latest.pop(result.item, None)
        yield Failed(result.item, "worker", result.error)
        if result.broken:
            raise DeviceBroken(f"{result.error}: the GPU can do nothing more for this process; run the command again")

    with ThreadPoolExecutor(at_once, thread_name_prefix="network") as threads:
        try:
            for message in messages:
                match message:
                    case Clips(item) if item not in failed:
                        size = sum(batch.nbytes for batch in message.batch.values())
                        if size > largest:  # what is kept of smaller ones are holes too small for it
                            give_back_freed()
                            largest = size
                        first = first_clip.get(item, 0)
                        first_clip[item] = first + message.count
                        waiting.append(threads.submit(_features, network, message, first))
                    case Clips() | None:
                        pass
                    case Started(item):
                        first_clip[item] = message.skip_clips
                        waiting.append(message)
                    case Finished(item) | Failed(item):
                        first_clip.pop(item, None)
                        waiting.append(message)
                while waiting and (len(waiting) > at_once or _is_there(waiting[0])):
                    yield from next_event()
            while waiting:
                yield from next_event()
        finally:
            threads.shutdown(cancel_futures=True)


def _features(network: Network, clips: Clips, first: int) -> _Result:
    """What comes of a batch whose first clip is the video's `first`."""
    try:
        features: dict[str, np.ndarray] = {}
        for stream, batch in clips.batch.items():
            features |= network(stream, batch)
        return Computed(clips.item, features, clips.reached, clips.back)
    except NotFinite as error:
        clip = [number for number, steps in enumerate(clips.back or [0] * clips.count) if not steps][error.clip]
        said = f"the {error.stream} features of clip {first + clip} are not finite"
        if error.dtype != "float32":
            said += f": {error.dtype} cannot hold what the network computes; set extract.dtype: float32"
        return _NetworkFailed(clips.item, said)
    except (RuntimeError, MemoryError) as error:  # of torch, cuDNN, the system: the next video may do better
        return _NetworkFailed(clips.item, why_it_failed(error), has_broken_device(error))


def _is_there(event: _Waiting) -> bool:
    return not isinstance(event, Future) or event.done()
