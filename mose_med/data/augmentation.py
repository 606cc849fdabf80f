"""Random transforms of batches of training slices, which move the image and the masks of all raters together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.transforms import MapTransform
from torch import Tensor
from torch.nn import functional

from mose_med.errors import ConfigError
from mose_med.seeds import numpy_stream

__all__ = ["Move", "RandFlipRotateBatchd", "flipped_and_rotated"]


class Move(NamedTuple):
    """Flips of a slice along its first and second axis, then a rotation from the first towards the second."""

    flips: tuple[bool, bool]
    radians: float


class RandFlipRotateBatchd(MapTransform):  # type: ignore[misc]  # monai has no types here
    """Random flips along both axes and a random rotation of each slice of a batch (MoSE paper, LIDC).

    A MONAI dictionary transform of batches, for CPU and GPU: one call moves a whole batch where it lies. What happens
    to a slice follows from (seed, epoch, index) alone, wherever in whichever batch it comes.

    Args:
        probability: of each flip and of the rotation.
        max_rotation_degrees: the angle is uniform within plus and minus this.
        seed: of all draws.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(self, probability: float = 0.5, max_rotation_degrees: float = 10.0, *, seed: int = 0) -> None:
        super().__init__(("image", "label"))
        if not 0.0 <= probability <= 1.0:
            raise ConfigError(f"probability must be in [0, 1], got {probability}")
        if not 0.0 <= max_rotation_degrees <= 180.0:
            raise ConfigError(f"max_rotation_degrees must be in [0, 180], got {max_rotation_degrees}")
        self.probability = probability
        self.max_radians = math.radians(max_rotation_degrees)
        self.seed = seed

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Move a batch.

        Args:
            data: ``image`` (B, 1, H, W), ``label`` (B, R, H, W), and ``epoch`` and ``index``, B numbers each; further
                entries stay.
        """
        moves = [self.move(int(epoch), int(index)) for epoch, index in zip(data["epoch"], data["index"], strict=True)]
        return dict(data) | {
            "image": flipped_and_rotated(data["image"], moves),
            "label": flipped_and_rotated(data["label"], moves, classes=True),
        }

    def move(self, epoch: int, index: int) -> Move:
        """What happens to a slice in an epoch."""
        random = numpy_stream("augmentation", self.seed, epoch, index)
        first, second, rotate = (bool(draw < self.probability) for draw in random.random(3))
        radians = float(random.uniform(-self.max_radians, self.max_radians))
        return Move((first, second), radians if rotate else 0.0)


def flipped_and_rotated(maps: Tensor, moves: Sequence[Move], *, classes: bool = False) -> Tensor:
    """Move every map of a batch in a way of its own; maps that are not rotated keep every value.

    Args:
        maps: (B, C, H, W).
        moves: of each of the B.
        classes: take the nearest neighbour, and background (0) from outside; else interpolate linearly, and continue
            the map by its border.

    Returns:
        The moved maps, of the same shape and type.
    """
    moved = maps
    for axis in (0, 1):
        flags = torch.tensor([move.flips[axis] for move in moves]).to(maps.device, non_blocking=True)
        moved = torch.where(flags[:, None, None, None], moved.flip(2 + axis), moved)
    places = [place for place, move in enumerate(moves) if move.radians != 0.0]
    if not places:
        return moved
    rows = torch.tensor(places).to(maps.device, non_blocking=True)
    turned = _rotated(moved[rows].to(torch.float32), [moves[place].radians for place in places], classes=classes)
    return moved.index_copy(0, rows, turned.to(maps.dtype))


def _rotated(maps: Tensor, radians: Sequence[float], *, classes: bool) -> Tensor:
    height, width = maps.shape[2:]
    cos, sin = np.cos(radians), np.sin(radians)
    none = np.zeros(len(radians))
    # Coordinates of the grid are (column, row), each over the half of its own side.
    inverse = np.stack([cos, -sin * height / width, none, sin * width / height, cos, none], axis=1).reshape(-1, 2, 3)
    theta = torch.from_numpy(inverse).to(maps)
    grid = functional.affine_grid(theta, list(maps.shape), align_corners=False)
    mode, padding = ("nearest", "zeros") if classes else ("bilinear", "border")
    return functional.grid_sample(maps, grid, mode=mode, padding_mode=padding, align_corners=False)
