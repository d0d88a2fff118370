"""`scores/summary.csv`: a line for each video."""

from __future__ import annotations

import csv
import io

from lad.features.given import GIVEN
from lad.features.recipe import EXTRACT, FeatureRecipe
from lad.files import write_bytes
from lad.pipeline.scored import STAGE
from lad.text import as_utf8, to_cell
from lad.work.layout import Work

SUMMARY_COLUMNS = (
    *("video", "frames", "seconds", "peak_score", "peak_time", "category", "events", "warnings", "error"),
    *("looks_like", "unfamiliar", "path"),
)


def write_summary(recipe: FeatureRecipe, work: Work, checkpoint_sha256: str) -> bool:
    """One line for each video: those that this detector scored, and those that have no features, with the reason.

    Returns whether the file says something else than before.
    """
    lines: dict[str, list[object]] = {}
    for row in work.manifest.failed(EXTRACT):
        stream, _, video_id = row.item.partition("/")
        if stream in (GIVEN, *recipe.streams):
            lines[video_id] = [video_id, "", "", "", "", "", "", "", row.error, "", "", ""]
    for (_, item), row in work.manifest.items(STAGE).items():
        info, (place, video_id) = row.info, work.place_of(item)
        ours = place == work and row.status == "done" and info.get("checkpoint") == checkpoint_sha256
        if ours and video_id not in lines:
            events = ";".join(f"{event['start']}-{event['end']}" for event in info["events"])
            facts = [info[key] for key in ("frames", "seconds", "peak_score", "peak_time", "category")]
            looks = "; ".join(", ".join(event.get("looks_like", ())) for event in info["events"])
            unfamiliar = info.get("unfamiliar")  # not in rows of an older lad
            lines[video_id] = [video_id, *facts, events, "; ".join(info["warnings"]), "", looks, unfamiliar]
            lines[video_id].append(as_utf8(str(info.get("path", ""))))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    for video_id in sorted(lines):
        writer.writerow([to_cell(cell) if isinstance(cell, str) else cell for cell in lines[video_id]])
    content = out.getvalue().encode()
    if changed := not work.summary.exists() or work.summary.read_bytes() != content:
        write_bytes(work.summary, content)
    return changed
