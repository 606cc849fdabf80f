"""Samples of a network for a batch of slices, in both forms, over features that are computed once.

Everything random of a slice is drawn from (seed, index of the slice), so that no result depends on the batch size or on
which other slices are evaluated. Quadrature codes of the compact form depend on neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mose_med.networks import MoSE
from mose_med.networks.priors import DEFAULT_CODES, Codes, quadrature_deviates
from mose_med.networks.unet import Features
from mose_med.samples import ExpertSamples, WeightedSamples
from mose_med.seeds import stream_seed

__all__ = ["BatchPrediction", "SampleSet", "joined", "sample_set"]

#: Samples decoded at once; their logits are the largest thing in memory.
_SAMPLES_AT_ONCE = 256


class SampleSet(NamedTuple):
    """What the metrics need of the samples of B slices.

    Attributes:
        masks: argmax of every sample, (B, N, H, W) uint8.
        weights: (B, N).
        probs: marginal class probabilities, (B, C, H, W).
    """

    masks: Tensor
    weights: Tensor
    probs: Tensor


class BatchPrediction:
    """The distributions that a network predicts for a batch, to draw from as often as one likes.

    Args:
        network: in eval mode.
        images: (B, in_channels, H, W), on the network's device.
        first: index of the first slice of the batch.
    """

    def __init__(self, network: MoSE, images: Tensor, first: int) -> None:
        self._network = network
        self._first = first
        self._spatial = list(images.shape[2:])
        self._features = network.features(images)
        self.expert_probs: Tensor = network.gating(self._features.global_feature)

    def compact(self, num_samples: int, seed: int, codes: Codes = DEFAULT_CODES) -> SampleSet:
        """Compact form: as many samples of each expert as fit ``num_samples``, at least one."""
        latents, weights = self._compact_codes(num_samples, seed, codes)
        return self._sample_set(latents, weights)

    @property
    def global_feature(self) -> Tensor:
        """What the gating looks at."""
        return self._features.global_feature

    def standard(self, num_samples: int, seed: int) -> SampleSet:
        """Standard form: equally probable samples, an expert drawn for each."""
        probs, latents = self.expert_probs.cpu(), []
        for row in range(len(probs)):
            generator = _generator("standard samples", seed, self._first + row)
            experts = torch.multinomial(probs[row : row + 1], num_samples, replacement=True, generator=generator)
            latents.append(self._network.priors.draw_from(experts, generator))
        weights = self.expert_probs.new_full((len(probs), num_samples), 1.0 / num_samples)
        return self._sample_set(torch.cat(latents), weights)

    def experts(self, num_samples: int, seed: int, codes: Codes = DEFAULT_CODES) -> ExpertSamples:
        """The samples of :meth:`compact` as logits, by expert."""
        latents, _ = self._compact_codes(num_samples, seed, codes)
        logits = self._network.decode(self._features, latents, self._spatial)
        by_expert = logits.view(*self.expert_probs.shape, -1, *logits.shape[2:])
        return ExpertSamples(by_expert, self.expert_probs)

    def _compact_codes(self, num_samples: int, seed: int, codes: Codes) -> tuple[Tensor, Tensor]:
        """Codes (B, N, L) and weights (B, N), one expert after the other."""
        images, experts = self.expert_probs.shape
        each = max(1, num_samples // experts)
        if codes == "quadrature":
            points = quadrature_deviates(each, self._network.latent_dim)
            latents = self._network.priors.at(points).expand(images, -1, -1, -1)
        else:
            generators = (_generator("compact samples", seed, self._first + row) for row in range(images))
            latents = torch.cat([self._network.draw_latents(1, each, generator) for generator in generators])
        return latents.flatten(1, 2), (self.expert_probs / each).repeat_interleave(each, dim=1)

    def _sample_set(self, latents: Tensor, weights: Tensor) -> SampleSet:
        step = max(1, _SAMPLES_AT_ONCE // latents.shape[1])
        return joined([self._part(latents, weights, rows) for rows in _spans(len(latents), step)])

    def _part(self, latents: Tensor, weights: Tensor, rows: slice) -> SampleSet:
        found = self._features
        features = Features(found.global_feature[rows], found.dense_feature[rows], [skip[rows] for skip in found.skips])
        logits = self._network.decode(features, latents[rows], self._spatial)
        return sample_set(WeightedSamples(logits, weights[rows]))


def sample_set(samples: WeightedSamples) -> SampleSet:
    """Hard masks, weights and marginal of a set of samples."""
    probs = samples.logits.float().softmax(dim=2)
    marginal = torch.bmm(samples.weights.float().unsqueeze(1), probs.flatten(2)).view(len(probs), *probs.shape[2:])
    # max, whose indices are those of argmax: over an inner axis argmax is twenty times slower on the CPU.
    masks = samples.logits.max(dim=2).indices
    return SampleSet(masks.to(torch.uint8), samples.weights, marginal)


def joined(sets: Sequence[SampleSet]) -> SampleSet:
    """The sets of several batches of slices as one."""
    return SampleSet(*(torch.cat(parts) for parts in zip(*sets, strict=True)))


def _spans(length: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, length, step))


def _generator(purpose: str, seed: int, index: int) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(purpose, seed, index))
