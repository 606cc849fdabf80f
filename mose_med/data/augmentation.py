"""Random transforms of batches of training slices, which move the image and the masks of all raters together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mose_med.errors import ConfigError
from mose_med.runtime.seeds import numpy_stream

__all__ = ["Move", "RandFlipRotateBatchd", "RandIntensityBatchd", "flipped_and_rotated"]


class Move(NamedTuple):
    """What happens to a slice, in this order.

    Attributes:
        flips: along the first and the second axis.
        radians: of a rotation from the first axis towards the second.
        transposed: whether both axes change places after the flips; with the flips, all quarter turns and reflections.
        zoom: how many times larger the slice's content becomes.
        shift: of the content towards larger indices, as a share of each side.
    """

    flips: tuple[bool, bool]
    radians: float = 0.0
    transposed: bool = False
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def interpolates(self) -> bool:
        """Whether values between voxels are needed."""
        return self.radians != 0.0 or self.zoom != 1.0 or self.shift != (0.0, 0.0)


class RandFlipRotateBatchd(MapTransform):  # type: ignore[misc]  # monai has no types here
    """Random flips, rotation, zoom and shift of each slice of a batch.

    A MONAI dictionary transform of batches, for CPU and GPU: one call moves a whole batch where it lies. What happens
    to a slice follows from (seed, epoch, index) alone, independent of its batch. The defaults are those of
    the MoSE paper for LIDC.

    Args:
        probability: of each flip, of the transposition, and of rotation, zoom and shift.
        max_rotation_degrees: the angle is uniform within plus and minus this.
        transpose: also exchange the axes of square slices: all eight symmetries of a square.
        max_zoom: content is enlarged or reduced by at most this factor, log-uniformly; 1 for none.
        max_shift: content moves by at most this share of a side along each axis.
        seed: of all draws.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self,
        probability: float = 0.5,
        max_rotation_degrees: float = 10.0,
        *,
        transpose: bool = False,
        max_zoom: float = 1.0,
        max_shift: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(("image", "label"))
        for name, value, low, high in (
            ("probability", probability, 0.0, 1.0),
            ("max_rotation_degrees", max_rotation_degrees, 0.0, 180.0),
            ("max_zoom", max_zoom, 1.0, 4.0),
            ("max_shift", max_shift, 0.0, 0.5),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name} must be in [{low:g}, {high:g}], got {value}")
        self.probability = probability
        self.max_radians = math.radians(max_rotation_degrees)
        self.transpose = transpose
        self.max_log_zoom = math.log(max_zoom)
        self.max_shift = max_shift
        self.seed = seed

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Move a batch.

        Args:
            data: ``image`` (B, 1, H, W), ``label`` (B, R, H, W), and ``epoch`` and ``index``, B numbers each; further
                entries stay.

        Raises:
            ConfigError: if slices that are not square are to be transposed.
        """
        sides = tuple(data["image"].shape[2:])
        if self.transpose and sides[0] != sides[1]:
            raise ConfigError(f"transpose needs square slices, got {sides}")
        moves = [self.move(int(epoch), int(index)) for epoch, index in zip(data["epoch"], data["index"], strict=True)]
        return dict(data) | {
            "image": flipped_and_rotated(data["image"], moves),
            "label": flipped_and_rotated(data["label"], moves, classes=True),
        }

    def move(self, epoch: int, index: int) -> Move:
        """What happens to a slice in an epoch."""
        random = numpy_stream("augmentation", self.seed, epoch, index)
        first, second, warped = (bool(draw < self.probability) for draw in random.random(3))
        radians, log_zoom, *shift = random.uniform(-1.0, 1.0, 4) * (
            self.max_radians,
            self.max_log_zoom,
            self.max_shift,
            self.max_shift,
        )
        transposed = self.transpose and bool(random.random() < self.probability)
        if not warped:
            return Move((first, second), transposed=transposed)
        return Move((first, second), float(radians), transposed, math.exp(log_zoom), (float(shift[0]), float(shift[1])))


class RandIntensityBatchd(MapTransform):  # type: ignore[misc]  # monai has no types here
    r"""Random contrast, brightness and noise of each preprocessed slice of a batch.

    .. math:: x \mapsto (1 + g) x + b + s n, \qquad n \sim N(0, 1)

    What happens to a slice follows from (seed, epoch, index) alone. The unit is that of the preprocessed image: its own
    standard deviation where it is standardised.

    Args:
        max_contrast: g is uniform within plus and minus this.
        max_brightness: b is uniform within plus and minus this.
        max_noise: s is uniform from 0 to this.
        seed: of all draws.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self, max_contrast: float = 0.0, max_brightness: float = 0.0, max_noise: float = 0.0, *, seed: int = 0
    ) -> None:
        super().__init__(("image",))
        if not 0.0 <= max_contrast < 1.0:
            raise ConfigError(f"max_contrast must be in [0, 1), got {max_contrast}")
        for name, value in (("max_brightness", max_brightness), ("max_noise", max_noise)):
            if not 0.0 <= value < math.inf:
                raise ConfigError(f"{name} must be >= 0, got {value}")
        self.max_contrast = max_contrast
        self.max_brightness = max_brightness
        self.max_noise = max_noise
        self.seed = seed

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change the ``image`` (B, C, H, W) of a batch with ``epoch`` and ``index``, B numbers each."""
        if self.max_contrast == self.max_brightness == self.max_noise == 0.0:
            return dict(data)
        image: Tensor = data["image"]
        rows = [
            self._change(image.shape[1:], int(epoch), int(index))
            for epoch, index in zip(data["epoch"], data["index"], strict=True)
        ]
        gain, added = (torch.from_numpy(np.stack(parts)).to(image) for parts in zip(*rows, strict=True))
        return dict(data) | {"image": image * gain + added}

    def _change(self, shape: Sequence[int], epoch: int, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Factor (1, 1, 1) and summand (C, H, W) of a slice in an epoch."""
        random = numpy_stream("intensity", self.seed, epoch, index)
        contrast, brightness = random.uniform(-1.0, 1.0, 2) * (self.max_contrast, self.max_brightness)
        noise = random.standard_normal(tuple(shape), dtype=np.float32) * np.float32(random.uniform(0.0, self.max_noise))
        return np.full((1, 1, 1), 1.0 + contrast, dtype=np.float32), noise + np.float32(brightness)


