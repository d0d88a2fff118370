"""Pickles of plain data and PyTorch's files, read without running anything that they ask for.

A pickle is a program that calls whatever it names. Here every name that it may use stands for a function of this
module, numpy's own are never reached, and what comes out is looked through: numpy arrays and scalars, dicts, lists,
tuples, strings, bytes, numbers, and nothing else.

Formats: the opcodes as `pickletools` describes them, protocols 0 to 5; numpy's part as `ndarray.__reduce_ex__`,
`dtype.__reduce__` and `generic.__reduce__` write it.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

PLAIN_TYPES = (type(None), bool, int, float, str, bytes)
# As a dtype's own reduction spells it. Not here: objects (O), records (V), times (M, m).
PLAIN_DTYPE = re.compile(r"b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[SU][0-9]{1,9}")
# All that torch.save asks for to keep tensors in dicts and lists. `torch.load(weights_only=True)` runs no code either,
# but it knows more than these: `bytearray(10**11)`, for one.
TORCH_GLOBALS = re.compile(
    r"collections OrderedDict|torch (Size|device|\w*int\d+|b?float\d+|bool)|torch(\.cuda)? \w+Storage"
    r"|torch\._utils _rebuild_(tensor(_v[23])?|parameter)"
)
LEGACY_PICKLES = 5  # of a PyTorch file that is no archive, before its numbers
MAX_DIMENSIONS = 64  # numpy 2's; more than numpy 1 has
MAX_DEPTH = 50  # containers in containers; also what ends the walk through one that holds itself
# Ways to make objects that plain data do not need.
REFUSED_OPCODES = (
    *("PERSID", "BINPERSID", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"),
    *("EMPTY_SET", "FROZENSET", "ADDITEMS", "NEXT_BUFFER", "READONLY_BUFFER"),
)


class PickleRefused(Exception):
    """A pickle is damaged, or asks for more than plain data. The message is one line for the user."""


def load_plain_pickle(path: Path) -> object:
    """Read a pickle of plain data, as Python 2 or 3 and any numpy wrote it.

    Returns:
        What it holds: dicts, lists, tuples, strings, bytes, numbers, numpy scalars and arrays (numeric, bool, string).

    Raises:
        PickleRefused: it asks for anything else, which is named, or is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            return PlainUnpickler(file).load()
        except PickleRefused as error:
            raise PickleRefused(f"{path}: {error}") from error


def load_torch(path: Path) -> Any:
    """Read what `torch.save` wrote: tensors and plain data, in no more memory than the file's length explains.

    Raises:
        PickleRefused: it asks for anything else, is damaged, or becomes more than it is long.
        OSError: it cannot be read.
    """
    import torch

    try:
        _check_torch_file(path)
        with warnings.catch_warnings():  # of odd pickles: whatever is wrong with the file comes as an error
            warnings.simplefilter("ignore")
            data = torch.load(path, map_location="cpu", weights_only=True)
    except (PickleRefused, OSError):
        raise
    except pickle.UnpicklingError as error:  # torch's own message tells the user to load it unsafely
        raise PickleRefused("it is damaged, or asks for more than plain tensors") from error
    except Exception as error:  # of a damaged file torch and zipfile raise whatever they stumble over
        reason = next(iter(str(error).splitlines()), "")
        raise PickleRefused(f"it is damaged or no PyTorch file: {type(error).__name__}: {reason}") from error
    _check_tensors(data)
    return data


