"""Samples of a network for a batch of slices, in both forms, over what the network computes once.

Everything random of a slice is drawn from (seed, index of the slice), so that no result depends on the batch size or on
which other slices are evaluated. Quadrature codes of the compact form depend on neither.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor

from mose_med.checkpoint import Checkpoint, build_network
from mose_med.inferers.precision import Precision, computing_in
from mose_med.networks.encoded import encoded
from mose_med.networks.memory import lay_channels_last
from mose_med.networks.priors import DEFAULT_CODES, Codes
from mose_med.networks.protocol import StochasticNetwork, draw_fields, standard_deviates
from mose_med.runtime.seeds import stream_seed
from mose_med.samples import ExpertSamples, WeightedSamples

__all__ = ["BatchPrediction", "SampleSet", "joined", "sample_set", "scored_network"]

#: Samples decoded at once; their logits are the largest thing in memory.
_SAMPLES_AT_ONCE = 256


def scored_network(checkpoint: Checkpoint, source: str, device: torch.device) -> StochasticNetwork:
    """The network of a checkpoint in eval mode, as it is fastest on a device.

    Args:
        checkpoint: of a training.
        source: names it in messages.
        device: to compute on.
    """
    network = build_network(checkpoint, source).to(device)
    lay_channels_last(network)
    return network


class SampleSet(NamedTuple):
    """The samples of B slices, as the metrics need them.

    Attributes:
        masks: argmax of every sample, (B, N, H, W) uint8.
        weights: (B, N).
        probs: marginal class probabilities, (B, C, H, W).
    """

    masks: Tensor
    weights: Tensor
    probs: Tensor


class BatchPrediction:
    """The distributions that a network predicts for a batch, to draw from any number of times.

    Args:
        network: in eval mode.
        images: (B, in_channels, H, W), on the network's device.
        first: index of the first slice of the batch.
        precision: of the network's products; what follows them is in float32.
    """

    def __init__(self, network: StochasticNetwork, images: Tensor, first: int, precision: Precision = "fp32") -> None:
        self._network = network
        self._first = first
        self._images = images
        self._precision = precision
        with self._computing():
            self.encoded = encoded(network, images)
            self.expert_probs: Tensor = self.encoded.expert_probs()

    def _computing(self) -> AbstractContextManager[None]:
        return computing_in(self._precision, self._images.device)

    def compact(self, num_samples: int, seed: int, codes: Codes = DEFAULT_CODES) -> SampleSet:
        """Compact form: as many samples of each expert as fit ``num_samples``, at least one."""
        deviates = self._deviates(num_samples, seed, codes)

        def drawn(rows: slice) -> WeightedSamples:
            fields = self._fields("compact fields", seed, rows, deviates.shape[2])
            with self._computing():
                return self.encoded.samples(deviates[rows], fields, members=rows).weighted()

        number = deviates.shape[1] * deviates.shape[2]
        return self._sample_sets(drawn, number, [number])[number]

    def standard(self, num_samples: int, seed: int) -> SampleSet:
        """Standard form: equally probable samples, an expert drawn for each."""
        return self.standard_sets([num_samples], seed)[num_samples]

    def standard_sets(self, numbers: Collection[int], seed: int) -> dict[int, SampleSet]:
        """Standard form with several numbers of samples: the first of those that are drawn for the largest."""
        probs, chosen, deviates, num_samples = self.expert_probs.cpu(), [], [], max(numbers)
        for row in range(len(probs)):
            generator = _generator("standard samples", seed, self._first + row)
            chosen.append(torch.multinomial(probs[row : row + 1], num_samples, replacement=True, generator=generator))
            deviates.append(torch.randn(1, num_samples, self._network.noise_dim, generator=generator))
        experts, noise = torch.cat(chosen), torch.cat(deviates).to(self._images.device)
        weights = self.expert_probs.new_full((len(probs), num_samples), 1.0 / num_samples)

        def drawn(rows: slice) -> WeightedSamples:
            fields = self._fields("standard fields", seed, rows, num_samples)
            with self._computing():
                logits = self.encoded.chosen(experts[rows], noise[rows], fields, members=rows)
            return WeightedSamples(logits, weights[rows])

        return self._sample_sets(drawn, num_samples, numbers)

    def experts(self, num_samples: int, seed: int, codes: Codes = DEFAULT_CODES) -> ExpertSamples:
        """The samples of :meth:`compact` as logits, by expert."""
        deviates, everyone = self._deviates(num_samples, seed, codes), slice(0, len(self._images))
        fields = self._fields("compact fields", seed, everyone, deviates.shape[2])
        with self._computing():
            return self.encoded.samples(deviates, fields)

    def _deviates(self, num_samples: int, seed: int, codes: Codes) -> Tensor:
        """Of the compact form, (B, K, S, D)."""
        each = max(1, num_samples // self._network.num_experts)
        if codes == "quadrature":
            deviates = standard_deviates(self._network, each, len(self._images), choice=codes)
        else:
            rows = range(len(self._images))
            generators = (_generator("compact samples", seed, self._first + row) for row in rows)
            deviates = torch.cat([standard_deviates(self._network, each, 1, generator) for generator in generators])
        return deviates.to(self._images.device)

    def _fields(self, purpose: str, seed: int, rows: slice, samples: int) -> tuple[Tensor, ...]:
        """Fields of some images, each from its own generator."""
        drawn = [
            draw_fields(
                self._network, self._images[row : row + 1], samples, _generator(purpose, seed, self._first + row)
            )
            for row in range(rows.start, rows.stop)
        ]
        return tuple(torch.cat(parts) for parts in zip(*drawn, strict=True))

    def _sample_sets(
        self, drawn: Callable[[slice], WeightedSamples], samples: int, numbers: Collection[int]
    ) -> dict[int, SampleSet]:
        found: dict[int, list[SampleSet]] = {number: [] for number in numbers}
        for rows in _spans(len(self._images), max(1, _SAMPLES_AT_ONCE // samples)):
            logits, weights = drawn(rows)
            for number, sets in found.items():
                sets.append(sample_set(WeightedSamples(logits[:, :number], weights[:, :number] * (samples / number))))
        return {number: joined(sets) for number, sets in found.items()}


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
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def _generator(purpose: str, seed: int, index: int) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(purpose, seed, index))
