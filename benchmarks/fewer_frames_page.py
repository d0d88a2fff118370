"""What `benchmarks.fewer_frames` tries, and how its page shows it: tables, and a picture of AUC against cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lad.clip import CLIP_FRAMES
from lad.tables import markdown_table

TARGET_COST, TARGET_LOSS = 0.5, 0.005
OWN, OTHER = "it taught", "all frames taught"  # the detector
TITLES = {"ped2": "Ped2, ten splits", "surveillance": "surveillance, cross-validation", "ur_fall": "UR Fall"}


@dataclass(frozen=True)
class Setting:
    """Which frames are seen, and how precisely.

    Attributes:
        name: of the table's row.
        share: of the frames, by their times.
        stride: frames from one clip to the next.
        dtype: precision of the network.
    """

    name: str
    share: float = 1.0
    stride: int = CLIP_FRAMES
    dtype: str = "auto"

    @property
    def calls(self) -> float:
        """Clips for each 16 frames."""
        return self.share * CLIP_FRAMES / self.stride

    def fps(self, usual: float) -> float | None:
        return None if self.share == 1 else self.share * usual


ALL = Setting("all frames")
SETTINGS = (
    ALL,
    Setting("dtype int8", dtype="int8"),
    Setting("fps 12.5", share=0.5),
    Setting("fps 8", share=0.32),
    Setting("clip_stride 32", stride=32),
    Setting("clip_stride 48", stride=48),
)
NAMED = {one.name: one for one in SETTINGS if one is not ALL}


def lines(measured: dict[str, Any]) -> Iterator[str]:
    """A table for each kind of detector, and one of the test half, as far as they are measured."""
    known = [name for name in TITLES if name in measured]
    for detector in (OWN, OTHER):
        header = [f"the detector that {detector}", "clips for 16 frames", "CPU time", *(TITLES[name] for name in known)]
        rows = []
        for one in SETTINGS:
            ratio = f"{measured['cost'][one.name]['ratio']:.2f}" if "cost" in measured else ""
            found = [measured[name].get(one.name) for name in known]
            told_of = [told(of_it[detector], absolute=one is ALL) if of_it else "not measured" for of_it in found]
            rows.append([one.name, f"{one.calls:.2f}", ratio, *told_of])
        yield from [markdown_table(header, rows).rstrip("\n"), ""]
    if "test" in measured:
        setting, found = measured["test"]["setting"], measured["test"]["numbers"]
        header = ["surveillance, the test half", "all frames", *(f"{setting}, {one}" for one in (OWN, OTHER))]
        row = [told(found[ALL.name][OWN], absolute=True), *(told(found[setting][one]) for one in (OWN, OTHER))]
        yield markdown_table(header, [["frame AUC", *row]]).rstrip("\n")


def told(one: dict[str, Any], *, absolute: bool = False) -> str:
    """An AUC, or how much more it is than with all frames, with its interval."""
    form = ".3f" if absolute else "+.3f"
    value, ends = (one["auc"], one["interval"]) if absolute else (one["more"], one["more_interval"])
    return f"{value:{form}} [{ends[0]:{form}}, {ends[1]:{form}}]"


def draw(path: Path, measured: dict[str, Any]) -> None:
    """AUC against cost: what is lost, by the detector that a setting taught and by that of all frames."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES.items(), strict=True):
        for kind, colour, place in (
            ("fps", "#1d3557", (4, 6)),
            ("clip_stride", "#d1495b", (4, -13)),
            ("dtype", "#2a9d8f", (-22, 6)),
        ):
            some = [one for one in SETTINGS if one.name in measured[name] and (one is ALL or kind in one.name)]
            costs = [measured["cost"][one.name]["ratio"] for one in some]
            for detector, style in ((OWN, "-"), (OTHER, "--")):
                more = [measured[name][one.name][detector]["more"] for one in some]
                axes.plot(costs, more, style, marker="o", color=colour, label=f"{kind}, the detector that {detector}")
            for one, x, y in zip(some[1:], costs[1:], more[1:], strict=True):
                axes.annotate(one.name.split()[1], (x, y), place, textcoords="offset points", fontsize=8)
        axes.axhline(-TARGET_LOSS, color="#8d99ae", linestyle=":", linewidth=1)
        axes.axvline(TARGET_COST, color="#8d99ae", linestyle=":", linewidth=1)
        axes.set(title=title, xlabel="CPU time, 1: all frames", xlim=(0.25, 1.05))
    figure.axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.axes[0].set_ylabel("frame AUC, more than with all frames")
    figure.savefig(path, dpi=80)
