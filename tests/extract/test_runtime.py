"""How feature networks run: in which precision, how much at a time, and that it moves no features."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lad.extract import extraction
from lad.extract.cuda_graphs import GRAPHS, Graphs, Network
from lad.extract.extraction import Computed, compute
from lad.extract.extractor import FeatureExtractor, Scaled
from lad.extract.jobs import Clips, Failed, Finished, Message, Started
from lad.extract.runtime import batches_at_once, choose_dtype, torch_function
from lad.extract.video import VideoInfo
from lad.models import weights
from lad.models.registry import BACKBONES

pytestmark = pytest.mark.slow


def clips_of(stream: str, count: int, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    rng = np.random.default_rng(0)
    if stream == "rgb":
        return rng.integers(0, 256, (count, 16, *size, 3), dtype=np.uint8)
    return rng.normal(0, 8, (count, 16, *size, 2)).astype(np.float32)


def extractor(backbone: str, stream: str, **options: object) -> FeatureExtractor:
    network = weights.load("random", backbone=backbone, stream=stream)
    return FeatureExtractor({stream: network}, backbone=backbone, **options)  # type: ignore[arg-type]


def test_a_gpu_computes_in_half_precision_unless_pixels_are_raw() -> None:
    assert choose_dtype("auto", "cuda:0", "kinetics") == "float16"
    assert choose_dtype("auto", "cuda", "wan2021") == "float32"
    assert choose_dtype("auto", "cpu", "kinetics") == "float32"
    assert choose_dtype("bfloat16", "cpu", "kinetics") == "bfloat16"


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_inception_i3d_has_its_plain_features_in_frames_of_any_shape(stream: str) -> None:
    """The shape that networks are fed, small ones that are no square, and odd ones."""
    found = extractor("i3d", stream, threads=2)
    plain = weights.load("random", backbone="i3d", stream=stream).eval()
    scale = Scaled(plain, BACKBONES["i3d"], "kinetics", stream, "float32")
    for size in ((224, 224), (64, 90), (71, 45)):
        clips = clips_of(stream, 1, size)
        with torch.inference_mode():
            expected = scale(torch.from_numpy(clips)).numpy()
        np.testing.assert_allclose(found(stream, clips), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_clips_that_are_seen_as_one_have_their_own_part_of_what_the_network_makes_of_them() -> None:
    found = extractor("i3d", "rgb", context="batch", threads=2)
    plain = weights.load("random", backbone="i3d", stream="rgb").eval()
    clips = clips_of("rgb", 3, (64, 48))
    with torch.inference_mode():
        maps = torch.from_numpy(clips).reshape(1, 48, 64, 48, 3).permute(0, 4, 1, 2, 3) / 127.5 - 1
        for block in list(plain.net.blocks)[:-1]:
            maps = block(maps)
    expected = maps[0].unflatten(1, (3, 2)).mean(dim=(2, 3, 4)).T.numpy()  # two frames are left of sixteen
    np.testing.assert_allclose(found("rgb", clips), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("backbone", "dim"), [("i3d", 1024), ("i3d_r50", 2048), ("tiny", 128)])
def test_only_what_is_seen_as_one_tells_of_its_neighbours(backbone: str, dim: int) -> None:
    clips = clips_of("rgb", 2, (224, 224) if backbone == "i3d_r50" else (64, 64))
    by_clip, as_one = (extractor(backbone, "rgb", context=context, threads=2) for context in ("clip", "batch"))
    alone, together = by_clip("rgb", clips), as_one("rgb", clips)
    assert alone.shape == together.shape == (2, dim) and together.dtype == np.float32
    assert np.array_equal(as_one("rgb", clips[:1]), by_clip("rgb", clips[:1])), "of one clip there is no more to see"
    moved = np.linalg.norm(together - alone, axis=1) / np.linalg.norm(alone, axis=1)
    # The tiny network looks at nothing beyond a clip's own frames.
    assert (moved < 1e-5).all() if backbone == "tiny" else (moved > 1e-3).all()
    assert np.array_equal(as_one("rgb", clips), together)


@pytest.mark.parametrize("backbone", ["i3d", "tiny"])
def test_a_clip_has_the_same_features_in_any_batch_and_at_any_time(backbone: str) -> None:
    clips, found = clips_of("rgb", 5, (64, 64)), extractor(backbone, "rgb", threads=2)
    alone = np.concatenate([found("rgb", clip[None]) for clip in clips])
    for _ in range(3):
        assert np.array_equal(found("rgb", clips), alone)
    assert np.array_equal(found("rgb", clips[1:4]), alone[1:4])


@pytest.mark.parametrize("context", ["clip", "batch"])
@pytest.mark.parametrize("backbone", ["i3d", "tiny"])
def test_features_do_not_depend_on_the_number_of_threads(backbone: str, context: str) -> None:
    clips, made = clips_of("rgb", 4, (64, 90)), extractor(backbone, "rgb", context=context)
    pieces = made._pieces(clips)
    expected = made("rgb", clips)
    for threads in (2, 3, 4, 8):
        found = torch_function(made.networks["rgb"], "cpu", "float32", threads)(pieces)
        assert np.array_equal(found, expected), f"{threads} threads"


@pytest.mark.parametrize(
    ("device", "threads", "pieces", "batches"),
    [("cpu", 1, 4, 2), ("cpu", 2, 4, 2), ("cpu", 2, 1, 2), ("cpu", 16, 4, 5), ("cpu", 16, 1, 16), ("cuda:1", 16, 4, 2)],
)
def test_so_many_batches_are_computed_at_once_that_every_thread_has_work(
    device: str, threads: int, pieces: int, batches: int
) -> None:
    assert batches_at_once(device, threads, pieces) == batches


def test_the_fast_network_leaves_the_threads_of_torch_as_they_were() -> None:
    before = torch.get_num_threads()
    extractor("tiny", "rgb", threads=3)("rgb", clips_of("rgb", 2))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("backbone", ["i3d", "tiny"])
def test_several_threads_may_ask_for_features_at_once(backbone: str) -> None:
    clips, found = clips_of("rgb", 6, (64, 64)), extractor(backbone, "rgb", threads=2)
    expected = found("rgb", clips)
    batches = [clips[first : first + 2] for first in (0, 2, 4)] * 3
    with ThreadPoolExecutor(3) as callers:
        together = list(callers.map(lambda batch: found("rgb", batch), batches))
    assert np.array_equal(np.concatenate(together), np.concatenate([expected] * 3))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_that_is_freed_is_kept_for_what_is_needed_next() -> None:
    script = """