def _check_torch_file(path: Path) -> None:
    """Look at what a PyTorch file is going to ask for, before torch does as it is told.

    Raises:
        PickleRefused: it unpacks to more than it is long, or asks for more than tensors and plain data.
        Exception: whatever a damaged file leads to.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\3\4":  # no archive: written before PyTorch 1.6, or for it
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for _ in range(LEGACY_PICKLES):
                    _check_torch_pickle(content)
            return
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            # torch packs nothing, so what is in there is hardly longer than the file.
            if sum(member.file_size for member in members) > 1.1 * path.stat().st_size + (1 << 20):
                raise PickleRefused("it unpacks to more than it is long")
            if (damaged := archive.testzip()) is not None:  # torch does not look at their checksums
                raise PickleRefused(f"it is damaged: the checksum of {damaged[:120]!r} is wrong")
            for member in members:
                if member.filename.endswith(".pkl"):
                    _check_torch_pickle(io.BytesIO(archive.read(member)))


def _check_torch_pickle(file: Any) -> None:
    for opcode, argument, _ in pickletools.genops(file):
        asked = str(argument)[:120] if opcode.name == "GLOBAL" else opcode.name
        if opcode.name in ("STACK_GLOBAL", "INST") or (opcode.name == "GLOBAL" and not TORCH_GLOBALS.fullmatch(asked)):
            raise PickleRefused(f"it asks for {asked!r}; only tensors and plain data are read")


def _check_tensors(data: object) -> None:
    """A tensor may be a few numbers said to stand at many places: whoever copies it takes the memory of all."""
    import torch

    todo, seen = [data], {id(data)}
    while todo:
        value = todo.pop()
        if isinstance(value, torch.Tensor):
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise PickleRefused("it has a tensor of more numbers than it holds")
            continue
        inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else []
        todo += [one for one in inner if id(one) not in seen]
        seen.update(map(id, inner))


class _Global:
    """Stands for something that a pickle may name, and call."""

    __slots__ = ("_function", "name")

    def __init__(self, name: str, function: Callable[..., object]) -> None:
        self.name = name
        self._function = function

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)


class _Dtype:
    """A dtype in the making. Never numpy's own: those are shared, and BUILD could change them for everybody."""

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("dtype",)

    def __init__(self, spec: object, align: object = False, copy: object = False) -> None:
        if not isinstance(spec, str) or not PLAIN_DTYPE.fullmatch(spec):
            what = f"dtype {spec[:40]!r}" if isinstance(spec, str) else "a dtype of several fields"
            raise PickleRefused(f"it holds {what}; only numbers, booleans and strings are read")
        self.dtype = np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        _version, byte_order, *structure = state[:5]
        if structure != [None, None, None]:
            raise PickleRefused("it holds a dtype of several fields; only numbers, booleans and strings are read")
        if byte_order != "|":
            self.dtype = self.dtype.newbyteorder(byte_order)


class _Array:
    """An array in the making: nothing is believed, and no memory taken, before it is known to be whole."""

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("axes", "data", "dtype", "order", "shape")

    def __init__(
        self, data: Any = None, dtype: Any = None, shape: Any = None, order: Any = "C", axes: Any = None
    ) -> None:
        self.data, self.dtype, self.shape, self.order, self.axes = data, dtype, shape, order, axes

    def __setstate__(self, state: Any) -> None:
        _version, self.shape, self.dtype, fortran, self.data = state
        self.order = "F" if fortran else "C"


def _refusing(opcode: str) -> Callable[[Any], None]:
    def refuse(unpickler: Any) -> None:
        raise PickleRefused(f"it uses the opcode {opcode}; only plain data and numpy arrays are read")

    return refuse


def _load_bytearray(unpickler: Any) -> None:
    """Python's own takes as much memory as the opcode claims before it looks for the bytes."""
    (length,) = struct.unpack("<Q", unpickler.read(8))
    unpickler.append(bytearray(unpickler.read(length)))


def _load_build(unpickler: Any) -> None:
    if not isinstance(unpickler.stack[-2], _Array | _Dtype):
        raise PickleRefused("it changes something that is no numpy array")
    state = unpickler.stack.pop()
    unpickler.stack[-1].__setstate__(state)


def _checking_keys(opcode: str, keys: slice) -> Callable[[Any], None]:
    load: Callable[[Any], None] = pickle._Unpickler.dispatch[_CODES[opcode]]

    def check(unpickler: Any) -> None:
        _check_keys(unpickler.stack[keys])
        load(unpickler)

    return check


def _check_keys(keys: Iterable[object]) -> None:
    """Hashing a tuple in a tuple in a tuple ... overflows the C stack, so tuples are no keys here."""
    if any(isinstance(key, tuple) for key in keys):
        raise PickleRefused("it has a dict with a tuple as a key")


_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}


