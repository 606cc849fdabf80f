"""A CT image as readers return it: a plain tensor and its position.

MONAI's ``MetaTensor`` has the same ``.affine`` and is taken wherever a :class:`CtImage` is. Readers return this one, as
importing MONAI takes longer than inferring a nodule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["CtImage", "PlacedImage", "plain_tensor"]


class PlacedImage(Protocol):
    """Values (1, i, j, k) with a RAS-mm ``.affine``: a :class:`CtImage`, or a ``MetaTensor`` of MONAI."""

    @property
    def affine(self) -> Any:
        """RAS mm, (4, 4)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, i, j, k)."""


@dataclass(frozen=True, eq=False)
class CtImage:
    """A CT image in memory.

    Attributes:
        tensor: HU, (1, i, j, k).
        affine: of (i, j, k), RAS mm, (4, 4) float64.

    Example:
        >>> CtImage(torch.zeros(1, 3, 4, 5), torch.eye(4)).shape
        torch.Size([1, 3, 4, 5])
    """

    tensor: Tensor
    affine: Tensor

    @property
    def shape(self) -> torch.Size:
        """Of the tensor."""
        return self.tensor.shape

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensor."""
        return self.tensor.dtype

    def as_tensor(self) -> Tensor:
        """The tensor; a ``MetaTensor`` has the same method."""
        return self.tensor

    def numpy(self) -> Any:
        """The tensor as an array."""
        return self.tensor.numpy()


def plain_tensor(image: PlacedImage) -> Tensor:
    """The values of an image without its affine."""
    return torch.as_tensor(image.as_tensor() if hasattr(image, "as_tensor") else image)