import resource, sys, threading
from lad.memory import keep_freed
if sys.argv[1] == "kept": keep_freed()
def pages():
    for _ in range(3): b"x" * (1 << 26)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10): b"x" * (1 << 26)  # 16384 pages
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
pages()
thread = threading.Thread(target=pages); thread.start(); thread.join()
"""
    kept, given_back = (
        [int(line) for line in subprocess.check_output([sys.executable, "-c", script, how], text=True).split()]
        for how in ("kept", "given back")
    )
    assert max(kept) < 1000 and min(given_back) > 10 * 1000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_that_was_kept_can_be_given_back() -> None:
    script = """
from lad.memory import give_back_freed, keep_freed
keep_freed()
def pages(): return int(open("/proc/self/statm").read().split()[1])
large, after = b"x" * (1 << 26), b"y" * (1 << 20)  # what comes after it keeps it from the end of the heap
del large
kept = pages()
give_back_freed()
print(kept - pages())
"""
    assert int(subprocess.check_output([sys.executable, "-c", script], text=True)) > 16384 * 0.9


def test_half_precision_moves_features_by_less_than_a_hundredth() -> None:
    """Of the network that a GPU runs in it; here on the CPU."""
    clips = clips_of("rgb", 1, (64, 64))
    expected = extractor("i3d", "rgb")("rgb", clips)
    half = extractor("i3d", "rgb", dtype="float16")("rgb", clips)
    assert half.dtype == np.float32
    assert 0 < np.linalg.norm(half - expected) < 0.01 * np.linalg.norm(expected)


def test_shapes_that_come_again_are_captured_and_few_are_kept() -> None:
    """What a GPU does with batches of all shapes; a capture itself needs one."""
    captured: list[int] = []

    def capture(network: Network, pixels: torch.Tensor, pool: object) -> Network:
        captured.append(len(pixels))
        return lambda pixels: network(pixels) + 1000

    graphs = Graphs(lambda pixels: pixels * 2, "pool", capture)

    def replayed(clips: int) -> bool:
        return bool(graphs(torch.ones(clips))[0] == 1002)

    assert [replayed(4) for _ in range(3)] == [False, True, True] and captured == [4]
    for clips in range(5, 5 + GRAPHS - 1):
        assert [replayed(clips) for _ in range(2)] == [False, True]
    assert replayed(4), "it is kept while there is room"
    assert [replayed(100) for _ in range(2)] == [False, True], "one more than are kept"
    captured.clear()
    assert replayed(4) and captured == [], "the one that was used before it is kept"
    assert replayed(5) and captured == [5], "the one that nobody used for longest is not"


def test_a_network_that_cannot_be_captured_runs_without() -> None:
    tries: list[int] = []

    def capture(network: Network, pixels: torch.Tensor, pool: object) -> Network:
        tries.append(len(pixels))
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = Graphs(lambda pixels: pixels * 2, "pool", capture)
    assert graphs(torch.ones(4)).tolist() == [2] * 4
    with pytest.warns(UserWarning, match="it runs without: operation not permitted"):
        assert graphs(torch.ones(4)).tolist() == [2] * 4
    assert [graphs(torch.ones(clips)).tolist() for clips in (4, 4, 2, 2)] == [[2] * n for n in (4, 4, 2, 2)]
    assert tries == [4]


@pytest.mark.gpu
def test_a_graph_gives_the_same_features_as_kernel_by_kernel() -> None:
    found = extractor("i3d", "rgb", device="cuda", dtype="float16")
    clips = clips_of("rgb", 4)
    first, *again = [found("rgb", clips) for _ in range(3)]  # the second captures, the third replays
    assert all(np.array_equal(features, first) for features in again)
    other = clips[::-1].copy()
    # A graph sees what it is given, not what it was made with.
    np.testing.assert_allclose(found("rgb", other), first[::-1], rtol=0, atol=1e-2 * np.abs(first).max())


@pytest.mark.gpu
def test_a_gpu_gives_the_features_of_a_cpu_from_several_threads() -> None:
    clips = clips_of("rgb", 4)
    expected = extractor("i3d", "rgb")("rgb", clips)
    on_gpu = extractor("i3d", "rgb", device="cuda", dtype="float16")
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(on_gpu("rgb", clips))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, found[0]) for one in found)
    assert np.linalg.norm(found[0] - expected) < 0.01 * np.linalg.norm(expected)


# The driver: batches are computed beside the decoding


def messages(batches: int) -> Iterator[Message]:
    for item in ("a", "b"):
        yield Started(item, "auto", 0)
        for number in range(batches):
            yield Clips(item, {"rgb": np.full((1, 2), number)})
        yield Finished(item, VideoInfo()) if item == "a" else Failed(item, "content", "broken")


@pytest.mark.parametrize("at_once", [1, 2])
def test_what_decoders_send_keeps_its_order_however_long_the_network_takes(at_once: int) -> None:
    def slow(stream: str, clips: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(0.02 if clips[0, 0] % 2 == 0 else 0)
        return {stream: clips}

    found = list(compute(messages(6), slow, at_once))
    kinds = [Started, *[Computed] * 6, Finished, Started, *[Computed] * 6, Failed]
    assert [type(message) for message in found] == kinds
    assert [m.batch["rgb"][0, 0] for m in found if isinstance(m, Computed)] == [*range(6), *range(6)]


def test_the_next_batch_is_decoded_while_one_is_computed() -> None:
    decoded = threading.Event()

    def waits(stream: str, clips: np.ndarray) -> dict[str, np.ndarray]:
        assert clips[0, 0] or decoded.wait(10), "the network has nothing beside it"
        return {stream: clips}

    def decoding() -> Iterator[Message]:
        yield Clips("a", {"rgb": np.full((1, 2), 0)})
        decoded.set()
        yield Clips("a", {"rgb": np.full((1, 2), 1)})

    assert len(list(compute(decoding(), waits, 1))) == 2


def test_few_batches_wait_for_the_network() -> None:
    """Else a slow network would gather a whole video in memory."""
    sent = 0

    def decoding() -> Iterator[Message]:
        nonlocal sent
        for message in messages(20):
            sent += 1
            yield message

    def slow(stream: str, clips: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(0.005)
        return {stream: clips}

    for received, _ in enumerate(compute(decoding(), slow, 2), 1):
        assert sent - received <= 3


def test_kept_memory_is_given_back_where_larger_batches_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at every change of size: it costs as many new pages."""
    given_back: list[int] = []
    monkeypatch.setattr(extraction, "give_back_freed", lambda: given_back.append(1))
    sizes = (4, 4, 2, 4, 8, 6, 8)
    batches = (Clips("a", {"rgb": np.zeros((1, size), np.uint8)}) for size in sizes)
    assert len(list(compute(batches, lambda stream, clips: {stream: clips}, 1))) == len(sizes)
    assert len(given_back) == 2
