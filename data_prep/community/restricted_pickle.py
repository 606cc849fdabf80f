"""Reads pickles that hold numpy arrays and pydicom values, and no others.

A pickle is a program. The interpreter's own reader runs it here with a closed table in place of imports: each name that
the file may call stands for an inert function of this module, and any other name is refused before it is imported.
Protocols 2 to 5 and the module paths of numpy 1 and numpy 2 are known.

The reader holds the contents of every array until the file is read: it needs as much memory as the file has bytes.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import DataError

__all__ = ["StoredArray", "StoredValues", "read_pickle"]

_DTYPE_CODE = re.compile(r"[<>=|]?[biuf][1248]")


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
    """Stands for ``numpy.ndarray``: :meth:`read` gives the array."""

    def __init__(self) -> None:
        self._array: NDArray[np.generic] = np.zeros(0, dtype=np.uint8)

    def store(self, shape: object, dtype: object, order: object, content: object) -> StoredArray:
        """Take the contents, checked against the shape and the type."""
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise DataError(f"it holds an array of shape {str(shape)[:40]}")
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray):
            raise DataError("it holds an array without type or contents")
        if len(content) != dtype.dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise DataError(f"it holds an array of shape {shape} and type {dtype.dtype} in {len(content)} bytes")
        self._array = np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")
        return self

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        self.store(shape, dtype, "F" if is_fortran else "C", content)

    def read(self) -> NDArray[np.generic]:
        """The array."""
        return self._array


class _Uid(str):
    """Stands for ``pydicom.uid.UID``."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Keep the text alone."""


class _Number(float):
    """Stands for ``pydicom.valuerep.DSfloat``."""

    def __setstate__(self, state: object) -> None:
        """Keep the number alone."""


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


def _ndarray(*_: object) -> StoredArray:
    raise DataError("it builds a numpy.ndarray in a way that no array is stored")


def _from_buffer(content: object, dtype: object, shape: object, order: object) -> StoredArray:
    return StoredArray().store(shape, dtype, order, content)


class _Name:
    """What a name of the pickle stands for; it can be called, and not changed."""

    __slots__ = ("_function", "_name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise DataError(f"it gives a state to {self._name}, which has none")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _ndarray,
    "_codecs.encode": _encode,
}
for _core in ("numpy.core", "numpy._core"):
    _FUNCTIONS |= {
        f"{_core}.multiarray.scalar": _scalar,
        f"{_core}.multiarray._reconstruct": lambda *_: StoredArray(),
        f"{_core}.numeric._frombuffer": _from_buffer,
    }
#: Pickles build objects of these from their classes; a state given to a class itself has no ``self`` and fails.
_CLASSES = {
    "pydicom.uid.UID": _Uid,
    "pydicom.valuerep.DSfloat": _Number,
    "pydicom.multival.MultiValue": StoredValues,
}
_NAMES = _CLASSES | {name: _Name(name, function) for name, function in _FUNCTIONS.items()}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[f"{module}.{name}"]
        except KeyError:
            raise DataError(f"it names {module}.{name}, which is neither an array nor a pydicom value") from None


def read_pickle(path: Path) -> Any:
    """What a pickle holds, with a :class:`StoredArray` in the place of every array.

    Args:
        path: of the pickle; it is read into memory as a whole.

    Raises:
        DataError: if the file is damaged, or names anything but arrays, numbers, texts and the three pydicom classes
            ``MultiValue``, ``UID`` and ``DSfloat``.
    """
    with path.open("rb") as file:
        try:
            return _RestrictedUnpickler(file).load()
        except DataError as error:
            raise DataError(f"{path} is refused: {error}") from error
        except OSError:
            raise
        # Opcodes of a damaged pickle fail in as many ways as there are opcodes.
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f"{path} cannot be read as a pickle: {reason}") from error
