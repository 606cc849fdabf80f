"""A U-Net with one answer: the usual baseline, and the trunk of ensembles, dropout and test-time augmentation.

Its loss is the cross-entropy with every rater, ``mose_med.losses.PairwiseLoss(cost="ce")``: the expectation of the
cross-entropy with one rater drawn at random, which the code of PHiSeg (Baumgartner et al. 2019) trains its U-Net with.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mose_med.baselines.parts.phiseg_unet import LIDC_CHANNELS, PhisegUNet
from mose_med.baselines.parts.sampled_network import SampledNetwork
from mose_med.networks.registry import register
from mose_med.samples import ExpertSamples

__all__ = ["DeterministicUNet"]


@register("deterministic_unet")
class DeterministicUNet(SampledNetwork):
    """PHiSeg's U-Net and a 1x1 layer: every sample is the same.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each level, finest first.
        samples_per_expert: S unless a call says otherwise.

    Raises:
        ConfigError: if a setting does not fit.

    Example:
        >>> import torch
        >>> network = DeterministicUNet(channels=(4, 8)).eval()
        >>> network(torch.zeros(1, 1, 9, 6)).logits.shape
        torch.Size([1, 1, 1, 2, 9, 6])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = LIDC_CHANNELS,
        samples_per_expert: int = 1,
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, samples_per_expert=samples_per_expert)
        self.trunk = PhisegUNet(spatial_dims, in_channels, channels)
        self.classify = (nn.Conv2d if spatial_dims == 2 else nn.Conv3d)(channels[0], out_channels, kernel_size=1)

    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        """One answer S times; arguments are those of :meth:`SampledNetwork.samples_from`, and decide nothing."""
        samples = self.checked_deviates(image, deviates).shape[2]
        logits: Tensor = self.classify(self.trunk(image))
        repeated = logits[:, None, None].expand(-1, 1, samples, *logits.shape[1:])
        return ExpertSamples(repeated, logits.new_ones(len(image), 1).float())