class PlainUnpickler(pickle._Unpickler):
    """Reads one pickle of plain data from a file or an `io.BytesIO`: `PlainUnpickler(file).load()`.

    It is Python's own unpickler in Python: the one in C takes 64 GB of memory for a memo index of nine bytes, and can
    not be taught which opcodes to refuse.
    """

    dispatch = {  # noqa: RUF012  (annotated in the parent)
        **pickle._Unpickler.dispatch,
        **{_CODES[name]: _refusing(name) for name in REFUSED_OPCODES},
        _CODES["BYTEARRAY8"]: _load_bytearray,
        _CODES["BUILD"]: _load_build,
        _CODES["SETITEM"]: _checking_keys("SETITEM", slice(-2, -1)),
        _CODES["SETITEMS"]: _checking_keys("SETITEMS", slice(0, None, 2)),
        _CODES["DICT"]: _checking_keys("DICT", slice(0, None, 2)),
    }

    def __init__(self, file: BinaryIO) -> None:
        content = file.read()
        # Python 2's strings may be the bytes of an array: latin1 keeps each byte as one character.
        super().__init__(io.BytesIO(content), encoding="latin1")
        # Bytes that a few opcodes name again and again would become array after array. An honest pickle spells each
        # out, and up to protocol 2 they are copied once more, out of a string.
        self._allowance = 2 * len(content)
        functions: dict[str, Callable[..., object]] = {
            "numpy.ndarray": _not_callable,
            "numpy.dtype": _Dtype,
            "numpy.core.multiarray._reconstruct": _reconstruct,
            "numpy.core.multiarray.scalar": self._scalar,
            "numpy.core.numeric._frombuffer": _Array,
            "_codecs.encode": self._encode,  # how Python 3 writes bytes up to protocol 2
            "builtins.bytes": _no_bytes,  # and empty ones
        }
        self._globals = {name: _Global(name, function) for name, function in functions.items()}
        self._plain_of: dict[int, object] = {}

    def load(self) -> Any:
        """What the pickle holds.

        Raises:
            PickleRefused: it asks for anything but plain data, or is damaged.
        """
        try:
            return self._plain(super().load())
        except PickleRefused:
            raise
        except EOFError as error:
            raise PickleRefused("it is damaged: it ends too early") from error
        except Exception as error:  # of a damaged pickle an unpickler raises whatever it stumbles over
            raise PickleRefused(f"it is damaged or no pickle: {type(error).__name__}: {error}") from error

    def find_class(self, module: str, name: str) -> _Global:
        # numpy 2 calls its own `numpy.core` `numpy._core`; Python 2 calls `builtins` `__builtin__`.
        module = {"__builtin__": "builtins"}.get(module, re.sub(r"^numpy\._core\.", "numpy.core.", module))
        found = self._globals.get(f"{module}.{name}")
        if found is None or "." in name:
            shown = repr(f"{module}.{name}"[:120])[1:-1]  # no line breaks, no escape sequences
            raise PickleRefused(f"it asks for {shown}; only plain data and numpy arrays are read")
        return found

    def _spend(self, size: int) -> None:
        self._allowance -= size
        if self._allowance < 0:
            raise PickleRefused("it becomes more data than it is long")

    def _encode(self, text: str, encoding: str) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise PickleRefused("it asks for _codecs.encode of something else than latin1 text")
        self._spend(len(text))
        return text.encode("latin1")

    def _scalar(self, dtype: object, data: object) -> object:
        # Made at once, because it may be the key of a dict.
        return self._array(_Array(data, dtype, ()))[()]

    def _array(self, given: _Array) -> np.ndarray:
        shape, data = given.shape, given.data
        if not (
            isinstance(shape, tuple)
            and len(shape) <= MAX_DIMENSIONS
            and all(type(length) is int and length >= 0 for length in shape)
            and isinstance(given.dtype, _Dtype)
            and isinstance(data, str | bytes | bytearray)
        ):
            raise PickleRefused("it holds an array that is described wrongly")
        dtype = given.dtype.dtype
        if not dtype.itemsize:  # an empty string; numpy would take a character for each
            if shape:
                raise PickleRefused("it holds an array of strings without characters")
            return np.zeros((), dtype)
        size = math.prod(shape) * dtype.itemsize
        if len(data) != size:
            raise PickleRefused(f"it is damaged: an array that needs {size} bytes has {len(data)}")
        self._spend(size)
        content = data.encode("latin1") if isinstance(data, str) else data
        array: np.ndarray
        if given.order == "K":
            array = np.ndarray(shape, dtype, buffer=content).transpose(given.axes)
        else:
            array = np.ndarray(shape, dtype, buffer=content, order=given.order)
        return array.copy(order="K")  # its own, and writable

    def _plain(self, value: object, depth: int = 0) -> object:
        """`value` with its arrays made, as plain containers; what is there twice stays one thing."""
        if type(value) in PLAIN_TYPES or isinstance(value, np.generic):
            return value
        if id(value) in self._plain_of:
            return self._plain_of[id(value)]
        if depth > MAX_DEPTH:
            raise PickleRefused(f"it nests containers more than {MAX_DEPTH} deep, or one in itself")
        plain: object
        if isinstance(value, _Array):
            plain = self._array(value)
        elif type(value) is dict:
            plain = {self._plain(key, depth + 1): self._plain(item, depth + 1) for key, item in value.items()}
        elif type(value) is list:
            plain = [self._plain(item, depth + 1) for item in value]
        elif type(value) is tuple:
            plain = tuple(self._plain(item, depth + 1) for item in value)
        else:
            what = value.name if isinstance(value, _Global) else type(value).__name__.lstrip("_").lower()
            raise PickleRefused(f"it holds {what}; only plain data and numpy arrays are read")
        self._plain_of[id(value)] = plain
        return plain


def _not_callable(*arguments: object) -> object:
    raise PickleRefused("it calls numpy.ndarray; only plain data and numpy arrays are read")


def _reconstruct(kind: object, *arguments: object) -> _Array:
    """numpy's empty array, which BUILD fills; `arguments` are its shape and type, which BUILD says again."""
    if not isinstance(kind, _Global) or kind.name != "numpy.ndarray":
        raise PickleRefused("it makes an array that is no numpy.ndarray")
    return _Array()


def _no_bytes() -> bytes:
    return b""
