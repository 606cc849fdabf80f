"""Random streams by purpose: no two uses of the user's seed draw the same numbers.

NumPy's ``SeedSequence`` pads short lists with zeros, so that ``[seed, epoch]`` and ``[seed, epoch, 0]`` are one stream.
Here purpose, seed and place are hashed as one text, and differ whenever any of them does.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

__all__ = ["numpy_stream", "stream_seed"]


def stream_seed(purpose: str, seed: int, *place: int | str, bits: int = 64) -> int:
    """A seed for one purpose at one place.

    Args:
        purpose: what is drawn, in words that no other use has.
        seed: of the user.
        place: where it is drawn: epoch, index, rank, name of a series.
        bits: of the result, at most 256.

    Example:
        >>> stream_seed("order", 0, 1) == stream_seed("order", 0, 1, 0)
        False
    """
    text = json.dumps([purpose, *(part if isinstance(part, str) else int(part) for part in (seed, *place))])
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") >> (256 - bits)


def numpy_stream(purpose: str, seed: int, *place: int | str) -> np.random.Generator:
    """NumPy's generator of :func:`stream_seed`."""
    return np.random.default_rng(stream_seed(purpose, seed, *place, bits=128))
