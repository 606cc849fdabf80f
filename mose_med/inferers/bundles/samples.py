"""Samples of a batch for MONAI's evaluator, from any network of the protocol."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mose_med.networks.priors import CodeChoice
from mose_med.networks.protocol import (
    StochasticNetwork,
    default_samples,
    draw_fields,
    samples_of,
    standard_deviates,
)
from mose_med.samples import ExpertSamples

__all__ = ["SamplesInferer"]


class SamplesInferer:
    """An inferer of MONAI's evaluators: draw standard deviates, and fields if there are some; call ``samples_from``.

    Example:
        >>> from mose_med.networks import MoSE
        >>> network = MoSE(channels=(4, 8), num_experts=3).eval()
        >>> SamplesInferer()(torch.zeros(2, 1, 8, 8), network, samples_per_expert=5).logits.shape
        torch.Size([2, 3, 5, 2, 8, 8])
    """

    def __call__(
        self,
        inputs: Tensor,
        network: StochasticNetwork,
        *args: Any,
        samples_per_expert: int | None = None,
        generator: torch.Generator | None = None,
        codes: CodeChoice = "random",
        **kwargs: Any,
    ) -> ExpertSamples:
        """Samples of a batch.

        Args:
            inputs: (B, in_channels, *spatial).
            network: in eval mode.
            *args: not looked at.
            samples_per_expert: S; the network's own number if None.
            generator: CPU generator; PyTorch's default generator if None.
            codes: how the deviates are drawn, see :func:`~mose_med.networks.protocol.standard_deviates`.
            **kwargs: not looked at.
        """
        samples = default_samples(network) if samples_per_expert is None else samples_per_expert
        deviates = standard_deviates(network, samples, len(inputs), generator, codes).to(inputs.device)
        return samples_of(network, inputs, deviates, draw_fields(network, inputs, samples, generator))
