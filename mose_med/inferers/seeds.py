"""The seed of a case: from the seed of the run and what the case shows, so that cases of a run err independently."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["case_seed"]


def case_seed(seed: int, values: NDArray[np.generic]) -> int:
    """Seed, below 2^64, of a run's seed and the voxels of a case.

    Values are rounded to whole HU, so that formats which store them in different types agree; in the orientation of
    the network, so that the orders of axes agree which a study can be stored in. Positions that are listed do not
    enter: a sample is the same hypothesis whatever else is asked.

    Args:
        seed: of the run.
        values: HU (i, j, k), in the orientation of the network.

    Example:
        >>> case_seed(0, np.zeros((2, 2, 1))) == case_seed(0, np.full((2, 2, 1), 0.2, np.float32))
        True
        >>> case_seed(0, np.zeros((2, 2, 1))) == case_seed(1, np.zeros((2, 2, 1)))
        False
    """
    digest = hashlib.sha256(f"{seed} {values.shape}".encode())
    limits = np.iinfo(np.int16)
    for k in range(values.shape[2]):
        digest.update(np.rint(values[..., k]).clip(limits.min, limits.max).astype("<i2").tobytes())
    return int.from_bytes(digest.digest()[:8], "little")
