"""Outlines of masks along the edges of their pixels.

The area that an outline encloses is that of the pixels, and of all pixels it encloses the centres of these alone.
Pixels that touch by a corner have outlines of their own. A hole is joined to the outline around it by a channel without
width, as DICOM asks of contours, so that each outline is one closed line.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mose_med.io.dicom.objects.rtstruct.polygons import pixels_inside

__all__ = ["outlines"]

_Corner = tuple[int, int]
#: From a corner of a pixel to its centre.
_HALF = 0.5


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed lines (n, 2) around a mask, in indices of its pixels; the last point is not the first again.

    Example:
        >>> [outline.tolist() for outline in outlines(np.array([[False, True]]))]
        [[[-0.5, 0.5], [-0.5, 1.5], [0.5, 1.5], [0.5, 0.5]]]
    """
    loops = list(_loops(_edges(mask)))
    outer = [loop for loop in loops if _signed_area(loop) > 0]
    holes = [loop for loop in loops if _signed_area(loop) < 0]
    for hole in sorted(holes, key=lambda loop: loop.min(axis=0).tolist()):
        around = [n for n, loop in enumerate(outer) if _contains(loop, hole)]
        nearest = min(around, key=lambda n: abs(_signed_area(outer[n])))
        outer[nearest] = _joined(outer[nearest], hole)
    return [loop - _HALF for loop in outer]


def _edges(mask: NDArray[np.bool_]) -> dict[_Corner, list[_Corner]]:
    """For every corner where edges begin, where they end: edges of pixels whose neighbour is not in the mask."""
    padded = np.pad(mask, 1)
    #: Neighbour, and first and last corner of the edge to it: the mask is on the right-hand side.
    sides = (((-1, 0), (0, 0), (0, 1)), ((0, 1), (0, 1), (1, 1)), ((1, 0), (1, 1), (1, 0)), ((0, -1), (1, 0), (0, 0)))
    edges: dict[_Corner, list[_Corner]] = {}
    for (down, right), first, last in sides:
        beside = np.roll(padded, (-down, -right), axis=(0, 1))
        for row, column in (np.argwhere(padded & ~beside) - 1).tolist():
            edges.setdefault((row + first[0], column + first[1]), []).append((row + last[0], column + last[1]))
    return edges


def _loops(edges: dict[_Corner, list[_Corner]]) -> Iterator[NDArray[np.float64]]:
    """Closed lines of edges, by their corners where they turn."""
    while edges:
        start = min(edges)
        corners, here = [start], _taken(edges, start, (0, 0))
        step = (here[0] - start[0], here[1] - start[1])
        while here != start:
            there = _taken(edges, here, step)
            turned = (there[0] - here[0], there[1] - here[1])
            if turned != step:
                corners.append(here)
            here, step = there, turned
        yield np.asarray(corners, dtype=np.float64)


def _taken(edges: dict[_Corner, list[_Corner]], here: _Corner, step: _Corner) -> _Corner:
    """The end of the next edge, which is taken out: where two begin, that to the right, around the same pixel."""
    ends = edges[here]
    right = (here[0] + step[1], here[1] - step[0])
    end = right if right in ends else ends[0]
    ends.remove(end)
    if not ends:
        del edges[here]
    return end


def _signed_area(loop: NDArray[np.float64]) -> float:
    following = np.roll(loop, -1, axis=0)
    return float((loop[:, 1] * following[:, 0] - following[:, 1] * loop[:, 0]).sum()) / 2


def _contains(outer: NDArray[np.float64], hole: NDArray[np.float64]) -> bool:
    """Whether the first pixel outside a hole's first corner is inside an outline."""
    corner = hole[np.lexsort(hole.T[::-1])[0]]
    place = (corner - 1).astype(int)
    shape = (int(outer[:, 0].max()) + 1, int(outer[:, 1].max()) + 1)
    return bool((place >= 0).all() and (place < shape).all() and pixels_inside([outer - _HALF], shape)[tuple(place)])


def _joined(outer: NDArray[np.float64], hole: NDArray[np.float64]) -> NDArray[np.float64]:
    """One line around both, by the shortest channel between two of their corners."""
    apart = np.linalg.norm(outer[:, None] - hole[None], axis=-1)
    n, m = np.unravel_index(apart.argmin(), apart.shape)
    around = np.concatenate([hole[m:], hole[: m + 1]])
    return np.concatenate([outer[: n + 1], around, outer[n:]])
