"""Small files that claim to be huge: checkpoints, weights, arrays. They take no memory and give one line."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pickles import Calls
from helpers.places import TESTS

from lad.dataset import DatasetError
from lad.datasets.common import Options
from lad.datasets.shanghaitech import read_shanghaitech
from lad.detector.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from lad.evaluation.given_scores import read_given
from lad.models.aed import AED
from lad.models.convert import WeightsError, read_torch
from lad.pickles import PickleRefused, load_torch

MEMORY = 200  # MB that reading all of the bombs may take; each would take more than a thousand
READ_ALL = """
import json, sys
from pathlib import Path
from lad.models.convert import WeightsError, read_torch
from lad.pickles import load_torch
from lad.detector.checkpoint import CheckpointError, load_checkpoint
from lad.evaluation.given_scores import read_given
import torch
sys.path.insert(0, sys.argv[2])
from helpers.memory import peak_memory
folder = Path(sys.argv[1])
for _ in range(2):
    load_checkpoint(folder / "honest.pt")
before, said = peak_memory(), {}
for path in sorted(folder.iterdir()):
    try:
        (read_given if path.suffix == ".npy" else load_checkpoint)(path)
        said[path.name] = ""
    except (CheckpointError, ValueError) as error:
        said[path.name] = str(error)
print(json.dumps({"memory": peak_memory() - before, "said": said}))
"""


def archive(path: Path, content: bytes, *, packed: bool = False) -> Path:
    """A checkpoint as torch writes it, of a pickle that torch did not write."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/version", "3\n")
        file.writestr("archive/byteorder", "little")
    return path


def detector() -> AED:
    return AED(feature_dim=16, classes=2, window=2, hidden=4)


def npy(path: Path, shape: str, descr: str = "<f8") -> Path:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    return path


