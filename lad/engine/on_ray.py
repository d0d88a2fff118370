"""What actors of Ray do for each stage, as the stage asks for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

from lad.detector.score_video import ScoreSettings, ToKnow, ToScore
from lad.device import kind_of
from lad.engine.drawing import Drawing, ToDraw
from lad.engine.extracting import ExtractingForCallers
from lad.engine.handover import for_others, prepared, staged
from lad.engine.messages import EngineError, PoolEvent, Setup
from lad.engine.pool import IN_FLIGHT, deal_out, in_flight_of
from lad.engine.ray_cluster import OnRay, joined
from lad.engine.ray_crew import Assignment, RayCrew
from lad.engine.scoring import Scoring, packed, setup_of
from lad.extract.jobs import Job
from lad.features.recipe import FeatureRecipe
from lad.version import DRAWS, TORCHCODEC, UNKNOWN, versions

Say = Callable[[str], None]


def extract_on_ray(
    jobs: Sequence[Job],
    recipe: FeatureRecipe,
    home: Path,
    asked: OnRay,
    *,
    workers: int,
    threads: int,
    stall_seconds: float,
    say: Say,
) -> Generator[PoolEvent, None, None]:
    """`deal_out` of videos to extract.

    Args:
        jobs: the videos.
        recipe: of their features.
        home: the work directory of this process.
        asked: which cluster, how many actors.
        workers: decoding processes of each actor.
        threads: of the networks of each actor, on a CPU. It takes so many CPUs, and beside a GPU one for each decoder.
        stall_seconds: without progress, decoders and actors are ended.
        say: gets a line for what is worth knowing.

    Raises:
        EngineError: there is no such cluster, or none of its nodes takes videos.
    """
    if recipe.clips.reader == TORCHCODEC and versions(TORCHCODEC)[TORCHCODEC] == UNKNOWN:
        raise EngineError(
            "extract.reader: torchcodec is not installed here, and the nodes need the same release as this machine: "
            "pip install 'lad-video[torchcodec]'"
        )
    gpus, in_flight = _gpus(asked, recipe), in_flight_of(workers)
    recipe = replace(recipe, device=kind_of(recipe.device), threads=threads)
    with joined(asked.address), prepared(home, recipe, workers=workers, stall_seconds=stall_seconds) as setup:
        work = Assignment(
            setup,
            ExtractingForCallers,
            lambda video_id, name, stream: staged(home, video_id, name, stream),
            lambda job, put: for_others(job),
        )
        cpus = workers if gpus else threads
        crew = RayCrew(work, asked, cpus=cpus, gpus=gpus, in_flight=in_flight, most=len(jobs), say=say)
        yield from deal_out(jobs, crew, in_flight=in_flight, stall_seconds=stall_seconds, say=say)


def score_on_ray(
    jobs: Sequence[ToScore | ToKnow],
    settings: ScoreSettings,
    checkpoint: Path,
    place: Callable[[str], Path],
    asked: OnRay,
    *,
    stall_seconds: float,
    say: Say,
) -> Generator[PoolEvent, None, None]:
    """`deal_out` of videos to score, or to get to know cameras by.

    Each actor takes a CPU, however many threads the detector has, and maybe a GPU.

    Args:
        jobs: the videos.
        settings: how they are scored.
        checkpoint: of the detector.
        place: where the CSV of a video belongs.
        asked: which cluster, how many actors.
        stall_seconds: without progress an actor is ended.
        say: gets a line for what is worth knowing.

    Raises:
        EngineError: there is no such cluster, or none of its nodes takes videos.
    """
    gpus = _gpus(asked, settings.recipe)
    with joined(asked.address):
        setup = setup_of(
            settings, checkpoint, looks=any(isinstance(job, ToScore) and not job.are_given for job in jobs)
        )
        work = Assignment(setup, Scoring, lambda video_id, *_: place(video_id), packed)
        crew = RayCrew(work, asked, cpus=1, gpus=gpus, in_flight=IN_FLIGHT, most=len(jobs), say=say)
        yield from deal_out(jobs, crew, in_flight=IN_FLIGHT, stall_seconds=stall_seconds, say=say)


def draw_on_ray(
    jobs: Sequence[ToDraw], place: Callable[[str], Path], asked: OnRay, *, stall_seconds: float, say: Say
) -> Generator[PoolEvent, None, None]:
    """`deal_out` of score curves to draw. Each actor takes a CPU; the rest is as `score_on_ray` has it."""
    with joined(asked.address):
        setup = Setup(versions=versions(*DRAWS))
        work = Assignment(setup, Drawing, lambda video_id, *_: place(video_id), lambda job, put: job.packed())
        crew = RayCrew(work, asked, cpus=1, gpus=0, in_flight=IN_FLIGHT, most=len(jobs), say=say)
        yield from deal_out(jobs, crew, in_flight=IN_FLIGHT, stall_seconds=stall_seconds, say=say)


def _gpus(asked: OnRay, recipe: FeatureRecipe) -> float:
    """How many GPUs an actor takes.

    Raises:
        EngineError: what was asked does not fit the device.
    """
    device = kind_of(recipe.device)
    gpus = asked.gpus_per_actor if asked.gpus_per_actor is not None else float(device == "cuda")
    if (gpus > 0) != (device == "cuda"):
        raise EngineError(f"--gpus-per-actor {gpus:g} and --device {device} do not fit: networks run on a GPU or not")
    return gpus
