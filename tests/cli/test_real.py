"""The main job on real video with the real network, as far as a test's time allows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.usefixtures("real_weights")]


def extract(video, work) -> dict[str, np.ndarray]:
    command = [sys.executable, "-m", "lad", "extract", "-q", "--work", str(work), str(video)]
    subprocess.run([*command, "-o", "extract.streams=[rgb, flow]"], check=True, timeout=300)
    found = (path.relative_to(work / "features") for path in (work / "features").rglob("*.npy"))
    return {path.parts[0]: np.load(work / "features" / path, allow_pickle=False) for path in found}


def test_a_real_clip_gives_the_same_features_twice(shared_data, tmp_path):
    video = shared_data / "surveillance" / "videos" / "Fighting" / "fi015.mp4"
    first, second = extract(video, tmp_path / "1"), extract(video, tmp_path / "2")
    assert first["rgb"].shape == first["flow"].shape == (5, 1024)  # 66 frames
    assert first["times"].shape == (66,) and first["times"][-1] == pytest.approx(65 / 30)
    for name in ("rgb", "flow", "times"):
        assert np.array_equal(first[name], second[name]), name
    # I3D's pooled features are averages of ReLUs: never negative, mostly small, and different from clip to clip.
    assert first["rgb"].min() >= 0 and 0.05 < first["rgb"].mean() < 1
    assert np.abs(first["rgb"][0] - first["rgb"][2]).max() > 0.1
