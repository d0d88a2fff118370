"""`lad prepare`: a benchmark's download becomes a dataset.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lad.options import PLACE
from lad.text import did_you_mean, printable


@click.command()
@click.argument("name")
@click.option("--root", type=PLACE, required=True, help="Folder of the official download.")
@click.option("--out", type=PLACE, default=Path("dataset.csv"), show_default=True, help="File to write.")
@click.option("--seed", default=0, show_default=True, help="Of a random split.")
@click.option(
    "--layout",
    type=click.Choice(["official", "released"]),
    default="official",
    show_default=True,
    help="released: features and labels as the authors' code keeps them.",
)
@click.option("--streams", default="rgb,flow", show_default=True, help="Of released features.")
@click.option("--normal", default="*normal*", show_default=True, help="folder: names that mean a normal video.")
@click.option(
    "--protocol",
    type=click.Choice(["official", "paper"]),
    default="official",
    show_default=True,
    help="paper: of the abnormal training videos of UCF-Crime, ShanghaiTech and XD-Violence the frames that the "
    "LAD2000 paper trains on, and not just that there is an event (?).",
)
@click.option("--allow-missing", is_flag=True, help="Do without what the download lacks.")
@click.option("--force", is_flag=True, help="Replace the file where it is there with other content.")
def prepare(name: str, root: Path, out: Path, seed: int, streams: str, force: bool, **options: Any) -> None:
    """Turn a benchmark's official download, or another program's labels, into a dataset.csv.

    NAME is lad2000, ucf_crime, shanghaitech, avenue, ped1, ped2, xd_violence, or folder: any tree of videos with one
    folder for each category; or eaf or fiftyone: labels that were made with ELAN or FiftyOne, maybe from what
    `lad export` wrote. What is missing is listed by name. docs/datasets.md says where each comes from and how it must
    lie.

    \b
    Example:
      lad prepare ped2 --root ~/data/UCSD_Anomaly_Dataset.v1p2 --out ped2.csv
    """
    from lad.config import load_config
    from lad.datasets import BENCHMARKS
    from lad.pipeline.prepare import prepare_dataset

    if name not in BENCHMARKS:
        known = sorted(BENCHMARKS)
        meant = did_you_mean(name, known)
        raise click.BadParameter(f"{name!r} is not one of {', '.join(known)}{meant}", param_hint="NAME")
    if not root.is_dir():
        raise click.BadParameter(f"{root} is not a folder", param_hint="--root")
    data = {"benchmark": name, "root": root, **options}
    extract = {"streams": [stream.strip() for stream in streams.split(",")]}
    config = load_config(None, [], base={"data": data, "protocol": {"seed": seed}, "extract": extract})
    try:
        click.echo(prepare_dataset(config, out, lambda text: click.echo(printable(text), err=True), force=force))
    except OSError as error:
        raise click.BadParameter(f"{out} cannot be written: {error.strerror}", param_hint="--out") from error
