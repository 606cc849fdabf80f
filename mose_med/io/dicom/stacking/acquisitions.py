"""Acquisitions within one series: the same positions scanned more than once, for example with and without contrast.

They are distinguished by AcquisitionNumber. Where that does not separate slices at one position, the time of
acquisition does, or else InstanceNumber, if one acquisition ends before the next begins; they are then numbered from 1
in that order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from mose_med.errors import ConfigError

if TYPE_CHECKING:
    from mose_med.io.dicom.headers import SliceHeader

__all__ = ["acquisitions", "named_acquisitions", "slices_of_acquisition"]

_DIGITS = 2
Acquisitions: TypeAlias = "dict[int, list[SliceHeader]]"


def acquisitions(series: list[SliceHeader]) -> Acquisitions:
    """Slices of a series by acquisition, by ascending number; one acquisition if nothing separates them."""
    by_number: Acquisitions = defaultdict(list)
    for header in series:
        by_number[header.acquisition_number].append(header)
    if _lie_apart(by_number):
        return dict(sorted(by_number.items()))
    in_order = _in_order(series, lambda header: header.acquisition_time)
    return in_order or _in_order(series, lambda header: header.instance_number) or {1: series}


def _in_order(series: list[SliceHeader], value: Callable[[SliceHeader], str | int]) -> Acquisitions:
    """The first slice of every place, the second, and so on, by a value; none if they do not follow each other."""
    if not all(map(value, series)):
        return {}
    at_place: dict[tuple[float, ...], int] = defaultdict(int)
    found: Acquisitions = defaultdict(list)
    for header in sorted(series, key=value):
        at_place[_place(header)] += 1
        found[at_place[_place(header)]].append(header)
    follow = all(value(one[-1]) < value(other[0]) for one, other in pairwise(found.values()))  # type: ignore[operator]
    return dict(found) if follow else {}


def named_acquisitions(series: list[SliceHeader]) -> str:
    """The acquisitions of a series in words; empty if choosing one would not separate slices at one position."""
    found = acquisitions(series)
    if len(found) < 2 or not _lie_apart(found):
        return ""
    return ", ".join(f"{number} with {len(slices)} slices" for number, slices in found.items())


def slices_of_acquisition(series: list[SliceHeader], number: int) -> list[SliceHeader]:
    """The slices of one acquisition.

    Raises:
        ConfigError: if the series has no such acquisition.
    """
    found = acquisitions(series)
    if number not in found:
        known = ", ".join(map(str, found))
        raise ConfigError(f"the series has no acquisition {number}: pass --acquisition with one of {known}")
    return found[number]


def _lie_apart(found: Acquisitions) -> bool:
    """Whether no acquisition has two slices at one place."""
    return all(len({_place(header) for header in slices}) == len(slices) for slices in found.values())


def _place(header: SliceHeader) -> tuple[float, ...]:
    return tuple(round(value, _DIGITS) for value in header.position or ())
