"""How the maps of a case are stored in its folder: light to import, without PyTorch.

Probabilities and entropies (nats) are stored as int16, in steps of :data:`STEP`, with the step as ``scl_slope`` of the
NIfTI header: every reader gives numbers from 0 to 1 back. A value is off by half a step at most, 1/2048; half a step
and less is 0. The step is a power of two, so that 0, one half and 1 are kept exactly. ``full`` stores float32.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["MAP_STORAGES", "STEP", "MapStorage"]

MapStorage = Literal["scaled", "full"]
MAP_STORAGES: tuple[MapStorage, ...] = ("scaled", "full")
#: Of a stored probability, and of an entropy in nats.
STEP = 1 / 1024
