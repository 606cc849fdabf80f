"""Images encoded by MoSE: the backbone runs once, and samples are decoded on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mose_med.networks.backbones.unet import Features
from mose_med.networks.encoded import Part
from mose_med.networks.memory import spans_at_once
from mose_med.samples import ExpertSamples

if TYPE_CHECKING:
    from mose_med.networks.mose.network import MoSE

__all__ = ["EncodedByMoSE"]


class EncodedByMoSE:
    """Features of a batch, see :class:`~mose_med.networks.encoded.EncodedImages`.

    Args:
        network: in eval mode.
        image: (B, in_channels, *spatial), on the network's device.
    """

    def __init__(self, network: MoSE, image: Tensor) -> None:
        self._network = network
        self._spatial = list(image.shape[2:])
        spans = spans_at_once(len(image), image[0, 0].numel(), image.device)
        self._features = _joined([network.features(image[span]) for span in spans])

    def expert_probs(self) -> Tensor:
        """Probabilities of the experts, (B, K)."""
        found: Tensor = self._network.gating(self._features.global_feature)
        return found

    def samples(
        self,
        deviates: Tensor,
        fields: Sequence[Tensor] = (),
        *,
        members: slice | Sequence[int] = slice(None),
        part: Part | None = None,
    ) -> ExpertSamples:
        """Samples of some images, or of a part of them, decoded alone unless noise enters before the last level."""
        features, codes = self._of(members), self._network.priors.at(deviates)
        codes = codes.expand(len(features.dense_feature), *codes.shape[-3:])
        early, spatial = self._network.noise_is_early, self._spatial
        if part is not None and not early:
            dense = features.dense_feature[..., part[0], part[1]].contiguous()
            features, spatial = features._replace(dense_feature=dense), list(dense.shape[2:])
        logits = self._network.decode(features, codes.flatten(1, 2), spatial)
        if part is not None and early:
            logits = logits[..., part[0], part[1]]
        return ExpertSamples(logits.view(*codes.shape[:3], *logits.shape[2:]), self.expert_probs()[members])

    def chosen(
        self, experts: Tensor, deviates: Tensor, fields: Sequence[Tensor] = (), *, members: slice = slice(None)
    ) -> Tensor:
        """Logits of samples whose experts are given: only those are decoded."""
        return self._network.decode(self._of(members), self._network.priors.chosen(experts, deviates), self._spatial)

    def _of(self, members: slice | Sequence[int]) -> Features:
        found = self._features
        skips = [skip[members] for skip in found.skips]
        return Features(found.global_feature[members], found.dense_feature[members], skips)


def _joined(parts: Sequence[Features]) -> Features:
    """Features of the parts of a batch as those of the batch."""
    if len(parts) == 1:
        return parts[0]
    global_feature, dense_feature = (
        torch.cat(of_parts) for of_parts in zip(*(part[:2] for part in parts), strict=True)
    )
    skips = zip(*(part.skips for part in parts), strict=True)
    return Features(global_feature, dense_feature, [torch.cat(of_level) for of_level in skips])
