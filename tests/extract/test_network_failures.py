"""A feature network that fails: its video fails with the reason, the others go on, and memory is tried for twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.work import items

import lad
from lad.extract import runtime
from lad.extract.cuda_graphs import Graphs, Network
from lad.extract.extraction import Computed, DeviceBroken, Event, compute
from lad.extract.extractor import FeatureExtractor
from lad.extract.failures import NotFinite
from lad.extract.jobs import Clips, Failed, Finished, Message, Started
from lad.extract.runtime import halving
from lad.extract.video import VideoInfo
from lad.models import weights

Lad = Callable[..., tuple[int, str, str]]

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has a total capacity of")
BAD = 7  # the network fails at clips of this brightness


def messages(*videos: str, batches: int = 4, skip: int = 0) -> Iterator[Message]:
    """Videos of batches of two clips; the third batch of `bad` is bad."""
    for item in videos:
        yield Started(item, "auto", skip)
        for number in range(batches):
            yield Clips(item, {"rgb": np.full((2, 1), BAD if (item, number) == ("bad", 2) else 0.0)})
        yield Finished(item, VideoInfo())


def failing(error: BaseException) -> Callable[[str, np.ndarray], dict[str, np.ndarray]]:
    def network(stream: str, clips: np.ndarray) -> dict[str, np.ndarray]:
        if (clips == BAD).any():
            raise error
        return {stream: clips}

    return network


def events(*videos: str, error: BaseException, at_once: int = 2, skip: int = 0) -> list[Event]:
    return list(compute(messages(*videos, skip=skip), failing(error), at_once))


@pytest.mark.parametrize("at_once", [1, 2, 5])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "the network failed: CUDA out of memory. Tried to allocate 20.00 GiB.; less is needed with a smaller"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        (MemoryError(), "the network failed: MemoryError; less is needed with a smaller extract.batch_clips"),
    ],
)
def test_a_network_that_fails_fails_that_video_alone(at_once: int, error: BaseException, said: str) -> None:
    found = events("first", "bad", "last", error=error, at_once=at_once)
    whole = [Started, *[Computed] * 4, Finished]
    assert [type(event) for event in found] == [*whole, Started, Computed, Computed, Failed, *whole]
    failure = next(event for event in found if isinstance(event, Failed))
    assert failure.item == "bad" and failure.failure == "worker"
    assert said in failure.error and "\n" not in failure.error


def test_a_fault_of_the_program_is_no_fault_of_a_video() -> None:
    with pytest.raises(TypeError, match="a mistake"):
        events("bad", error=TypeError("a mistake"))


def test_a_broken_device_ends_the_run_after_its_video_has_failed() -> None:
    found: list[Event] = []
    broken = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronous")
    with pytest.raises(DeviceBroken, match=r"device-side assert triggered.*run the command again"):
        found.extend(compute(messages("bad", "last"), failing(broken), 1))
    found = []
    with pytest.raises(DeviceBroken):
        for event in compute(messages("bad", "last"), failing(broken), 1):
            found.append(event)
    assert isinstance(found[-1], Failed) and found[-1].item == "bad"


# Out of memory


def test_without_memory_for_a_batch_its_halves_are_computed() -> None:
    asked: list[int] = []

    def run(pieces: np.ndarray) -> np.ndarray:
        asked.append(len(pieces))
        if len(pieces) > 2:
            raise FULL
        return pieces * 2

    pieces = np.arange(4.0)
    assert np.array_equal(halving(run)(pieces), pieces * 2)
    assert asked == [4, 2, 2]
    with pytest.raises(torch.OutOfMemoryError):
        halving(run)(np.arange(8.0))


def test_a_piece_that_cannot_be_halved_and_other_errors_are_not_tried_again() -> None:
    asked: list[int] = []

    def run(pieces: np.ndarray) -> np.ndarray:
        asked.append(len(pieces))
        raise FULL if len(pieces) == 1 else RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM")

    for pieces, error in ((np.zeros(1), torch.OutOfMemoryError), (np.zeros(4), RuntimeError)):
        with pytest.raises(error):
            halving(run)(pieces)
    assert asked == [1, 4]


def test_a_shape_without_memory_for_its_graph_keeps_no_other_from_one() -> None:
    tries: list[int] = []

    def capture(network: Network, pixels: torch.Tensor, pool: object) -> Network:
        assert pool == "the thread's"
        tries.append(len(pixels))
        if len(pixels) > 4:
            raise FULL
        return lambda pixels: network(pixels) + 1000

    graphs = Graphs(lambda pixels: pixels * 2, "the thread's", capture)
    graphs(torch.ones(8))
    with pytest.warns(UserWarning, match="of batches of 8: no memory for it"):
        assert graphs(torch.ones(8)).tolist() == [2] * 8
    assert graphs(torch.ones(8)).tolist() == [2] * 8 and tries == [8]
    graphs(torch.ones(4))
    assert graphs(torch.ones(4)).tolist() == [1002] * 4 and tries == [8, 4]


@pytest.mark.gpu
def test_the_graphs_of_a_thread_share_their_memory() -> None:
    network = weights.load("random", backbone="i3d", stream="rgb")
    found = FeatureExtractor({"rgb": network}, backbone="i3d", device="cuda", dtype="float16")
    clips = np.random.default_rng(0).integers(0, 256, (4, 16, 224, 224, 3), dtype=np.uint8)
    first = [found("rgb", clips[:count]) for count in (4, 4, 3, 3, 2, 2)]
    once = torch.cuda.memory_reserved()
    again = [found("rgb", clips[:count]) for count in (4, 4, 3, 3, 2, 2)]
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True)), "one graph's memory is another's"
    assert torch.cuda.memory_reserved() == once


# Features that are no numbers


class Overflowing(torch.nn.Module):
    """Features that float16 cannot hold where a clip is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.mean(dim=(2, 3, 4)) + 1) * 40_000


