"""The temperatures that a calibration chooses from: a fixed grid, so that sums over voxels can be kept for each."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NEUTRAL", "TEMPERATURES", "lowest"]

_STEPS_PER_OCTAVE = 10
_OCTAVES = 4

#: From 1/16 to 16 in steps of 7 %: a network that learns overlaps saturates, and needs more than 4.
TEMPERATURES = tuple(
    2.0 ** (step / _STEPS_PER_OCTAVE) for step in range(-_OCTAVES * _STEPS_PER_OCTAVE, _OCTAVES * _STEPS_PER_OCTAVE + 1)
)
#: Index of temperature 1, which changes nothing.
NEUTRAL = TEMPERATURES.index(1.0)

_TIE = 1e-9


def lowest(curve: Tensor) -> int:
    """Index of the temperature with the lowest value; the nearest to 1 of several.

    Args:
        curve: a value for each of :data:`TEMPERATURES`; nan never wins.

    Example:
        >>> TEMPERATURES[lowest(torch.zeros(len(TEMPERATURES)))]
        1.0
    """
    values = curve.double().nan_to_num(nan=torch.inf)
    tied = (values <= values.min() + _TIE).nonzero().flatten().tolist()
    return int(min(tied, key=lambda index: abs(index - NEUTRAL)))
