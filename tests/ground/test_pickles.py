"""Pickles of plain data come back as they were; whatever else a pickle asks for is refused and not run."""

from __future__ import annotations

import collections
import contextlib
import datetime
import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.pickles import Calls

from lad.pickles import PickleRefused, PlainUnpickler, load_plain_pickle

PROTOCOLS = range(6)
ARRAYS = [
    np.arange(7, dtype=np.uint8)[None],
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.asfortranarray(np.arange(12, dtype=">i4").reshape(3, 4)),
    np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    np.arange(10)[::2],
    np.array([True, False]),
    np.array(["a", "käse"]),
    np.array([b"a", b"bcd"]),
    np.zeros((1, 0)),
    np.array(3.5),
    np.array([1 + 2j]),
    np.float16([1.5]),
]
SCALARS = [np.int64(-3), np.uint8(200), np.float32(0.1), np.bool_(True), np.str_("ü"), np.str_(""), np.bytes_(b"\xff")]
PLAIN = [None, True, 0, -1, 2**80, 0.25, "text\n", "\u2603", b"", b"\x00\xff", [], (), {}, [1, (2, {"a": [3]})]]

# What Python 2.7 with numpy 1.16 writes of {'v_a_1': numpy.array([[0, 1, 255]], dtype=numpy.uint8)}: a dict of byte
# strings, the array's data among them. Spelt out opcode by opcode, as there is no Python 2 here.
PYTHON_2_PROTOCOL_2 = (
    b"\x80\x02}q\x00U\x05v_a_1q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04"
    b"U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x01K\x03\x86q\x08cnumpy\ndtype\nq\tU\x02u1q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03"
    b"U\x01|q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x03\x00\x01\xffq\x0ftq\x10bs."
)
PYTHON_2_PROTOCOL_0 = (
    b"(dp0\nS'v_a_1'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\n"
    b"Rp7\n(I1\n(I1\nI3\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'|'\np13\nNNNI-1\nI-1\nI0\n"
    b"tp14\nbI00\nS'\\x00\\x01\\xff'\np15\ntp16\nbs."
)


def load(content: bytes) -> object:
    return PlainUnpickler(io.BytesIO(content)).load()


