"""How probable each expert is for an image (section 3.2 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mose_med.networks.temperature import Temperature

__all__ = ["Gating", "GroupedGating", "UniformGating"]


class Gating(nn.Module):
    """Global average pool, two hidden layers with ReLU, one linear layer without bias (as in the release), softmax.

    What enters the softmax is divided by ``temperature``, 1 until the network is calibrated.

    Args:
        in_channels: channels of the global feature, also the width of the hidden layers.
        num_experts: K.
    """

    def __init__(self, in_channels: int, num_experts: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_channels, in_channels),
            nn.ReLU(),
            nn.Linear(in_channels, in_channels),
            nn.ReLU(),
            nn.Linear(in_channels, num_experts, bias=False),
        )
        self.temperature = Temperature()

    def forward(self, global_feature: Tensor) -> Tensor:
        r"""(B, in_channels, \*coarse) or pooled (B, in_channels) -> float32 (B, K), rows summing to 1."""
        pooled = global_feature.flatten(2).mean(dim=2) if global_feature.dim() > 2 else global_feature
        return torch.softmax(self.temperature(self.layers(pooled).float()), dim=1)


class UniformGating(nn.Module):
    """The same probability for every expert and every image (second row of Table 2 of the paper).

    Args:
        num_experts: K.
    """

    def __init__(self, num_experts: int) -> None:
        super().__init__()
        self.num_experts = num_experts

    def forward(self, global_feature: Tensor) -> Tensor:
        r"""(B, in_channels, \*coarse) -> float32 (B, K) of 1/K, without gradient."""
        shape = (global_feature.shape[0], self.num_experts)
        return torch.full(shape, 1.0 / self.num_experts, dtype=torch.float32, device=global_feature.device)


class GroupedGating(nn.Module):
    """Probability of groups of experts: the sum over their members.

    Args:
        gating: of the single experts.
        groups: group of each expert, shape (K,), numbered from 0.
    """

    def __init__(self, gating: nn.Module, groups: Tensor) -> None:
        super().__init__()
        self.gating = gating
        self.membership: Tensor
        # Not in the state dict: the groups are a setting of the network.
        self.register_buffer("membership", torch.nn.functional.one_hot(groups).float(), persistent=False)

    def forward(self, global_feature: Tensor) -> Tensor:
        r"""(B, in_channels, \*coarse) -> group probabilities in float32, rows summing to 1."""
        probs: Tensor = self.gating(global_feature)
        # Not a matrix product, which would be in bfloat16 under autocast: the rows would not sum to 1.
        return (probs.unsqueeze(2) * self.membership).sum(dim=1)

    @torch.jit.unused
    def groups(self) -> Tensor:
        """Group of each expert, shape (K,)."""
        return self.membership.argmax(dim=1)
