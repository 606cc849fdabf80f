"""Sides that are multiples of a stride, and back; both can be scripted."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["cropped", "padded"]


def padded(image: Tensor, stride: int) -> Tensor:
    r"""Repeat the last voxels of (B, channels, \*spatial) until every side is a multiple of ``stride``."""
    pads: list[int] = []
    for axis in range(image.dim() - 1, 1, -1):
        pads += [0, -image.shape[axis] % stride]
    return F.pad(image, pads, mode="replicate") if max(pads) > 0 else image


def cropped(maps: Tensor, spatial: list[int]) -> Tensor:
    r"""The first voxels of (..., \*spatial): the inverse of :func:`padded`."""
    for axis, side in enumerate(spatial):
        maps = maps.narrow(maps.dim() - len(spatial) + axis, 0, side)
    return maps
