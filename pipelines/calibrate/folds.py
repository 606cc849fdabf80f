"""Cross-fitting: every patient is scored at temperatures fitted on others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from mose_med.errors import ConfigError

__all__ = ["patient_folds"]


def patient_folds(patients: Sequence[str], folds: int) -> Tensor:
    """Fold of every image, shape (B,), numbered from 0.

    All images of a patient are in the same fold. The folds hold equally many patients, give or take one. The order of
    the images does not matter.

    Args:
        patients: whose image it is.
        folds: how many.

    Raises:
        ConfigError: if there are not enough patients, or fewer than two folds.

    Example:
        >>> patient_folds(["a", "b", "a"], 2).tolist()
        [1, 0, 1]
    """
    names = sorted(set(patients), key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
    if not 2 <= folds <= len(names):
        raise ConfigError(f"folds must be from 2 to the {len(names)} patients of the part, got {folds}")
    fold_of = {name: rank % folds for rank, name in enumerate(names)}
    return torch.tensor([fold_of[patient] for patient in patients])
