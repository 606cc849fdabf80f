"""Random flips of classes: a distribution of segmentations with exactly known modes and probabilities.

Each flip turns one class into another of its own, with a given probability, independently of the others. F flips give
2^F modes, in binary counting order: of mode m, flip f happens if bit F - 1 - f of m is set, so that mode 0 flips
nothing and the last one flips all. This is how multimodal Cityscapes is made (Kohl et al. 2018; MoSE paper, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import ConfigError

__all__ = ["CITYSCAPES_FLIPS", "ClassFlip", "flip_modes", "flipped_labels", "mode_probabilities"]


class ClassFlip(NamedTuple):
    """Class ``label`` becomes class ``flipped`` with ``probability``."""

    label: int
    flipped: int
    probability: float


#: Sidewalk, person, car, vegetation and road, with classes from 1 (0 is void).
CITYSCAPES_FLIPS = (
    ClassFlip(2, 20, 8 / 17),
    ClassFlip(12, 21, 7 / 17),
    ClassFlip(14, 22, 6 / 17),
    ClassFlip(9, 23, 5 / 17),
    ClassFlip(1, 24, 4 / 17),
)


def flip_modes(flips: Sequence[ClassFlip]) -> NDArray[np.bool_]:
    """Which flips happen in which mode, (2^F, F).

    Example:
        >>> flip_modes(CITYSCAPES_FLIPS[:2]).astype(int).tolist()
        [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    modes = np.arange(2 ** len(flips))[:, None]
    return np.asarray((modes >> np.arange(len(flips))[::-1]) % 2, dtype=bool)


def mode_probabilities(flips: Sequence[ClassFlip]) -> NDArray[np.float64]:
    """Probability of every mode, (2^F,), summing to 1.

    Raises:
        ConfigError: if a probability is not in [0, 1].

    Example:
        >>> mode_probabilities([ClassFlip(1, 2, 0.25)]).tolist()
        [0.75, 0.25]
    """
    probabilities = np.asarray([flip.probability for flip in flips], dtype=np.float64)
    wrong = probabilities[~((probabilities >= 0) & (probabilities <= 1))]
    if wrong.size:
        raise ConfigError(f"probability of a flip must be in [0, 1], got {wrong[0]}")
    return np.asarray(np.where(flip_modes(flips), probabilities, 1 - probabilities).prod(axis=1))


def flipped_labels(label: NDArray[np.uint8], flips: Sequence[ClassFlip]) -> NDArray[np.uint8]:
    r"""The label map in every mode.

    Args:
        label: classes, any shape.
        flips: as many as there are.

    Returns:
        (2^F, \*shape of the label).

    Example:
        >>> flipped_labels(np.array([0, 1], dtype=np.uint8), [ClassFlip(1, 2, 0.25)]).tolist()
        [[0, 1], [0, 2]]
    """
    tables = np.tile(np.arange(256, dtype=np.uint8), (2 ** len(flips), 1))
    happens = flip_modes(flips)
    for column, flip in enumerate(flips):
        tables[happens[:, column], flip.label] = flip.flipped
    return tables[:, label]
