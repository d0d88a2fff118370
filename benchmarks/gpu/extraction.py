"""Extraction against what the decoders could give alone, with more and more of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import cv2

from benchmarks.gpu.network import extractor
from benchmarks.gpu.size import Size, per_second
from benchmarks.speed.rows import Row
from lad.demo.clips import plan, render_clip
from lad.device import STEADY_THREADS, cores, repeatable
from lad.extract.clips import ClipSpec
from lad.extract.extraction import Computed, Event, extract_videos
from lad.extract.jobs import Clips, Failed, Job, Message
from lad.extract.readers import First
from lad.extract.runtime import choose_dtype
from lad.extract.workers import decode_videos

BATCH = 4  # extract.batch_clips
STALL_SECONDS = 60.0
BEGINNING = 3  # videos that do not count


def measure(device: str, size: Size) -> Iterator[Row]:
    """Time both on copies of one made-up street, 320x240, by decord, rgb."""
    network = extractor(size, device, choose_dtype("auto", device, "kinetics"))
    with tempfile.TemporaryDirectory() as folder, repeatable(device, STEADY_THREADS):
        video = write_street(Path(folder) / "street.mp4", size.frames, (320, 240))
        for decoders in size.decoders:
            what = f"extraction, 320x240, decoders: {decoders}"
            if decoders > cores():
                yield Row(what, "", "", f"not measured: this machine has {cores()} cores", "", None)
                continue
            alone = decoding_rate(video, decoders, size)
            jobs = jobs_of(video, decoders, size)
            events = extract_videos(
                jobs, lambda: network, batch_clips=BATCH, workers=decoders, stall_seconds=STALL_SECONDS
            )
            both = rate(events, decoders)
            baseline, ours = f"{per_second(alone, 'clips')} (decoders alone)", per_second(both, "clips")
            yield Row(what, baseline, ours, f"{both / alone:.0%}", "", None)


def decoding_rate(video: Path, decoders: int, size: Size, first: First = "decord", device: str = "cpu") -> float:
    """Clips a second that the decoders give where nobody looks at them."""
    jobs = [replace(job, spec=replace(job.spec, reader=first, device=device)) for job in jobs_of(video, decoders, size)]
    return rate(decode_videos(jobs, workers=decoders, stall_seconds=STALL_SECONDS), decoders)


def jobs_of(video: Path, decoders: int, size: Size) -> list[Job]:
    """The same video many times."""
    return [Job(str(number), video, ClipSpec(("rgb",), batch_clips=BATCH)) for number in range(decoders * size.jobs)]


def rate(events: Iterable[Event | Message | None], decoders: int) -> float:
    """Clips a second, once more videos have begun than there are decoders: no start counts, nor the capture of a graph.

    Raises:
        RuntimeError: a video failed.
    """
    began, clips = 0.0, 0
    seen: set[str] = set()
    for event in events:
        match event:
            case Failed():
                raise RuntimeError(event.error)
            case Clips() | Computed():
                if began:
                    clips += event.count if isinstance(event, Clips) else len(event.batch["rgb"])
                seen.add(event.item)
                if not began and len(seen) == decoders + BEGINNING:
                    began = time.perf_counter()
    return clips / (time.perf_counter() - began)


def write_street(path: Path, frames: int, size: tuple[int, int]) -> Path:
    """A video of `lad demo`'s made-up street, H.264, enlarged to (width, height)."""
    clip = replace(plan(per_category=1)[0], n_frames=frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for frame in render_clip(clip):
            picture = av.VideoFrame.from_ndarray(cv2.resize(frame, size), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path