BOMBS = {  # file -> what is said
    "bytearray.pt": "asks for '__builtin__ bytearray'",
    "legacy.pt": "asks for '__builtin__ bytearray'",
    "tensor.pt": "Tensor'; only tensors and plain data",
    "zip.pt": "it unpacks to more than it is long",
    "many.pt": "it unpacks to more than it is long",
    "expanded.pt": "a tensor of more numbers than it holds",
    "classes.pt": "it cannot be used: not a detector's parameters",
    "hidden.pt": "it cannot be used: not a detector's parameters",
    "vast.npy": "not a plain .npy array",
    "large.npy": "not a plain .npy array",
    "text.npy": "not a plain .npy array",
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What reading the bombs came to, in a process of its own; and how much memory it took, in MB."""
    folder = tmp_path_factory.mktemp("bombs")
    state = detector().state_dict()
    save_checkpoint(folder / "honest.pt", Checkpoint(state))
    zeros = {"model": Calls(bytearray, 2 * 10**9)}
    archive(folder / "bytearray.pt", pickle.dumps(zeros, 2))
    legacy = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, zeros, []]
    (folder / "legacy.pt").write_bytes(b"".join(pickle.dumps(part, 2) for part in legacy))
    archive(folder / "tensor.pt", pickle.dumps({"model": Calls(torch.Tensor, 30_000, 30_000)}, 2))
    archive(folder / "zip.pt", pickle.dumps({"model": "x" * 10**8}, 2), packed=True)
    with zipfile.ZipFile(folder / "many.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickle.dumps({}, 2))
        for number in range(100):
            file.writestr(f"archive/data/{number}", bytes(10**6))
    gates = torch.zeros(1).expand(40_000, 20_000)
    torch.save({**state, "convlstm1.Gates.weight": gates}, folder / "expanded.pt")
    torch.save({**state, "cls_head.fc_2.weight": torch.zeros(10**6, 0)}, folder / "classes.pt")
    torch.save({**state, "convlstm1.Gates.weight": torch.zeros(40_000, 10_001, 0, 0)}, folder / "hidden.pt")
    npy(folder / "vast.npy", "(1000000000000,)")
    npy(folder / "large.npy", "(200000000,)")
    npy(folder / "text.npy", "(100,)", "<U99999999")
    result = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(folder), str(TESTS)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_claims_to_be_huge_is_refused(name: str, bombs: dict[str, dict[str, str]]) -> None:
    assert BOMBS[name] in bombs["said"][name]
    assert "\n" not in bombs["said"][name]
    assert name in bombs["said"][name]


def test_what_is_refused_takes_no_memory(bombs: dict[str, int]) -> None:
    assert bombs["memory"] < MEMORY


def test_an_honest_checkpoint_is_read(bombs: dict[str, dict[str, str]]) -> None:
    assert bombs["said"]["honest.pt"] == ""


@pytest.mark.parametrize("zipped", [True, False])
def test_all_that_torch_writes_of_tensors_and_plain_data_is_read(zipped: bool, tmp_path: Path) -> None:
    network = detector()
    optimizer = torch.optim.Adam(network.parameters())
    sum(parameter.sum() for parameter in network.parameters()).backward()
    optimizer.step()
    data = {
        "model": network.state_dict(),
        "parameter": network.fc_down.weight,
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "numbers": [torch.zeros(2, dtype=dtype) for dtype in (torch.bool, torch.int8, torch.bfloat16, torch.float16)],
        "plain": {"a": [1, 2.5, None, True, "x" * 1000, ("y", -(2**40))], 3: {}},
        "view": torch.arange(10)[2:8:2],
        "empty": torch.zeros(0, 5),
        "dtype": torch.float32,
    }
    torch.save(data, tmp_path / "all.pt", _use_new_zipfile_serialization=zipped)
    read = load_torch(tmp_path / "all.pt")
    assert read.keys() == data.keys()
    assert torch.equal(read["view"], data["view"])
    assert read["plain"] == data["plain"]
    assert all(torch.equal(one, network.state_dict()[key]) for key, one in read["model"].items())


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"PK\3\4" + bytes(100), b"\x80\2.", b"\x80\2}q\0.", b"x" * 1000])
def test_what_is_no_pytorch_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    path.write_bytes(content)
    with pytest.raises(PickleRefused):
        load_torch(path)
    with pytest.raises(CheckpointError, match="not a checkpoint that can be read safely") as caught:
        load_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(WeightsError, match="no PyTorch file of plain tensors"):
        read_torch(path)


def test_a_checkpoint_cut_anywhere_is_one_line(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "whole.pt", Checkpoint(detector().state_dict()))
    whole = (tmp_path / "whole.pt").read_bytes()
    for share in range(0, 100, 7):
        (tmp_path / "cut.pt").write_bytes(whole[: len(whole) * share // 100])
        with pytest.raises(CheckpointError, match=r"cut\.pt: not a checkpoint"):
            load_checkpoint(tmp_path / "cut.pt")


def test_a_damaged_number_in_a_checkpoint_is_no_other_detector(tmp_path: Path) -> None:
    """torch reads it as if nothing were wrong, and every score would be."""
    model = detector().state_dict()
    save_checkpoint(tmp_path / "whole.pt", Checkpoint(model))
    content = bytearray((tmp_path / "whole.pt").read_bytes())
    content[content.index(model["fc_down.weight"].numpy().tobytes()[:64])] ^= 1
    (tmp_path / "flipped.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="it is damaged: the checksum of"):
        load_checkpoint(tmp_path / "flipped.pt")
    model["fc_down.weight"][0, 0] = torch.nan
    save_checkpoint(tmp_path / "nan.pt", Checkpoint(model))
    torch.save(model, tmp_path / "bare.pt")
    for name in ("nan.pt", "bare.pt"):
        with pytest.raises(
            CheckpointError, match=r"it cannot be used: fc_down\.weight holds numbers that are not finite"
        ):
            load_checkpoint(tmp_path / name)


def test_a_checkpoint_with_a_configuration_that_is_none_is_one_line(tmp_path: Path) -> None:
    from lad.detector.checkpoint import scoring_config

    for config in ({"extract": {}}, {"extract": 1, "train": {}, "threads": 1, "score": {}}, "x", 5):
        save_checkpoint(tmp_path / "odd.pt", Checkpoint(detector().state_dict(), config=config))  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match="does not say how it was made"):
            scoring_config(tmp_path / "odd.pt", [])


def test_scores_and_masks_of_every_shape_are_read(tmp_path: Path) -> None:
    for number, scores in enumerate((np.linspace(0, 1, 7), np.ones((1, 5, 1), np.float32), np.array(0.5))):
        np.save(tmp_path / f"{number}.npy", scores)
        assert np.allclose(read_given(tmp_path / f"{number}.npy"), np.atleast_1d(scores.squeeze()))
    out = io.BytesIO()
    np.savez(out, a=np.zeros(10))
    (tmp_path / "z.npy").write_bytes(out.getvalue())
    with pytest.raises(ValueError, match="not a plain"):
        read_given(tmp_path / "z.npy")


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(200000000,)", "(2305843009213693952, 8)", "(-1,)"])
def test_a_mask_that_claims_to_be_huge_is_refused(shape: str, tmp_path: Path) -> None:
    (tmp_path / "testing" / "frames" / "01_0014").mkdir(parents=True)
    (tmp_path / "testing" / "frames" / "01_0014" / "1.jpg").touch()
    (tmp_path / "testing" / "test_frame_mask").mkdir()
    npy(tmp_path / "testing" / "test_frame_mask" / "01_0014.npy", shape)
    with pytest.raises(DatasetError, match=r"not a frame mask: .*01_0014\.npy: not a plain \.npy array"):
        read_shanghaitech(tmp_path, Options())
