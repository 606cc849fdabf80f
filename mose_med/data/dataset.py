"""Slices with the masks of all their raters, as the network and the loss take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from mose_med.data.datalist import DatalistEntry
from mose_med.errors import ConfigError, DataError
from mose_med.io.nifti.slices import OpenVolumes, as_labels, read_slice, slice_spacing_mm
from mose_med.preprocessing import Preprocessing
from mose_med.runtime.seeds import numpy_stream, stream_seed

__all__ = ["EpochIndex", "EpochSampler", "MultiRaterDataset"]

#: Spacing is stored in single precision, and resampling may round sizes to whole voxels.
_SPACING_TOLERANCE_MM = 1e-3

Transform = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class EpochIndex:
    """Which slice, and in which epoch it is requested: together with the seed they decide its augmentation."""

    epoch: int
    index: int


def transformed(item: dict[str, Any], transform: Transform, seed: int, place: EpochIndex) -> dict[str, Any]:
    """Call a transform; a MONAI ``Compose`` is seeded from (seed, epoch, index) first."""
    if isinstance(transform, Compose):
        transform.set_random_state(seed=stream_seed("transform", seed, place.epoch, place.index, bits=32))
    return transform(item)


class MultiRaterDataset(Dataset[dict[str, Any]]):
    """One item per slice.

    An item holds ``image`` (C, H, W) float32, preprocessed, of an image file (i, j, k) or (i, j, k, C); ``label``
    (R, H, W) uint8 classes; ``rater_weights`` (R,) float32; ``epoch`` and ``index``, for the augmentation of batches;
    and ``nodule_id``, ``patient_id``, ``series_uid``, ``slice``.

    Args:
        data: entries of a datalist.
        preprocessing: what is done to the HU values.
        transform: of the preprocessed item. A MONAI ``Compose`` is seeded again for each item from
            (seed, epoch, index), so that an item does not depend on the order or the process it is made in.
        seed: of the transform.
        cache: keep the volumes open, by the rule of :class:`~mose_med.io.nifti.slices.OpenVolumes`.

    Raises:
        ConfigError: if there are no entries, or slices of another spacing than the preprocessing's.
        DataError: if the spacing has to be checked and a file is missing or damaged.
    """

    def __init__(
        self,
        data: Sequence[DatalistEntry],
        preprocessing: Preprocessing,
        transform: Transform | None = None,
        *,
        seed: int = 0,
        cache: bool = False,
    ) -> None:
        if not data:
            raise ConfigError("data must have at least one entry, got none")
        self.data = tuple(data)
        self.preprocessing = preprocessing
        self.transform = transform
        self.seed = seed
        self._read_slice = OpenVolumes().read_slice if cache else read_slice
        if preprocessing.spacing_mm is not None:
            self._check_spacing(preprocessing.spacing_mm)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | EpochIndex) -> dict[str, Any]:
        """Slice of an index, or of an index in an epoch.

        Raises:
            DataError: if its files are missing, damaged, or of another shape than preprocessing and weights say.
        """
        place = key if isinstance(key, EpochIndex) else EpochIndex(0, key)
        entry = self.data[place.index]
        image, label = self._slice(place.index)
        item: dict[str, Any] = {
            "image": image,
            "label": label,
            "rater_weights": torch.tensor(entry.rater_weights, dtype=torch.float32),
            "epoch": place.epoch,
            "index": place.index,
            "nodule_id": entry.nodule_id,
            "patient_id": entry.patient_id,
            "series_uid": entry.series_uid,
            "slice": entry.slice_index,
        }
        return item if self.transform is None else transformed(item, self.transform, self.seed, place)

    def _check_spacing(self, spacing_mm: float) -> None:
        for path, entry in {entry.image: entry for entry in self.data}.items():
            found = slice_spacing_mm(path)
            if not np.allclose(found, spacing_mm, rtol=0, atol=_SPACING_TOLERANCE_MM):
                raise ConfigError(
                    f"slices of {entry.nodule_id} have an in-plane spacing of {found[0]:.4g} x {found[1]:.4g} mm, "
                    f"preprocessing spacing_mm is {spacing_mm:g}: prepare them with --spacing {spacing_mm:g}"
                )

    def _slice(self, index: int) -> tuple[Tensor, Tensor]:
        entry = self.data[index]
        image = torch.from_numpy(self._read_slice(entry.image, entry.slice_index).astype(np.float32))
        label = torch.from_numpy(as_labels(self._read_slice(entry.label, entry.slice_index), entry.label))
        size, raters = self.preprocessing.roi_size, len(entry.rater_weights)
        image = image[None] if image.ndim == 2 else image.permute(2, 0, 1)
        if tuple(image.shape[1:]) != size:
            raise DataError(
                f"{entry.image} must have slices of {size}, got {tuple(image.shape[1:])}: prepare them with "
                f"--crop {size[0]}, or use a model for that size"
            )
        if tuple(label.shape) != (*size, raters):
            raise DataError(f"{entry.label} must have slices of {(*size, raters)}, got {tuple(label.shape)}")
        return self.preprocessing(image), label.permute(2, 0, 1).contiguous()


class EpochSampler(Sampler[EpochIndex]):
    """Every index once per epoch, in an order that follows from (seed, epoch) alone.

    Of several processes each gets every n-th index of that order. With ``shuffle`` all get equally many, so that they
    take equally many steps: what is left over, another few indices in every epoch, is dropped.

    Args:
        dataset: whose indices.
        seed: of the order.
        shuffle: False keeps the dataset's order, and all indices.
        rank: of this process.
        num_replicas: how many processes there are.

    Raises:
        ConfigError: if there are fewer indices than processes, or no such process.

    Example:
        >>> sampler = EpochSampler(range(4), seed=1)
        >>> sampler.set_epoch(2)
        >>> sorted(place.index for place in sampler)
        [0, 1, 2, 3]
        >>> [[place.index for place in EpochSampler(range(5), shuffle=False, rank=r, num_replicas=2)] for r in (0, 1)]
        [[0, 2, 4], [1, 3]]
    """

    def __init__(
        self, dataset: Sized, *, seed: int = 0, shuffle: bool = True, rank: int = 0, num_replicas: int = 1
    ) -> None:
        if not 0 <= rank < num_replicas:
            raise ConfigError(f"rank must be in [0, num_replicas = {num_replicas}), got {rank}")
        if 0 < len(dataset) < num_replicas:
            raise ConfigError(f"num_replicas must be <= the {len(dataset)} slices of a part, got {num_replicas}")
        self.dataset = dataset
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.num_replicas = num_replicas
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass belongs to."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(range(len(self.dataset))[self._own()])

    def __iter__(self) -> Iterator[EpochIndex]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            numpy_stream("order", self.seed, self.epoch).shuffle(order)
        return iter([EpochIndex(self.epoch, int(index)) for index in order[self._own()]])

    def _own(self) -> slice:
        number = len(self.dataset)
        stop = number - number % self.num_replicas if self.shuffle else number
        return slice(self.rank, stop, self.num_replicas)
