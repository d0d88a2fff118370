"""What an installed `lad` has beside its modules."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from helpers.places import CONFIGS, REPOSITORY

from lad.detector.included import FOLDER
from lad.models.cpu.ranges import FILE as RANGES


def test_a_wheel_has_every_configuration_the_detectors_and_the_free_name(tmp_path: Path) -> None:
    left_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "runs", "shared", "__pycache__")
    source = shutil.copytree(REPOSITORY, tmp_path / "source", symlinks=True, ignore=left_out)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    subprocess.run([*build, "-w", str(tmp_path), str(source)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith("lad_video-")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        (names,) = [archive.read(n).decode() for n in archive.namelist() if n.endswith("entry_points.txt")]
    assert "lad = lad.__main__:main" in names
    installed = tmp_path / "installed" / "lad"
    shipped = {path.name: path.read_text() for path in (installed / "configs").iterdir()}
    assert shipped == {path.name: path.read_text() for path in CONFIGS.iterdir()}
    assert (installed / "demo" / "demo.yaml").read_text() == shipped["demo.yaml"]
    assert len((installed / "models" / "kinetics400.txt").read_text().splitlines()) == 400
    assert (installed / "models" / "cpu" / RANGES.name).read_bytes() == RANGES.read_bytes()
    detectors = {path.name: path.read_bytes() for path in (installed / "detectors").iterdir()}
    assert detectors == {path.name: path.read_bytes() for path in FOLDER.iterdir()} and detectors
    say = "from pathlib import Path; from lad.config import load_config; print(load_config(Path('ped2'), []).name)"
    found = subprocess.run(
        [sys.executable, "-c", say],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed.parent)},
        capture_output=True,
        text=True,
    )
    assert found.stdout == "ped2\n", found.stderr