def test_features_that_are_not_finite_are_none() -> None:
    clips = np.zeros((3, 16, 8, 8, 3), np.uint8)
    clips[1:] = 255
    half, single = (
        FeatureExtractor({"rgb": Overflowing()}, backbone="tiny", dtype=dtype)
        for dtype in ("float16", "float32")  # type: ignore[arg-type]
    )
    assert np.isfinite(half("rgb", clips[:1])).all() and np.isfinite(single("rgb", clips)).all()
    with pytest.raises(NotFinite) as raised:
        half("rgb", clips)
    assert (raised.value.stream, raised.value.clip, raised.value.dtype) == ("rgb", 1, "float16")


def test_features_that_are_not_finite_fail_the_video_and_say_where_and_what_to_do() -> None:
    found = events("bad", "last", error=NotFinite("rgb", 1, "float16"), skip=10)
    failure = next(event for event in found if isinstance(event, Failed))
    assert failure.failure == "worker"
    # It begins at clip 10, and two batches of two have gone before.
    assert failure.error.startswith("the rgb features of clip 15 are not finite: float16 cannot hold")
    assert failure.error.endswith("set extract.dtype: float32")
    assert isinstance(found[-1], Finished) and found[-1].item == "last"


# The command and the library


@pytest.fixture
def out_of_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The network has no memory for the first clips that it is given."""
    calls: list[int] = []
    make = runtime.torch_function

    def make_failing(*arguments: object) -> Callable[[np.ndarray], np.ndarray]:
        run = make(*arguments)  # type: ignore[arg-type]

        def fails_once(pieces: np.ndarray) -> np.ndarray:
            calls.append(len(pieces))
            if len(calls) == 1:
                raise FULL
            return run(pieces)

        return fails_once

    monkeypatch.setattr("lad.extract.extractor.torch_function", make_failing)
    yield calls


def test_a_video_without_memory_fails_and_the_next_run_does_it(
    lad: Lad, tmp_path: Path, make_video: Callable[..., Path], out_of_memory: list[int]
) -> None:
    videos = [str(make_video(tmp_path / f"{name}.mp4", 20)) for name in "ab"]
    words = ["extract", "--device", "cpu", "--workers", "1", "-o", "extract.backbone=tiny"]
    words += ["--work", str(tmp_path / "work"), *videos]
    status, _, err = lad(*words)
    assert status == 1 and "a.mp4: the network failed: CUDA out of memory" in err
    rows = items(tmp_path / "work", "extract")
    assert sorted((row.status, row.failure) for row in rows.values()) == [("done", None), ("failed", "worker")]
    assert lad(*words)[0] == 0
    assert {row.status for row in items(tmp_path / "work", "extract").values()} == {"done"}


def test_the_library_says_of_such_a_video_that_the_network_failed(
    tmp_path: Path, make_video: Callable[..., Path], out_of_memory: list[int]
) -> None:
    video = make_video(tmp_path / "a.mp4", 20)
    with pytest.raises(lad.VideoError, match=r"a\.mp4: the network failed: CUDA out of memory") as raised:
        lad.extract_features(video, device="cpu", backbone="tiny")
    assert raised.value.kind == "worker"
    assert lad.extract_features(video, device="cpu", backbone="tiny")["rgb"].shape == (2, 128)