def refusal(content: bytes) -> str:
    with pytest.raises(PickleRefused) as refused:
        load(content)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def array_pickle(protocol: int = 2, **changes: object) -> bytes:
    """A pickle of a small array with another state: `shape`, `dtype`, `fortran`, `data` or the whole `state`."""
    parts = {"shape": (3,), "dtype": np.dtype("u1"), "fortran": False, "data": b"abc"} | changes
    state = changes.get("state", (1, parts["shape"], parts["dtype"], parts["fortran"], parts["data"]))
    reconstruct = np.empty(0).__reduce__()[0]
    return pickle.dumps(Calls(reconstruct, np.ndarray, (0,), b"b", state=state), protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_back(protocol):
    for array in ARRAYS:
        got = load(pickle.dumps(array, protocol))
        assert type(got) is np.ndarray and got.dtype == array.dtype and got.shape == array.shape
        np.testing.assert_array_equal(got, array)
        assert got.flags.writeable and got.flags.owndata


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_and_plain_data_come_back(protocol):
    for value in SCALARS + PLAIN:
        got = load(pickle.dumps(value, protocol))
        assert type(got) is type(value) and got == value
    keys = {np.str_("a"): 1, np.int64(2): 2, b"c": 3, 4.5: 4, True: 5}
    assert load(pickle.dumps(keys, protocol)) == keys


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_names_of_numpy_1_and_2_are_the_same(protocol):
    for value in (np.arange(3), np.int64(3)):
        content = pickle.dumps(value, protocol)
        if protocol < 4:  # from 4 on a name stands after its length
            new = content.replace(b"numpy.core.", b"numpy._core.")
            old = content.replace(b"numpy._core.", b"numpy.core.")
            assert np.array_equal(load(new), value) and np.array_equal(load(old), value)
        else:
            assert np.array_equal(load(content), value)
    content = b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x06scalar\x93\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02u1\x85R"
    assert load(content + b"C\x01\x07\x86R.") == 7


@pytest.mark.parametrize("content", [PYTHON_2_PROTOCOL_0, PYTHON_2_PROTOCOL_2], ids=["0", "2"])
def test_python_2_is_read(content):
    (expected,) = pickle.loads(content, encoding="latin1").values()  # noqa: S301  (our own)
    (video, labels), *_ = load(content).items()
    assert video == "v_a_1" and labels.dtype == np.uint8
    assert labels.tolist() == expected.tolist() == [[0, 1, 255]]


def test_what_is_there_twice_stays_one_thing():
    array = np.arange(3)
    first, second, shared = load(pickle.dumps([array, array, [[1]] * 3]))
    assert first is second and shared[0] is shared[1]


def test_sharing_does_not_explode():
    value: list = []
    for _ in range(40):
        value = [value, value]  # 2**40 ways lead to the innermost
    assert len(load(pickle.dumps(value))) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "asked_for"),
    [
        (Calls(os.system, "touch ran"), "system"),
        (Calls(eval, "open('ran', 'w')"), "builtins.eval"),
        (Calls(getattr, "text", "upper"), "getattr"),
        (Calls(np.load, "ran"), "load"),
        (Calls(np.fromfile, "ran"), "fromfile"),
        (Calls(np.memmap, "ran", "u1", "w+", 0, (4,)), "memmap"),
        (Calls(bytes, 10**12), ""),
        (Calls(bytearray, 10**12), "bytearray"),
        (np.array([object()]), "dtype 'O8'"),
        (np.zeros(2, dtype=[("a", "i4")]), "dtype 'V4'"),
        (np.zeros(2, dtype="M8[s]"), "dtype 'M8'"),
        (np.ma.zeros(2), "numpy.ma"),
        (np.recarray(2, dtype=[("a", "i4")]), "recarray"),
        (np.dtype("i4"), "holds dtype"),
        (np.ndarray, "numpy.ndarray"),
        ({1, 2}, ""),
        (frozenset([1]), ""),
        (bytearray(b"a"), "bytearray"),
        (1j, "complex"),
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        (datetime.date(2020, 1, 1), "datetime.date"),
        (Path("x"), "pathlib"),
        ({(1, 2): 3}, "tuple as a key"),
    ],
)
def test_anything_else_is_refused_and_not_run(protocol, value, asked_for, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(value, protocol)
    assert asked_for in refusal(content).replace("__builtin__", "builtins")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"(S'touch ran'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch ran'\no.",  # OBJ
        b"(inumpy\nndarray\n.",
        b"(cnumpy\nndarray\nI3\no.",
        b"\x80\x02cnumpy\nndarray\nK\x03\x85\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93K\x03\x85}\x92.",  # NEWOBJ_EX
        b"\x80\x02cnumpy\nndarray\nK\x03\x85R.",  # an ndarray without a shared buffer
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02\x83\x01\x01.",  # EXT2
        b"\x80\x02\x84\x01\x01\x00\x00.",  # EXT4
        b"Psomething\n.",  # PERSID
        b"I1\nQ.",  # BINPERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"\x80\x05C\x01a\x98.",  # READONLY_BUFFER
        b"\x80\x04\x8c\x05numpy\x8c\x0fload.__globals__\x93.",  # a dotted name
        b"\x80\x04\x8c\x0enumpy.core.numeric\x8c\x0b_frombuffer\x93.",
        b"c__builtin__\nbytes\n(I1000000000000\ntR.",
        b"c_codecs\nencode\n(VAAAA\nVrot13\ntR.",
        b"c_codecs\nencode\n(Vabc\nVhex\ntR.",
        b"cnumpy\ndtype\n(S'i4'\ntR.",  # a dtype that is no array's
        b"cnumpy\ndtype\n}S'i4'\nI1\nsb.",  # BUILD on what is shared
        b"]}S'append'\nI1\nsb.",  # BUILD on a list
        b"c\n\n.",
        b"",
        b".",
        b"hello",
        b"\x80\x09N.",
        b"\x00" * 64,
    ],
)
def test_opcodes_that_make_objects_are_refused(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refusal(content)
    assert not list(tmp_path.iterdir())


def test_numpy_is_not_changed_by_what_was_read():
    content = b"cnumpy\ndtype\n(S'i4'\nI0\nI0\ntR(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb."
    refusal(content)
    assert np.dtype("i4").isnative and np.dtype("i4").itemsize == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (10**12,)},
        {"shape": (4,)},
        {"shape": (2,)},
        {"shape": (-3,)},
        {"shape": (-1, -3)},
        {"shape": (3.0,)},
        {"shape": (True, 3)},
        {"shape": 3},
        {"shape": [3]},
        {"shape": (1,) * 1000 + (3,)},
        {"shape": (2**62, 0), "data": b""},
        {"shape": (2**64,) * 60},
        {"dtype": np.dtype("O")},
        {"dtype": np.dtype("U0"), "shape": (10**12,), "data": b""},
        {"dtype": np.dtype([("a", "u1")])},
        {"dtype": np.dtype(("u1", 3)), "shape": (1,)},
        {"dtype": "u1"},
        {"dtype": None},
        {"data": 3},
        {"data": None},
        {"data": ["a"]},
        {"data": "\u2603bc"},
        {"state": ()},
        {"state": (1,)},
        {"state": 5},
        {"state": {"shape": (3,)}},
        {"state": (None, {"shape": (10**9,)})},
        {"state": (1, (3,), np.dtype("u1"), False, b"abc", 1)},
    ],
    ids=lambda changes: str(changes)[:50],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_an_array_in_a_weird_state_is_refused(protocol, changes):
    content = array_pickle(protocol, **changes)
    if changes.get("shape") == (2**62, 0):
        assert np.size(load(content)) == 0  # odd, but an array
    else:
        refusal(content)


