"""Which axis of given features is which: what somebody else's program wrote in which order."""

from __future__ import annotations

from collections.abc import Sequence

from lad.clip import CLIP_FRAMES
from lad.config_data import AUTO_LAYOUT

OWN = "crops,clips,dim"  # as lad writes them; the first axis is left out where there is one crop
TURNED = "clips,crops,dim"  # as RTFM's extractors write them
CROPS = (1, 5, 10)


def read_layout(shape: Sequence[int], asked: str, frames: int | None) -> tuple[str, str]:
    """The order of the axes of features, and why it is not lad's own; empty: it is, or was asked for.

    Args:
        shape: of the file, two or three axes.
        asked: `data.npy_layout`.
        frames: how many the video has, which may rule a reading out; None: nobody says.

    Raises:
        ValueError: the axes cannot be told from each other, or no order gives a number of crops that there is.
    """
    if asked != AUTO_LAYOUT:
        names = axes_of(asked, len(shape))
        crops = shape[names.index("crops")] if "crops" in names else 1
        if crops not in CROPS:
            raise ValueError(f"{tuple(shape)} as {asked} has {crops} crops: there can be 1, 5 or 10")
        return (OWN if names == axes_of(OWN, len(shape)) else asked), ""
    if len(shape) == 2:
        return OWN, ""
    first, second = shape[:2]
    clips = {OWN: second, TURNED: first}
    possible = [layout for layout, crops in ((OWN, first), (TURNED, second)) if crops in CROPS]
    if not possible:
        raise ValueError(
            f"{tuple(shape)}: neither {first} nor {second} is a number of crops, which is 1, 5 or 10: "
            "name its axes with data.npy_layout if they are others than crops, clips and dim"
        )
    if possible == [TURNED]:
        return TURNED, f"{first} is no number of crops"
    if len(possible) == 1 or first == second == 1:
        return OWN, ""
    fitting = [one for one in possible if frames and abs(clips[one] * CLIP_FRAMES - frames) <= CLIP_FRAMES]
    if len(fitting) != 1:
        raise ValueError(
            f"{tuple(shape)} is {first} crops of {second} clips, or {first} clips of {second} crops: "
            f"set data.npy_layout to {OWN} or {TURNED}"
        )
    return fitting[0], "" if fitting == [OWN] else f"{second} clips would not be {frames} frames"


def axes_of(layout: str, axes: int) -> list[str]:
    """The names of so many axes; where there are two, the crops are left out.

    Raises:
        ValueError: the layout has another number of axes.
    """
    names = [name for name in layout.split(",") if axes == 3 or name != "crops"]
    if len(names) != axes:
        raise ValueError(f"has {axes} axes, and data.npy_layout is {layout}")
    return names
