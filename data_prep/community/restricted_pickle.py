"""Reading of a pickle that holds numpy arrays and pydicom values, and of no other.

A pickle is a program. This reader runs none of it: whatever the file names is looked up in a closed table of inert
stand-ins, and any other name is refused before it is imported. Protocols 2 to 5 and the module paths of numpy 1 and
numpy 2 are known.

The contents of arrays go to a scratch file as they come, and are not kept for later reference as pickles are wont to;
so memory holds the structure of the file and one array, not all of them.
"""

from __future__ import annotations

import pickle
import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import DataError

__all__ = ["StoredArray", "StoredValues", "open_pickle"]

_DTYPE_CODE = re.compile(r"[<>=|]?[biuf][1248]")
#: Byte strings that are longer are the contents of arrays.
_LONGEST_KEPT = 1024


class _Type:
    """Stands for a type that a pickle may name but not call."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: object) -> None:
        raise DataError(f"it builds a {self.name} in a way that no array is stored")


class _Dtype:
    """Stands for ``numpy.dtype``: numbers and truth values only."""

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
            raise DataError(f"it holds an array of type {str(code)[:40]!r}, not of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, fields = state[1], state[2:5]
        if any(field is not None for field in fields):
            raise DataError("it holds an array of records, not of numbers")
        self.dtype = self.dtype.newbyteorder(order)


class StoredArray:
    """An array of the pickle, its contents in the scratch file."""

    def __init__(self, scratch: IO[bytes]) -> None:
        self._scratch = scratch
        self._offset = 0
        self.shape: tuple[int, ...] = (0,)
        self.dtype = np.dtype("u1")
        self._order: str = "C"

    def store(self, shape: object, dtype: object, order: object, content: object) -> StoredArray:
        """Write the contents to the scratch file."""
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise DataError(f"it holds an array of shape {str(shape)[:40]}")
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray):
            raise DataError("it holds an array without type or contents")
        self.shape, self.dtype, self._order = shape, dtype.dtype, "F" if order == "F" else "C"
        if len(content) != self.dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise DataError(f"it holds an array of shape {shape} and type {self.dtype} in {len(content)} bytes")
        self._offset = self._scratch.tell()
        self._scratch.write(content)
        return self

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        self.store(shape, dtype, "F" if is_fortran else "C", content)

    def read(self) -> NDArray[np.generic]:
        """The array, read back."""
        end = self._scratch.seek(0, 2)
        self._scratch.seek(self._offset)
        content = self._scratch.read(self.dtype.itemsize * int(np.prod(self.shape)))
        self._scratch.seek(end)
        return np.frombuffer(content, self.dtype).reshape(self.shape, order="F" if self._order == "F" else "C")


class _Uid(str):
    """Stands for ``pydicom.uid.UID``."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Nothing but the text is kept."""


class _Number(float):
    """Stands for ``pydicom.valuerep.DSfloat``."""

    def __setstate__(self, state: object) -> None:
        """Nothing but the number is kept."""


class StoredValues:
    """Stands for ``pydicom.multival.MultiValue``: a list of values."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def __setstate__(self, state: object) -> None:
        values = state.get("_list") if isinstance(state, dict) else None
        if not isinstance(values, list):
            raise DataError("it holds a MultiValue without values")
        self.values = values


def _encode(text: object, encoding: object) -> bytes:
    """How protocol 2 stores bytes: ``_codecs.encode``, for latin-1 alone."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise DataError(f"it encodes text as {str(encoding)[:40]!r}")
    return text.encode("latin-1")


def _scalar(dtype: object, content: object) -> float:
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes) or len(content) != dtype.dtype.itemsize:
        raise DataError("it holds a number without type or contents")
    return float(np.frombuffer(content, dtype.dtype)[0])


_BUILT_BY_STATE = (_Dtype, StoredArray, _Uid, _Number, StoredValues)
_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Type("numpy.ndarray"),
    ("_codecs", "encode"): _encode,
    ("pydicom.uid", "UID"): _Uid,
    ("pydicom.valuerep", "DSfloat"): _Number,
    ("pydicom.multival", "MultiValue"): StoredValues,
}
_NAMES |= {(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")}


class _BoundedFile:
    """A file that is never asked for more than it holds, whatever length a damaged pickle names."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        self.readline = file.readline

    def read(self, size: int) -> bytes:
        if size > self._size:
            raise EOFError(f"it ends before the {size} bytes that it announces")
        return self._file.read(size)


# The interpreter's own reader in Python: the one in C does not let go of what it has read.
class _RestrictedUnpickler(pickle._Unpickler):
    """Looks names up in the closed table, and forgets the contents of arrays once they are in the scratch file."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def __init__(self, file: _BoundedFile, scratch: IO[bytes]) -> None:
        super().__init__(file)
        self._names = dict(_NAMES)
        for core in ("core", "_core"):
            self._names[f"numpy.{core}.multiarray", "_reconstruct"] = lambda *_: StoredArray(scratch)
            self._names[f"numpy.{core}.numeric", "_frombuffer"] = lambda content, dtype, shape, order: StoredArray(
                scratch
            ).store(shape, dtype, order, content)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._names[module, name]
        except KeyError:
            raise DataError(f"it names {module}.{name}, which is neither an array nor a pydicom value") from None

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], _BUILT_BY_STATE):
            raise DataError(f"it gives a state to a {type(self.stack[-2]).__name__}, which has none")
        super().load_build()  # type: ignore[misc]  # its stubs leave it out

    dispatch[pickle.BUILD[0]] = load_build

    def load_bytearray8(self) -> None:
        # The interpreter's own makes room for the announced length first.
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _forgetting(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """An opcode that keeps the top of the stack for reference, but not if it is the contents of an array."""

    def load_and_forget(unpickler: Any) -> None:
        top = unpickler.stack[-1]
        if any(map(_is_content, top if isinstance(top, tuple) else (top,))):
            unpickler.stack[-1] = None
            load(unpickler)
            unpickler.stack[-1] = top
        else:
            load(unpickler)

    return load_and_forget


def _is_content(value: object) -> bool:
    return isinstance(value, bytes | bytearray | str) and len(value) > _LONGEST_KEPT


for _opcode in (pickle.MEMOIZE, pickle.BINPUT, pickle.LONG_BINPUT):
    _RestrictedUnpickler.dispatch[_opcode[0]] = _forgetting(_RestrictedUnpickler.dispatch[_opcode[0]])


@contextmanager
def open_pickle(path: Path, scratch_dir: Path) -> Iterator[Any]:
    """What a pickle holds, with a :class:`StoredArray` in the place of every array, readable within the context.

    Args:
        path: of the pickle.
        scratch_dir: where the contents of arrays are put meanwhile, as much as the pickle has.

    Raises:
        DataError: if the file is damaged, or names anything but arrays, numbers, texts and the three pydicom classes
            ``MultiValue``, ``UID`` and ``DSfloat``.
    """
    with tempfile.TemporaryFile(dir=scratch_dir) as scratch:
        with path.open("rb") as file:
            try:
                content = _RestrictedUnpickler(_BoundedFile(file), scratch).load()
            except DataError as error:
                raise DataError(f"{path} is refused: {error}") from error
            except OSError:
                raise
            # Opcodes of a damaged pickle fail in as many ways as there are opcodes.
            except Exception as error:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                reason = f"no opcode {reason}" if isinstance(error, KeyError) else reason
                raise DataError(f"{path} cannot be read as a pickle: {reason}") from error
        yield content
