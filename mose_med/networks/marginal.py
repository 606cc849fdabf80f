"""The marginal distribution as one tensor, for tools that know nothing of samples.

MONAI bundles, TorchScript and ONNX want a network that maps an image to class probabilities. This one has the
parameters and state-dict names of :class:`~mose_med.networks.MoSE`; its normal deviates are drawn once and kept
beside the state dict, so that the same weights give the same output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mose_med.networks.mose import MoSE
from mose_med.samples import ExpertSamples

__all__ = ["MarginalMoSE"]


class MarginalMoSE(MoSE):
    """MoSE whose output is the expert- and sample-averaged class probability.

    Args:
        seed: of the normal deviates behind the latent codes.
        settings: as :class:`~mose_med.networks.MoSE` takes them.

    Example:
        >>> network = MarginalMoSE(channels=(8, 16), out_channels=3).eval()
        >>> network(torch.zeros(1, 1, 8, 8)).sum(dim=1).allclose(torch.ones(1, 8, 8))
        True
    """

    def __init__(self, seed: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        shape = (self.num_experts, self.samples_per_expert, self.latent_dim)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        self.deviates: Tensor
        self.register_buffer("deviates", noise, persistent=False)

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        r"""(B, in_channels, \*spatial) -> probabilities (B, C, \*spatial)."""
        samples = self.samples_from(image, self.deviates)
        of_experts = torch.softmax(samples.logits.float(), dim=3).mean(dim=2)
        weighted = of_experts.flatten(2) * samples.expert_probs.unsqueeze(2)
        return weighted.sum(dim=1).view(of_experts.shape[:1] + of_experts.shape[2:])

    def samples_from(self, image: Tensor, deviates: Tensor) -> ExpertSamples:
        r"""Samples of an image (B, in_channels, \*spatial) at standard normal numbers (K, S, L) or (B, K, S, L)."""
        codes = self.priors.mean.unsqueeze(1) + self.priors.std().unsqueeze(1) * deviates
        if codes.dim() == 3:
            codes = codes.unsqueeze(0)
        return self.expert_samples(image, codes.expand(image.shape[0], -1, -1, -1))
