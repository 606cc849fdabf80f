"""Preprocessing of street scenes: standard colours, square crops, flips of left and right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    EnsureTyped,
    MapTransform,
    RandFlipd,
    Randomizable,
    Resized,
    SpatialCrop,
)
from monai.utils import ImageMetaKey
from torch import Tensor

from mose_med.errors import ConfigError

__all__ = [
    "CITYSCAPES_MEAN",
    "CITYSCAPES_STD",
    "PictureInputd",
    "RandSquareCropd",
    "picture_augmentation",
    "picture_centre",
    "standardised_colours",
]

#: Of the training images' red, green and blue, in [0, 1].
CITYSCAPES_MEAN = (0.28689554, 0.32513303, 0.28389177)
CITYSCAPES_STD = (0.18696375, 0.19017339, 0.18720214)

_KEYS = ("image", "label")


def standardised_colours(picture: Tensor) -> Tensor:
    r"""Scale red, green and blue to zero mean and unit deviation over the training images.

    Args:
        picture: 0 to 255, shape (3 or more, \*spatial); channels after the third stay as they are.

    Returns:
        float32 of the same shape.
    """
    shape = (3,) + (1,) * (picture.ndim - 1)
    mean, std = (torch.tensor(values).view(shape) for values in (CITYSCAPES_MEAN, CITYSCAPES_STD))
    result = picture.to(torch.float32, copy=True)
    result[:3] = (result[:3] / 255 - mean) / std
    return result


class PictureInputd(MapTransform):  # type: ignore[misc]  # monai has no types here
    """Pictures as they are stored, (column, row, 1, channel), to (channel, row, column, 1) of standard colours.

    Args:
        keys: of the pictures, as MONAI's ``LoadImaged`` gives them; their file name is kept, their affine is not.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Turn and standardise each picture."""
        result = dict(data)
        for key in self.key_iterator(result):
            picture = torch.as_tensor(result[key]).as_subclass(Tensor).permute(3, 1, 0, 2)
            name = result[key].meta[ImageMetaKey.FILENAME_OR_OBJ]
            result[key] = MetaTensor(standardised_colours(picture), meta={ImageMetaKey.FILENAME_OR_OBJ: name})
        return result


class RandSquareCropd(Randomizable, MapTransform):  # type: ignore[misc]  # monai has no types here
    """Cut the same random square out of all maps.

    Args:
        keys: of maps (C, H, W) of one size.
        shares: possible sides, of the shorter side of the picture.

    Raises:
        ConfigError: if there is no share or one is not in (0, 1].
    """

    def __init__(self, keys: KeysCollection, shares: Sequence[float]) -> None:
        super().__init__(keys)
        if not shares or not all(0 < share <= 1 for share in shares):
            raise ConfigError(f"crop_shares must be numbers in (0, 1], at least one, got {list(shares)}")
        self.shares = tuple(shares)
        self._side = 0
        self._corner: tuple[int, ...] = (0, 0)

    def randomize(self, data: tuple[int, int]) -> None:
        """Draw side and corner in a picture of ``data`` rows and columns."""
        self._side = max(1, int(min(data) * self.R.choice(self.shares)))
        self._corner = tuple(int(self.R.randint(0, size - self._side + 1)) for size in data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut."""
        rows, columns = data[self.keys[0]].shape[1:]
        self.randomize((rows, columns))
        crop = SpatialCrop(roi_start=self._corner, roi_end=[start + self._side for start in self._corner])
        return dict(data) | {key: crop(data[key]) for key in self.key_iterator(dict(data))}


def picture_augmentation(
    size: Sequence[int], probability: float = 0.5, crop_shares: Sequence[float] = (0.60, 0.73, 0.86, 0.99)
) -> Compose:
    """Random flip of left and right and random square crop, rescaled to one size (Cityscapes of the MoSE paper).

    Args:
        size: rows and columns of the result.
        probability: of the flip.
        crop_shares: possible sides of the crop, of the shorter side of the picture.

    Returns:
        MONAI dictionary transform of items with ``image`` (C, H, W) and ``label`` (R, H, W); labels take their nearest
        neighbour.

    Raises:
        ConfigError: if an argument is out of range.
    """
    if not 0.0 <= probability <= 1.0:
        raise ConfigError(f"probability must be in [0, 1], got {probability}")
    return Compose(
        [
            RandFlipd(_KEYS, prob=probability, spatial_axis=1),
            RandSquareCropd(_KEYS, crop_shares),
            Resized(_KEYS, spatial_size=size, mode=("bilinear", "nearest")),
            EnsureTyped(_KEYS, dtype=(torch.float32, torch.uint8), track_meta=False),
        ]
    )


def picture_centre(size: Sequence[int]) -> Compose:
    """The middle of the picture, as validation sees it.

    Args:
        size: rows and columns.
    """
    return Compose(
        [
            CenterSpatialCropd(_KEYS, roi_size=size),
            EnsureTyped(_KEYS, dtype=(torch.float32, torch.uint8), track_meta=False),
        ]
    )