def test_an_honest_state_is_not_refused():
    assert load(array_pickle()).tolist() == [97, 98, 99]


def test_a_scalar_of_another_size_is_refused():
    scalar = np.int64(1).__reduce__()[0]
    for data in (b"", b"abc", b"123456789", None, 3):
        refusal(pickle.dumps(Calls(scalar, np.dtype("i8"), data), 4))
    refusal(pickle.dumps(Calls(scalar, np.dtype("U1"), b"\xff\xff\xff\x7f"), 4))  # no character


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_holds_itself_is_refused(protocol):
    ring: list = []
    ring.append(ring)
    loop: dict = {}
    loop["again"] = (loop, [loop])
    for value in (ring, loop, (ring,)):
        assert "deep" in refusal(pickle.dumps(value, protocol))


def test_deep_nesting_does_not_overflow_the_stack():
    deep = 500_000
    assert "deep" in refusal(b"]" * deep + b"a" * (deep - 1) + b".")
    assert "deep" in refusal(b")" + b"\x85" * deep + b".")
    assert "tuple as a key" in refusal(b"})" + b"\x85" * deep + b"Ns.")
    assert "tuple as a key" in refusal(b"}()" + b"\x85" * deep + b"Nu.")
    assert "tuple as a key" in refusal(b"()" + b"\x85" * deep + b"Nd.")


@pytest.mark.parametrize(
    "content",
    [
        b"Nr\xff\xff\xff\xff.",  # a memo of four thousand million places
        b"Np99999999999999999999\n.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"a.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**64 - 1) + b"a.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
        b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
        b"\x8b" + struct.pack("<i", -1) + b"\x01.",
    ],
)
def test_a_claim_takes_no_memory(content):
    tracemalloc.start()
    with contextlib.suppress(PickleRefused):
        load(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20


def test_one_string_does_not_become_a_thousand_arrays():
    data, reconstruct = b"x" * 100_000, np.empty(0).__reduce__()[0]
    state = (1, (len(data),), np.dtype("u1"), False, data)
    states = [Calls(reconstruct, np.ndarray, (0,), b"b", state=state) for _ in range(1000)]
    content = pickle.dumps(states, 4)
    assert len(content) < 200_000 and "more data than it is long" in refusal(content)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_truncated_pickle_is_refused_wherever_it_ends(protocol):
    whole = {"a": np.arange(5)[None], "b": np.int64(3), "c": [1.5, "text", b"x", (None, 2**70)], "d": np.array(["x"])}
    content = pickle.dumps(whole, protocol)
    for end in range(len(content)):
        refusal(content[:end])
    load(content)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_damaged_pickle_is_plain_or_refused(protocol):
    random = np.random.default_rng(protocol)
    content = pickle.dumps({"a": np.arange(5)[None], "b": np.int64(3), "c": [1.5, "text", b"x"]}, protocol)
    for _ in range(3000):
        damaged = bytearray(content)
        for place in random.integers(len(content), size=random.integers(1, 4)):
            damaged[place] = random.integers(256)
        try:
            load(bytes(damaged))
        except PickleRefused:
            continue


def test_the_file_is_named(tmp_path):
    path = tmp_path / "labels.pickle"
    path.write_bytes(pickle.dumps(Calls(os.system, "true")))
    with pytest.raises(PickleRefused, match=r"labels\.pickle: it asks for posix\.system"):
        load_plain_pickle(path)
    path.write_bytes(pickle.dumps({"a": 1})[:-2])
    with pytest.raises(PickleRefused, match=r"labels\.pickle: it is damaged"):
        load_plain_pickle(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    assert load_plain_pickle(path) == {"a": 1}
    with pytest.raises(FileNotFoundError):
        load_plain_pickle(tmp_path / "absent.pickle")
