"""Any file of scores or pickle of somebody else is plain numbers, or refused; nothing in it runs."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.fuzzing import ODD, PLACE, any_mutation, examples, mutations, soon
from helpers.pickles import Calls
from hypothesis import given
from hypothesis import strategies as st

from lad.evaluation.given_scores import read_given
from lad.pickles import PickleRefused, PlainUnpickler


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.arange(3.0))
    return out.getvalue()


SCORE_FILES = [
    (".npy", npy(np.linspace(0, 1, 7))),
    (".npy", npy(np.ones((1, 5, 1), np.float32))),
    (".npy", npy(np.array([1e39, 2.0]))),
    (".npy", npz()),
    (".csv", b"frame,score\n0,0.5\n1,0.25\n"),
    (".csv", b"0.5\n0.25\n1e300\n"),
    (".csv", b'score,"a"\n0.5,x\n'),
]


@st.composite
def npy_headers(draw: st.DrawFn) -> tuple[str, bytes]:
    """A `.npy` whose header says something else."""
    descr = draw(st.sampled_from(["'<f8'", "'|O'", "'<U0'", "'<V0'", "[('a', '<f8')]", "'>f2'", "3", "'x'", "'M8[s]'"]))
    shapes = [
        "(3,)",
        "(10**12,)",
        "(1000000000000,)",
        "(-1,)",
        "(99999999999999999999,)",
        "(0, 4611686018427387904)",
        "3",
    ]
    shape = draw(st.sampled_from([*shapes, "(True,)", "(3.0,)", "((((3,))))", "(" * 90 + "3", "(3L,)", "\n 3"]) | ODD)
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode("latin-1", "replace")
    length = draw(st.just(len(header)) | st.integers(0, 200))
    return ".npy", b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + header + np.arange(3.0).tobytes()


@examples(150)
@given(
    given_file=st.sampled_from(SCORE_FILES).flatmap(lambda pair: st.tuples(st.just(pair[0]), any_mutation(pair[1])))
    | st.tuples(st.sampled_from([".csv", ".npy"]), st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
    | npy_headers()
)
def test_any_file_of_scores_is_finite_numbers_or_a_value_error(given_file: tuple[str, bytes], tmp_path: Path) -> None:
    suffix, content = given_file
    path = tmp_path / f"scores{suffix}"
    path.write_bytes(content)
    with soon():
        try:
            scores = read_given(path)
        except (OSError, ValueError):
            return
    assert scores.ndim == 1 and len(scores) and scores.dtype == np.float64
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("far.npy", npy(np.array([0.5, 1e39]))),
        ("far.csv", b"score\n0.5\n1e39\n"),
        ("long.csv", b"x" * 200_000),
        ("huge.npy", npy(np.arange(3.0)).replace(b"(3,), }" + b" " * 20, b"(9000000000000000000,), }  ")),
        ("deep.npy", b"\x93NUMPY\x01\x00" + (5000).to_bytes(2, "little") + b"(" * 5000),
        ("no-bytes.npy", npy(np.arange(3.0)).replace(b"<f8", b"<U0").replace(b"(3,)", b"(-1,)")),
        ("negative.npy", npy(np.arange(3.0)).replace(b"(3,)", b"(-1,)")),
        ("zip.npy", b"PK\x03\x04" + b"\0" * 30),
    ],
)
def test_scores_that_are_none_are_a_value_error(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with soon(), pytest.raises(ValueError):
        read_given(tmp_path / name)


PLAIN = {"a": np.arange(5)[None], "b": np.int64(3), "c": [1.5, "text", b"x", (None, 2**70)], "d": np.array(["x", "yz"])}


@examples(150)
@given(data=st.data())
def test_any_pickle_is_plain_or_refused_and_never_run(data: st.DataObject, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    protocol = data.draw(st.integers(0, 5))
    plain, armed = (pickle.dumps(value, protocol) for value in (PLAIN, [Calls(os.mkdir, str(canary)), PLAIN]))
    content = data.draw(mutations(plain) | mutations(armed) | st.binary(max_size=60))
    if data.draw(st.booleans()):
        other = data.draw(mutations(armed))
        cut = int(data.draw(PLACE) * len(content))
        content = content[:cut] + other[int(data.draw(PLACE) * len(other)) :]
    with soon():
        try:
            value = PlainUnpickler(io.BytesIO(content)).load()
        except PickleRefused as error:
            assert str(error)
        else:
            check_plain(value)
    assert not canary.exists()


def check_plain(value: object, depth: int = 0) -> None:
    assert depth < 60
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            check_plain(item, depth + 1)
    elif isinstance(value, np.ndarray | np.generic):
        assert value.dtype.kind in "biufcSU"
    else:
        assert type(value) in (type(None), bool, int, float, str, bytes)
