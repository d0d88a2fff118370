"""The keys `data.*`: which videos."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lad.config_root import Root
from lad.config_section import Place, Section

AUTO_LAYOUT = "auto"


def _layout(text: str) -> str:
    names = [name.strip() for name in text.split(",")]
    known = {"clips", "dim"} <= set(names) <= {"crops", "clips", "dim"} and len(set(names)) == len(names)
    if text != AUTO_LAYOUT and not known:
        raise PydanticCustomError("layout", "name each axis once, as in clips,crops,dim or dim,clips; or auto")
    return ",".join(names)


class DataConfig(Section):
    """Which videos.

    Exactly one of `benchmark` and `dataset` is set, or neither: then every video below `root`, without labels.
    """

    benchmark: str | None = Field(
        None,
        description="name of a benchmark whose official download lies below `root` (`lad prepare --help` lists them)",
    )
    layout: Literal["official", "released"] = Field(
        "official", description="`released`: features and labels as the authors' code keeps them"
    )
    protocol: Literal["official", "paper"] = Field(
        "official",
        description=(
            "what is said of the abnormal training videos of UCF-Crime, ShanghaiTech and XD-Violence. `official`: that "
            "there is an event somewhere (`?`). `paper`: what the LAD2000 paper trains on, which of UCF-Crime is each "
            "frame of such a video, and of ShanghaiTech the true frames"
        ),
    )
    allow_missing: bool = Field(False, description="go on without what the benchmark's download lacks")
    normal: str = Field(
        "*normal*", description="benchmark `folder`: which names of files and folders mean a normal video"
    )
    dataset: Place | None = Field(None, description="a dataset.csv: below `root`, else as given")
    root: Root | None = Field(None, description="`--data`: the videos' folder or URL; the dataset.csv's by default")
    download_dir: Place | None = Field(None, description="where videos at URLs are kept while decoded; or $TMPDIR")
    download_gb: float = Field(20.0, gt=0, le=1e6, description="that they may take there at a time, in GB")
    classes: list[str] | None = Field(
        None, description="the labels in the order of their index; alphabetical by default"
    )
    npy_layout: Annotated[str, AfterValidator(_layout)] = Field(
        AUTO_LAYOUT,
        description=(
            "order of the axes of features that somebody else made: `clips,dim`, `crops,clips,dim`, `clips,crops,dim` "
            "(RTFM's), `dim,clips`, ...; by default `crops,clips,dim`, or `clips,crops,dim` where only that gives 1, "
            "5 or 10 crops"
        ),
    )
    frame_folder_fps: float = Field(
        25.0, ge=1e-6, le=100_000, description="frames a second of a folder of frames that has none of its own"
    )

    def problems(self) -> dict[str, str]:
        found = {}
        if self.benchmark and self.dataset:
            found["data.benchmark"] = "data.dataset is there too: give one of them"
        if self.layout == "released" and self.benchmark in (None, "folder"):
            found["data.layout"] = "released features are those of a data.benchmark of the authors' code"
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            found["data.classes"] = "a class stands twice"
        return found
