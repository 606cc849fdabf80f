"""Parts of MoSE by the settings that name them: priors, gating, head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mose_med.errors import require
from mose_med.networks.head.heads import ExpertHead, PaperHead, ReleaseHead
from mose_med.networks.mose.gating import Gating, GroupedGating, UniformGating
from mose_med.networks.priors import ExpertPriors

__all__ = ["expert_gating", "expert_head", "expert_priors"]


def expert_priors(kind: str, num_experts: int, latent_dim: int) -> ExpertPriors:
    """Priors of the codes, ``stochastic`` or ``deterministic``."""
    fits = kind in ("stochastic", "deterministic")
    require(fits, f"experts must be 'stochastic' or 'deterministic', got {kind!r}")
    return ExpertPriors(num_experts, latent_dim, deterministic=kind == "deterministic")


def expert_gating(kind: str, in_channels: int, num_experts: int, groups: Sequence[int] | None) -> nn.Module:
    """Gating, ``learned`` or ``uniform``; of merged experts with the groups of its outputs."""
    require(kind in ("learned", "uniform"), f"gating must be 'learned' or 'uniform', got {kind!r}")
    outputs = num_experts if groups is None else len(groups)
    gating = Gating(in_channels, outputs) if kind == "learned" else UniformGating(outputs)
    if groups is None:
        return gating
    fits = set(groups) == set(range(num_experts))
    require(fits, f"expert_groups must name each of the {num_experts} experts from 0, got {tuple(groups)}")
    return GroupedGating(gating, torch.as_tensor(groups))


def expert_head(name: str, channels: int, out_channels: int, latent_dim: int) -> ExpertHead:
    """Head, ``release`` or ``paper``."""
    require(name in ("release", "paper"), f"head must be 'release' or 'paper', got {name!r}")
    if name == "release":
        return ReleaseHead(channels, out_channels, latent_dim)
    return PaperHead(channels, out_channels)
