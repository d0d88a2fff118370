"""Where in the picture something is unlike normal footage: a heat map for each event."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lad.evaluation.plots import new_figure, save_figure

SHOWN_FROM = 1.0  # deviations above the normal speed: slower cells stay as they are
OPACITY = 0.55


def draw_heat(path: Path, picture: np.ndarray, excess: np.ndarray, title: str) -> Path:
    """Draw a heat map over a frame; returns the file.

    Args:
        path: a PNG.
        picture: `(height, width, 3)` uint8 RGB.
        excess: `(rows, columns)` float, by how many deviations each cell of the picture is faster than normal frames.
        title: above it.
    """
    height, width = picture.shape[:2]
    figure = new_figure(6, 6 * height / width + 0.5)
    axes = figure.subplots()
    axes.imshow(picture)
    shown = np.ma.masked_less(excess, SHOWN_FROM)
    highest = max(float(excess.max()), SHOWN_FROM + 1)
    heat = axes.imshow(
        shown, extent=(0, width, height, 0), cmap="inferno", alpha=OPACITY, vmin=SHOWN_FROM, vmax=highest
    )
    figure.colorbar(heat, ax=axes, label="deviations above the normal speed", shrink=0.8)
    axes.set_axis_off()
    axes.set_title(title, fontsize=10, parse_math=False)
    return save_figure(figure, path)
