"""Monte Carlo dropout of the deterministic U-Net (Gal and Ghahramani, ICML 2016; Kendall et al., BMVC 2017).

As in Kendall's Bayesian SegNet, dropout acts in the centre, at rate 1/2: after the last two blocks of the encoder and
the first two of the decoder.

Departure: whole channels are dropped (Tompson et al., CVPR 2015), not single values. Which ones follows from one
standard normal number a channel, so that all windows and slices of a case lose the same channels and a sample stays
coherent.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor, nn

from mose_med.baselines.parts.phiseg_unet import LIDC_CHANNELS, PhisegUNet
from mose_med.baselines.parts.sampled_network import SampledNetwork
from mose_med.errors import require
from mose_med.networks.registry import register
from mose_med.samples import ExpertSamples

__all__ = ["MonteCarloDropout"]


@register("mc_dropout")
class MonteCarloDropout(SampledNetwork):
    """A U-Net whose samples differ in the channels that are dropped, in training as afterwards.

    The loss is that of :class:`~mose_med.baselines.deterministic_unet.DeterministicUNet`. What samples show is how
    little the weights are known, not how raters differ.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each level, finest first.
        dropout: probability that a channel is dropped, in (0, 1).
        samples_per_expert: S unless a call says otherwise.

    Raises:
        ConfigError: if a setting does not fit.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = LIDC_CHANNELS,
        dropout: float = 0.5,
        samples_per_expert: int = 16,
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, samples_per_expert=samples_per_expert)
        require(0.0 < dropout < 1.0, f"dropout must be in (0, 1), got {dropout}")
        self.dropout = dropout
        self.trunk = PhisegUNet(spatial_dims, in_channels, channels)
        self.noise_dim = sum(self.trunk.central_channels)
        self.classify = (nn.Conv2d if spatial_dims == 2 else nn.Conv3d)(channels[0], out_channels, kernel_size=1)

    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        """Samples of given numbers; arguments are those of :meth:`SampledNetwork.samples_from`.

        A channel is kept where its deviate lies above the quantile of the rate.
        """
        deviates = self.checked_deviates(image, deviates)[:, 0]
        kept = deviates > NormalDist().inv_cdf(self.dropout)
        factors = (kept / (1.0 - self.dropout)).to(image.dtype)
        pieces = [self._logits(image, factors[:, span]) for span in self.sample_spans(image, factors.shape[1])]
        logits = torch.cat(pieces, dim=1)
        return ExpertSamples(logits.unsqueeze(1), logits.new_ones(len(image), 1).float())

    def _logits(self, image: Tensor, factors: Tensor) -> Tensor:
        r"""Logits (B, S, C, \*spatial) for factors (B, S, noise_dim) of the central channels."""
        logits: Tensor = self.classify(
            self.trunk(image, torch.split(factors, list(self.trunk.central_channels), dim=2))
        )
        return logits.reshape(*factors.shape[:2], *logits.shape[1:])
