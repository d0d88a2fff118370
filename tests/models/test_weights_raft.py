"""What `lad.models.weights` promises of RAFT, which computes flow and is no backbone."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path

import pytest
import torch
from helpers.downloads import Server, left_in

from lad.models import weights
from lad.models.registry import BACKBONES
from lad.models.weights import WEIGHTS, WeightsError, fetch, find, identity, load


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
    assert left_in(cache) == []


def test_a_raft_file_of_another_layout_is_refused(
    raft_state: dict[str, torch.Tensor], cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {key: tensor for key, tensor in raft_state.items() if not key.startswith("mask_predictor")}
    _serve_raft(monkeypatch, server, _raft_file(small))
    with pytest.raises(WeightsError, match=r"4 of \d+ tensors do not fit raft: mask_predictor\..* is missing"):
        fetch("raft-large")
    assert left_in(cache) == []


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
