"""Street scenes of multimodal Cityscapes: one label map is stored, all its modes are made on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mose_med.data.class_flips import CITYSCAPES_FLIPS, ClassFlip, flipped_labels, mode_probabilities
from mose_med.data.datalist import DatalistEntry
from mose_med.data.dataset import EpochIndex, Transform, transformed
from mose_med.data.pictures import standardised_colours
from mose_med.errors import ConfigError, DataError
from mose_med.io.nifti.slices import OpenVolumes, as_labels, read_slice

__all__ = ["FlippedClassDataset"]


class FlippedClassDataset(Dataset[dict[str, Any]]):
    """One item per picture, with all modes of its label map and their exact probabilities.

    An item holds ``image`` (3, H, W) float32, standardised by the mean and deviation of the training images, or
    (4, H, W) where the classes that another model predicts were prepared as a last channel, kept as they are;
    ``label`` (2^F, H, W) uint8; ``rater_weights`` (2^F,) float32; and ``nodule_id``, ``patient_id``, ``slice``. H
    counts rows and W columns, as of any picture.

    Args:
        data: entries of a datalist of ``mose-med prepare cityscapes``.
        flips: those the datalist was made with.
        transform: as of :class:`~mose_med.data.MultiRaterDataset`; label maps are to be moved, never interpolated.
        seed: of the transform.
        channels: that the pictures have to have; None for 3 or 4.
        cache: keep the files open, as :class:`~mose_med.data.MultiRaterDataset` does.

    Raises:
        ConfigError: if there are no entries, or their weights are not those of the flips.
    """

    def __init__(
        self,
        data: Sequence[DatalistEntry],
        flips: Sequence[ClassFlip] = CITYSCAPES_FLIPS,
        transform: Transform | None = None,
        *,
        seed: int = 0,
        channels: int | None = None,
        cache: bool = False,
    ) -> None:
        if not data:
            raise ConfigError("data must have at least one entry, got none")
        self.data = tuple(data)
        self.flips = tuple(flips)
        self.transform = transform
        self.seed = seed
        self.channels = channels
        self._read_slice = OpenVolumes().read_slice if cache else read_slice
        weights = mode_probabilities(self.flips)
        for entry in self.data:
            if len(entry.rater_weights) != len(weights) or not np.allclose(entry.rater_weights, weights, atol=1e-6):
                raise ConfigError(
                    f"{entry.nodule_id} has other weights than {len(self.flips)} flips of these classes give"
                )
        self._weights = torch.from_numpy(weights).to(torch.float32)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | EpochIndex) -> dict[str, Any]:
        """Picture of an index, or of an index in an epoch.

        Raises:
            DataError: if its files are missing, damaged or do not fit each other.
        """
        place = key if isinstance(key, EpochIndex) else EpochIndex(0, key)
        entry = self.data[place.index]
        image, label = self._read(entry)
        moved: dict[str, Any] = {"image": image, "label": torch.from_numpy(label[None])}
        if self.transform is not None:
            moved = transformed(moved, self.transform, self.seed, place)
        # The one label map is moved, not its 32 modes, which follow from it voxel by voxel.
        modes = flipped_labels(np.asarray(moved["label"][0], dtype=np.uint8), self.flips)
        return {
            "image": moved["image"],
            "label": torch.from_numpy(modes),
            "rater_weights": self._weights.clone(),
            "nodule_id": entry.nodule_id,
            "patient_id": entry.patient_id,
            "slice": entry.slice_index,
        }

    def _read(self, entry: DatalistEntry) -> tuple[Tensor, NDArray[np.uint8]]:
        # Stored (i, j, channel) with i to the right and j down; a picture is (channel, row, column).
        picture = self._read_slice(entry.image, entry.slice_index).astype(np.float32).transpose(2, 1, 0)
        label = as_labels(self._read_slice(entry.label, entry.slice_index), entry.label)
        if label.ndim != 3 or label.shape[2] != 1 or label.shape[1::-1] != picture.shape[1:]:
            raise DataError(f"{entry.label} must hold one label map of {picture.shape[1:]}, got shape {label.shape}")
        allowed = (3, 4) if self.channels is None else (self.channels,)
        if picture.shape[0] not in allowed:
            wanted = " or ".join(str(number) for number in allowed)
            raise DataError(f"{entry.image} must have {wanted} channels, got {picture.shape[0]}")
        image = standardised_colours(torch.from_numpy(np.ascontiguousarray(picture)))
        return image, np.ascontiguousarray(label[..., 0].T)
