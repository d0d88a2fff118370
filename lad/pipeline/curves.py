"""The score curves of an evaluation, drawn by actors of Ray: drawing takes longer than all else of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from lad.engine.messages import EngineError, Fleet, Made
from lad.engine.ray_cluster import OnRay
from lad.evaluation.plots import curve_path, draw_curves
from lad.evaluation.results import ScoredVideo
from lad.extract.jobs import Failed
from lad.pipeline.fleet import fleet_told, write_fleet
from lad.pipeline.pace import Count
from lad.pipeline.reporter import Bar, Reporter


def draw_curves_on_ray(
    folder: Path,
    scored: Sequence[ScoredVideo],
    threshold: float | None,
    *,
    asked: OnRay,
    home: Path,
    stall_seconds: float,
    reporter: Reporter,
    bar: Bar,
) -> None:
    """`evaluation.plots.draw_curves` by actors of Ray. Those that come to nothing there are drawn here.

    Args:
        folder: for the pictures.
        scored: the videos.
        threshold: that is drawn in each; None: none.
        asked: which cluster, how many actors.
        home: the work directory.
        stall_seconds: without progress an actor is ended.
        reporter: who is told.
        bar: of the pictures.
    """
    from lad.engine.drawing import ToDraw
    from lad.engine.on_ray import draw_on_ray

    left, count = {one.video.id: one for one in scored}, Count(len(scored))
    events = draw_on_ray(
        [ToDraw(one, threshold) for one in scored],
        lambda video_id: curve_path(folder, video_id),
        asked,
        stall_seconds=stall_seconds,
        say=reporter.say,
    )
    try:
        with fleet_told(home), closing(events):
            for event in events:
                match event:
                    case Fleet():
                        write_fleet(home, "drawing", event, count.share, count.seconds_left)
                    case Failed(item, _, error):
                        reporter.say(f"warning: the score curve of {item} is drawn on this machine: {error}")
                    case Made(item):
                        del left[item]
                        count.ended()
                        bar.advance()
    except EngineError as error:
        reporter.say(f"warning: score curves are drawn on this machine: {'; '.join(str(error).splitlines())}")
    draw_curves(folder, list(left.values()), threshold, bar.advance)
