"""Entropy of a region, voxel by voxel, in nats: in all, and the part that is between the experts."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mose_med.inferers.regions import Region
from mose_med.metrics import expert_entropy_split, predictive_entropy

__all__ = ["entropy", "entropy_between_experts"]


def entropy(region: Region) -> NDArray[np.float32]:
    """Entropy of the marginal (i, j, k); 0 where no window was."""
    foreground = torch.from_numpy(region.probability()).clamp(0, 1)
    return np.asarray(predictive_entropy(torch.stack([1 - foreground, foreground])[None])[0].numpy()) * region.looked()


def entropy_between_experts(region: Region) -> NDArray[np.float32]:
    """Mutual information of expert and label (i, j, k); 0 where no window was."""
    looked = region.looked()
    foreground = torch.from_numpy(region.expert_means.astype(np.float32)).movedim(-1, 0).clamp(0, 1)
    probs = np.where(looked[..., None], region.expert_probs(), np.float32(1 / region.gating.shape[-1]))
    split = expert_entropy_split(
        torch.stack([1 - foreground, foreground], dim=1)[None], torch.from_numpy(probs).movedim(-1, 0)[None]
    )
    return np.asarray(split.between[0].clamp_min(0).numpy()) * looked
