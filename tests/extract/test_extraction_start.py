"""How an extraction begins: what takes a while goes side by side, and what cannot begin leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.decoders import decoders
from helpers.videos import write_video

from lad.extract.clips import ClipSpec
from lad.extract.extraction import Computed, Started, extract_videos
from lad.extract.jobs import Finished, Job
from lad.models.weights import WeightsError

HOW = {"batch_clips": 2, "workers": 1, "stall_seconds": 60.0}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    write_video(tmp_path / "street.mp4", 20)
    return Job("street", tmp_path / "street.mp4", ClipSpec(("rgb",)))


def test_a_decoder_is_at_work_while_the_networks_are_loaded(job: Job) -> None:
    at_work = []

    def ready() -> SimpleNamespace:
        at_work.append(len(decoders()))
        return SimpleNamespace(
            by_layer=lambda stream, clips: {stream: np.zeros((len(clips), 4), np.float32)},
            batches_at_once=lambda clips: 1,
        )

    events = [type(event) for event in extract_videos([job], ready, **HOW)]
    assert at_work == [1]
    assert events == [Started, Computed, Finished]


def test_no_decoder_is_left_where_the_networks_cannot_be_had(job: Job) -> None:
    def ready() -> None:
        assert decoders()
        raise WeightsError("damaged")

    with pytest.raises(WeightsError, match="damaged"):
        list(extract_videos([job], ready, **HOW))
    assert not decoders()
