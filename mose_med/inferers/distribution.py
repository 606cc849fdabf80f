"""The result of a case: regions and lesions, and dense maps of them on demand.

Maps are named as the files of a case folder are: ``expert-1_samples`` (i, j, k, S) and
``expert-1_foreground_probability`` for each expert, ``expert_probs`` (i, j, k, K), ``probability``, ``consensus``,
``entropy`` and ``entropy_between_experts`` (nats), and ``samples`` (i, j, k, N') where the standard form was asked for.
Without experts (K = 1) the samples are ``sample_masks``, and no map distinguishes experts. Outside every window the
network did not look: all maps are 0 there. Several foreground classes have maps of their own, such as
``probability_class-vessel``. Each listed position has a region of its own; where regions share voxels, a voxel is that
of the nearest position, and :meth:`CaseDistribution.alone` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose_med.case_contents.maps import class_marks, maps_of_kind, of_class
from mose_med.errors import ConfigError
from mose_med.geometry import translated
from mose_med.inferers.boxes import Box
from mose_med.inferers.lesions.lesion import Lesion
from mose_med.inferers.regions import Region, assembled, entropy, entropy_between_experts, unpack
from mose_med.inferers.storage import Storage

__all__ = ["CaseDistribution", "MapFormat"]

_SLAB_DEPTH = 32
_OfRegion = Callable[[Region], NDArray[Any]]


@dataclass(frozen=True)
class MapFormat:
    """Shape and type of a dense map, and the index of its foreground class."""

    shape: tuple[int, ...]
    dtype: type[np.generic]
    class_index: int = 0


@dataclass(frozen=True)
class CaseDistribution:
    """Distribution of segmentations of one case.

    Attributes:
        shape: of the input's grid (i, j, k).
        affine: of the input's grid, RAS mm, (4, 4).
        num_experts: K.
        samples_per_expert: S.
        num_standard: N', samples in the standard form; 0 if it was not asked for.
        regions: boxes where the network looked: one for each listed position, or the one that was searched; of several
            foreground classes one for each class, class by class, before the next box.
        lesions: one for each listed position, in the order of the list; or what was found, the largest first.
        storage: of the arrays of the regions.
        num_windows: number of windows.
        shares: of every region the voxels (i, j, k) of its box that the dense maps take from it, None for all; None if
            no two regions share a voxel.
        classes: names of the foreground classes.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    num_experts: int
    samples_per_expert: int
    num_standard: int
    regions: tuple[Region, ...]
    lesions: tuple[Lesion, ...]
    storage: Storage = field(default_factory=lambda: Storage(0), repr=False, compare=False)
    num_windows: int = 0
    shares: tuple[NDArray[np.bool_] | None, ...] | None = None
    classes: tuple[str, ...] = ("class-1",)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dense maps."""
        return tuple(self._maps())

    def named(self, nodule_ids: Sequence[str]) -> CaseDistribution:
        """The same case, its lesions with the names of the listed positions.

        Raises:
            ConfigError: if there is not a name for each lesion.
        """
        if len(nodule_ids) != len(self.lesions):
            raise ConfigError(f"nodule_ids must name {len(self.lesions)} lesions, got {len(nodule_ids)}")
        named = (lesion._replace(nodule_id=name) for lesion, name in zip(self.lesions, nodule_ids, strict=True))
        return replace(self, lesions=tuple(named))

    def maps(self, kind: str) -> list[str]:
        """Names of the maps of a kind (:mod:`mose_med.case_contents.maps`), without the class: there are all."""
        return list(maps_of_kind(kind, self.num_experts))

    def own_crops(self, name: str, boxes: Sequence[Box], numbers: Sequence[int]) -> list[NDArray[np.generic]]:
        """As :meth:`crop`, for some boxes, each in a lesion's own region where that shares voxels with another.

        Args:
            name: of the map, without the class: each lesion has its own.
            boxes: of the input's grid, one for each lesion.
            numbers: of the lesions.

        Raises:
            ConfigError: if there is no map of that name, or no lesion of a number.
        """
        pairs = zip(boxes, numbers, strict=True)
        return [
            (self.alone(n) if self.shares_region(n) else self).crop(of_class(name, self.mark(n)), box)
            for box, n in pairs
        ]

    def mark(self, number: int) -> str:
        """Mark of the class of a lesion, in the names of its maps; empty where there is one class."""
        label, marks = self._lesion(number).label, class_marks(self.classes)
        return marks[self.classes.index(label)] if len(marks) > 1 else marks[0]

    def _lesion(self, number: int) -> Lesion:
        found = next((lesion for lesion in self.lesions if lesion.number == number), None)
        if found is None:
            raise ConfigError(f"number must be that of one of {len(self.lesions)} lesions, got {number}")
        return found

    def alone(self, number: int) -> CaseDistribution:
        """The same case with one lesion and its own region alone, of all classes, regardless of the other positions.

        Raises:
            ConfigError: if there is no lesion of that number.
        """
        lesion, classes = self._lesion(number), len(self.classes)
        first = (number - 1) * classes if len(self.regions) > classes else 0
        return replace(self, regions=self.regions[first : first + classes], lesions=(lesion,), shares=None)

    def shares_region(self, number: int) -> bool:
        """Whether the dense maps take voxels of a lesion's own region from another's."""
        return self.shares is not None and self.shares[(number - 1) * len(self.classes)] is not None

    def own_maps(self, number: int) -> CaseDistribution:
        """One lesion and its own region alone, on the grid of that region: as the input's, cut to its box.

        Raises:
            ConfigError: if there is no lesion of that number.
        """
        alone = self.alone(number)
        box = alone.regions[0].box
        regions = tuple(region._replace(box=Box((0, 0, 0), box.shape)) for region in alone.regions)
        return replace(alone, shape=box.shape, affine=translated(self.affine, box.start), regions=regions)

    def format(self, name: str) -> MapFormat:
        """Shape and type of a dense map.

        Raises:
            ConfigError: if there is no map of that name.
        """
        return self._map(name)[0]

    def dense(self, name: str) -> NDArray[np.generic]:
        """Expand one map to the whole grid of the input.

        Raises:
            ConfigError: if there is no map of that name.
        """
        return self.crop(name, Box((0, 0, 0), self.shape))

    def crop(self, name: str, box: Box) -> NDArray[np.generic]:
        """The part of one map that lies in a box of the input's grid, (i, j, k) or (i, j, k, channels).

        Raises:
            ConfigError: if there is no map of that name.
        """
        form, channels = self._map(name)
        result = np.empty((*box.shape, len(channels)), dtype=form.dtype, order="F")
        for channel, quantity in enumerate(channels):
            result[..., channel] = self._assembled(quantity, box, form)
        return result if len(form.shape) == 4 else result[..., 0]

    def slabs(self, name: str) -> Iterator[NDArray[np.generic]]:
        """Pieces (i, j, some slices) of one map, all slices of its first channel first: the order of a NIfTI file.

        Slices where the network did not look come as one zero, repeated without taking memory.

        Raises:
            ConfigError: if there is no map of that name.
        """
        form, channels = self._map(name)
        nothing = np.zeros((), dtype=form.dtype)
        for quantity in channels:
            for first, last, looked in self._runs():
                box = Box((0, 0, first), (*self.shape[:2], last))
                yield self._assembled(quantity, box, form) if looked else np.broadcast_to(nothing, box.shape)

    def _runs(self) -> Iterator[tuple[int, int, bool]]:
        """First slice, the one after the last, and whether a region has any of them."""
        looked = np.zeros(self.shape[2], dtype=bool)
        for region in self.regions:
            looked[region.box.start[2] : region.box.stop[2]] = True
        edges = [0, *(np.flatnonzero(np.diff(looked)) + 1).tolist(), self.shape[2]]
        for start, stop in pairwise(edges):
            depth = _SLAB_DEPTH if looked[start] else stop - start
            for first in range(start, stop, depth):
                yield first, min(first + depth, stop), bool(looked[start])

    def _assembled(self, quantity: _OfRegion, box: Box, form: MapFormat) -> NDArray[np.generic]:
        own = slice(form.class_index, None, len(self.classes))
        shares = None if self.shares is None else self.shares[own]
        return assembled(self.regions[own], quantity, box, form.dtype, self.storage.release, shares)

    def _map(self, name: str) -> tuple[MapFormat, list[_OfRegion]]:
        maps = self._maps()
        if name not in maps:
            raise ConfigError(f"name must be one of {', '.join(maps)}, got {name!r}")
        return maps[name]

    def _maps(self) -> dict[str, tuple[MapFormat, list[_OfRegion]]]:
        """Format of each map, and the function of a region that gives its channels."""
        marks, of_one = class_marks(self.classes), self._maps_of_one_class()
        return {
            of_class(name, mark): (replace(form, class_index=index), channels)
            for index, mark in enumerate(marks)
            for name, (form, channels) in of_one.items()
        }

    def _maps_of_one_class(self) -> dict[str, tuple[MapFormat, list[_OfRegion]]]:
        samples, experts = self.samples_per_expert, range(self.num_experts)
        scalar, sampled = MapFormat(self.shape, np.float32), MapFormat((*self.shape, samples), np.uint8)
        named = partial(maps_of_kind, num_experts=self.num_experts)
        maps: dict[str, tuple[MapFormat, list[_OfRegion]]] = {
            name: (sampled, [partial(_mask, n=k * samples + s) for s in range(samples)])
            for k, name in enumerate(named("masks"))
        }
        for k, name in enumerate(named("foreground_probability")):
            maps[name] = (scalar, [partial(_expert_mean, n=k)])
        form = MapFormat((*self.shape, self.num_experts), np.float32)
        for name in named("expert_probs"):
            maps[name] = (form, [partial(_expert_prob, n=k) for k in experts])
        maps["probability"] = (scalar, [Region.probability])
        maps["consensus"] = (MapFormat(self.shape, np.uint8), [Region.consensus])
        maps["entropy"] = (scalar, [entropy])
        for name in named("entropy_between_experts"):
            maps[name] = (scalar, [entropy_between_experts])
        if self.num_standard:
            form = MapFormat((*self.shape, self.num_standard), np.uint8)
            maps["samples"] = (form, [partial(_standard_mask, n=n) for n in range(self.num_standard)])
        return maps


def _mask(region: Region, n: int) -> NDArray[np.bool_]:
    return unpack(region.sample_bits, n)


def _standard_mask(region: Region, n: int) -> NDArray[np.bool_]:
    return unpack(region.standard_bits, n)


def _expert_mean(region: Region, n: int) -> NDArray[np.float16]:
    return region.expert_means[..., n]


def _expert_prob(region: Region, n: int) -> NDArray[np.float32]:
    return region.expert_prob(n)
