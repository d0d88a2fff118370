"""When a video was recorded, as far as its file says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lad.extract.container import open_container, sniff_container
from lad.extract.video import DEFAULT_LIMITS, VideoError

FIRST_YEAR = 1990  # recordings with a date before that have a clock that was never set


def recorded_at(path: Path) -> str | None:
    """When a file says that it was recorded, in UTC as ISO 8601; None where it does not, or its clock was not set."""
    if path.is_dir():
        return None
    try:
        with open_container(path, sniff_container(path), DEFAULT_LIMITS) as container:
            written = container.metadata.get("creation_time", "")
        when = datetime.fromisoformat(written.replace("Z", "+00:00"))
    except (VideoError, OSError, ValueError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return when.astimezone(UTC).isoformat(timespec="milliseconds") if when.year >= FIRST_YEAR else None