def flipped_and_rotated(maps: Tensor, moves: Sequence[Move], *, classes: bool = False) -> Tensor:
    """Move every map of a batch in its own way; maps that are not interpolated keep every value.

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
        moved = _where([move.flips[axis] for move in moves], moved.flip(2 + axis), moved)
    if any(move.transposed for move in moves):
        moved = _where([move.transposed for move in moves], moved.transpose(2, 3), moved)
    places = [place for place, move in enumerate(moves) if move.interpolates]
    if not places:
        return moved
    rows = torch.tensor(places).to(maps.device, non_blocking=True)
    warped = _warped(moved[rows].to(torch.float32), [moves[place] for place in places], classes=classes)
    return moved.index_copy(0, rows, warped.to(maps.dtype))


def _where(chosen: Sequence[bool], maps: Tensor, others: Tensor) -> Tensor:
    flags = torch.tensor(chosen).to(maps.device, non_blocking=True)
    return torch.where(flags[:, None, None, None], maps, others)


def _warped(maps: Tensor, moves: Sequence[Move], *, classes: bool) -> Tensor:
    height, width = maps.shape[2:]
    radians = np.array([move.radians for move in moves])
    zoom = np.array([move.zoom for move in moves])
    shift = np.array([move.shift for move in moves])
    cos, sin = np.cos(radians) / zoom, np.sin(radians) / zoom
    # Coordinates of the grid are (column, row), each over the half of its own side. A voxel takes what is found where
    # it came from, so that the matrix is the inverse of the move.
    linear = np.stack([cos, -sin * height / width, sin * width / height, cos], axis=1).reshape(-1, 2, 2)
    origin = -(linear @ (2.0 * shift[:, ::-1, None]))
    theta = torch.from_numpy(np.concatenate([linear, origin], axis=2)).to(maps)
    grid = functional.affine_grid(theta, list(maps.shape), align_corners=False)
    mode, padding = ("nearest", "zeros") if classes else ("bilinear", "border")
    return functional.grid_sample(maps, grid, mode=mode, padding_mode=padding, align_corners=False)
