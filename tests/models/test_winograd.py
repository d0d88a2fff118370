"""Winograd's convolutions and the fast form of Inception-I3D against torch's own layers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

from lad.models.cpu.inception import fast_form, max_pool_same
from lad.models.cpu.winograd import Convolution3x3x3, Convolution7x7x7, winograd_matrices
from lad.models.i3d import MaxPoolSame, i3d_r50_features, pad_same


@pytest.fixture(autouse=True)
def same_numbers_every_time() -> None:
    torch.manual_seed(0)


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def clip_of(frames: int, height: int, width: int, channels: int) -> torch.Tensor:
    return torch.randn(frames, height, width, channels)


def plain(clip: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int) -> torch.Tensor:
    kernel = weight.shape[2:]
    padded = pad_same(clip.permute(3, 0, 1, 2)[None], tuple(kernel), (stride,) * 3).double()  # type: ignore[arg-type]
    return F.conv3d(padded, weight.double(), bias.double(), stride).relu()[0].permute(1, 2, 3, 0).float()


@pytest.mark.parametrize(("tile", "taps"), [(2, 3), (4, 3), (4, 4)])
def test_a_tile_is_what_a_convolution_makes_of_it(tile: int, taps: int) -> None:
    of_pixels, of_weights, of_products = winograd_matrices(tile, taps)
    pixels, weights = torch.randn(tile + taps - 1, dtype=torch.float64), torch.randn(taps, dtype=torch.float64)
    found = of_products @ ((of_pixels @ pixels) * (of_weights @ weights))
    torch.testing.assert_close(found, F.conv1d(pixels[None], weights[None, None])[0])


@pytest.mark.parametrize("size", [(8, 56, 56), (8, 28, 28), (4, 14, 14), (2, 7, 7), (1, 1, 1), (5, 9, 31), (3, 4, 2),
                                  (9, 6, 5), (16, 5, 6), (19, 4, 7)])  # fmt: skip
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("span", [2, 4])
def test_the_3x3x3_convolution_is_that_of_torch(size: tuple[int, int, int], tile: int, span: int) -> None:
    clip, weight, bias = clip_of(*size, 6), torch.randn(10, 6, 3, 3, 3) / 10, torch.randn(10)
    channels_beside = torch.full((*size, 14), -1.0)
    Convolution3x3x3(weight, bias, tile, span)(clip, channels_beside[..., 2:12])
    assert_close(channels_beside[..., 2:12], plain(clip, weight, bias, 1))
    assert (channels_beside[..., :2] == -1).all() and (channels_beside[..., 12:] == -1).all()


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize(
    "size", [(16, 32, 32), (16, 23, 41), (5, 6, 7), (2, 1, 3), (1, 36, 54), (17, 6, 5), (48, 7, 4)]
)
def test_the_7x7x7_convolution_is_that_of_torch(size: tuple[int, int, int], channels: int) -> None:
    clip, weight, bias = clip_of(*size, channels), torch.randn(9, channels, 7, 7, 7) / 30, torch.randn(9)
    expected = plain(clip, weight, bias, 2)
    found = torch.empty_like(expected)
    Convolution7x7x7(weight, bias)(clip, found)
    assert_close(found, expected)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 2)])
@pytest.mark.parametrize("size", [(8, 14, 14), (5, 7, 9), (2, 1, 3), (1, 2, 1)])
def test_pooling_is_that_of_the_plain_network(size: tuple[int, int, int], kernel: int, stride: int) -> None:
    clip = clip_of(*size, 4).relu()
    for kernels, strides in (((kernel,) * 3, (stride,) * 3), ((1, kernel, kernel), (1, stride, stride))):
        expected = MaxPoolSame(kernels, strides)(clip.permute(3, 0, 1, 2)[None])[0].permute(1, 2, 3, 0)
        assert torch.equal(max_pool_same(clip, kernels, strides), expected)


@pytest.fixture
def one_thread_an_operation() -> Iterator[None]:
    """How many threads an operation has moves the last digits, and a new thread begins with one for every core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread_an_operation")
def test_neither_other_threads_nor_other_sizes_change_a_result() -> None:
    convolutions = [Convolution3x3x3(torch.randn(10, 6, 3, 3, 3), torch.randn(10)) for _ in range(2)]
    clips = [clip_of(4, 9, 9, 6), clip_of(8, 20, 31, 6), clip_of(1, 3, 3, 6), clip_of(8, 20, 31, 6)]

    def result(clip: torch.Tensor, number: int) -> torch.Tensor:
        out = torch.empty(*clip.shape[:3], 10)
        convolutions[number](clip, out)
        return out

    works = [(clip, number) for clip in clips for number in range(2)]
    with torch.inference_mode():
        expected = [result(*work) for work in works]
    with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        for _ in range(5):
            found = list(threads.map(lambda work: result(*work), works[::-1]))[::-1]
            differences = [float((one - other).abs().max()) for one, other in zip(found, expected, strict=True)]
            assert differences == [0] * len(works)


def test_other_networks_stay_as_they_are() -> None:
    network = i3d_r50_features(3)
    assert fast_form(network) is network
