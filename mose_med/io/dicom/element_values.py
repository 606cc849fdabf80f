"""Values of header elements as plain types: empty, 0 or None where malformed."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pydicom
from pydicom.tag import BaseTag
from pydicom.uid import UID

__all__ = ["cosine_fault", "decoded", "direction_cosines", "integer", "known_class", "numbers", "text", "texts"]

#: Products of direction cosines that differ by no more from 1 and 0 are those of numbers rounded to two digits.
_COSINE_ROUNDING = 0.02


def known_class(value: Any) -> str:
    """SOP class, empty unless it is one of the standard's."""
    name = text(value)
    return "" if UID(name).name == name else name


def text(value: Any) -> str:
    """The value as text without blanks around it."""
    return str(value or "").strip()


def texts(value: Any) -> tuple[str, ...]:
    """One or several values as texts."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def integer(value: Any) -> int:
    """The value as a whole number; 0 if it is none."""
    try:
        return int(value or 0)
    except (TypeError, ValueError):  # several values, for instance
        return 0


def numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """An element's value as this many finite numbers; None if malformed."""
    try:
        numbers = tuple(float(number) for number in value or ())
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def direction_cosines(value: Any) -> tuple[float, ...] | None:
    """Direction cosines of rows and columns, six numbers: rounded ones as the nearest unit vectors at right angles.

    Others are left as they are, for :func:`cosine_fault` to name.

    Example:
        >>> direction_cosines((1, 0, 0, 0, 0.985, 0.174))[4:]
        (0.984753..., 0.173956...)
    """
    cosines = numbers(value, 6)
    if cosines is None or _cosine_error(cosines) > _COSINE_ROUNDING:
        return cosines
    left, _, right = np.linalg.svd(np.reshape(cosines, (2, 3)), full_matrices=False)
    exact = tuple((left @ right).ravel().tolist())
    return cosines if np.allclose(exact, cosines, rtol=0, atol=1e-12) else exact


def cosine_fault(cosines: tuple[float, ...]) -> str:
    """What is wrong with direction cosines, in words; empty if they are unit vectors at right angles."""
    if _cosine_error(cosines) <= _COSINE_ROUNDING:
        return ""
    rows, columns = np.reshape(cosines, (2, 3))
    lengths = np.linalg.norm(rows), np.linalg.norm(columns)
    cosine = np.dot(rows, columns) / max(lengths[0] * lengths[1], 1e-12)
    degrees = math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))
    found = f"lengths {lengths[0]:.3g} and {lengths[1]:.3g} at {degrees:.1f} degrees"
    return f"must be two unit vectors at right angles, got {found}"


def _cosine_error(cosines: tuple[float, ...]) -> float:
    vectors = np.reshape(cosines, (2, 3))
    return float(np.abs(vectors @ vectors.T - np.eye(2)).max())


def decoded(dataset: pydicom.Dataset, tag: BaseTag) -> Any:
    """Value of an element; None if it is not of the form of its type."""
    try:
        return dataset[tag].value
    except (TypeError, ValueError, KeyError, NotImplementedError, struct.error):
        return None
