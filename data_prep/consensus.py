"""One mask from those of several raters: by majority, or by STAPLE (Warfield et al. 2004) through SimpleITK."""

from __future__ import annotations

from typing import Literal

import numpy as np
import SimpleITK
from numpy.typing import NDArray

__all__ = ["ConsensusMethod", "majority", "staple"]

ConsensusMethod = Literal["majority", "staple"]


def majority(masks: NDArray[np.integer], weights: NDArray[np.floating], num_classes: int) -> NDArray[np.uint8]:
    r"""The class with most of the raters' weight; the lower of equal ones, so that background wins a tie.

    Args:
        masks: classes, (\*spatial, R).
        weights: of the raters, (R,) or broadcast against ``masks``.
        num_classes: with background.

    Example:
        >>> majority(np.array([[1, 1, 0], [1, 0, 0]]), np.ones(3) / 3, num_classes=2)
        array([1, 0], dtype=uint8)
    """
    votes = np.stack([((masks == label) * weights).sum(axis=-1) for label in range(num_classes)])
    # Weights such as four times 1/4 add up in floating point: rounding keeps a tie a tie.
    labels: NDArray[np.integer] = votes.round(9).argmax(axis=0)
    return labels.astype(np.uint8)


def staple(masks: NDArray[np.integer], num_classes: int) -> NDArray[np.uint8]:
    """The mask that explains the raters best, each with its own sensitivity and specificity, estimated with it.

    Where all raters agree, or there is one only, there is nothing to estimate. Voxels that several classes explain
    equally well are background.

    Args:
        masks: classes, (i, j, k, R).
        num_classes: with background.
    """
    first = masks[..., 0]
    if (masks == first[..., None]).all():
        return first.astype(np.uint8)
    images = [
        SimpleITK.GetImageFromArray(np.ascontiguousarray(mask, dtype=np.uint8)) for mask in np.moveaxis(masks, -1, 0)
    ]
    if num_classes == 2:
        probability: NDArray[np.floating] = SimpleITK.GetArrayFromImage(SimpleITK.STAPLE(images, 1.0))
        return (probability > 0.5).astype(np.uint8)
    fused = SimpleITK.GetArrayFromImage(SimpleITK.MultiLabelSTAPLE(images, num_classes))
    return np.where(fused < num_classes, fused, 0).astype(np.uint8)
