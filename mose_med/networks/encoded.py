"""Images encoded by a network, from which samples can be drawn any number of times.

A network may have ``encoded(image) -> EncodedImages``, which computes once what does not depend on the noise, and draws
the samples of some images, or of a part of them, alone. For the others :class:`PlainImages` calls the whole network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from mose_med.networks.protocol import StochasticNetwork, samples_of
from mose_med.samples import ExpertSamples

__all__ = ["EncodedImages", "Part", "PlainImages", "encoded"]

#: Rows and columns of an image.
Part = tuple[slice, slice]


class EncodedImages(Protocol):
    """A batch of B images."""

    def expert_probs(self) -> Tensor:
        """Probabilities of the experts, (B, K), as the network gives them now."""

    def samples(
        self,
        deviates: Tensor,
        fields: Sequence[Tensor] = (),
        *,
        members: slice | Sequence[int] = slice(None),
        part: Part | None = None,
    ) -> ExpertSamples:
        r"""Samples of some of the images.

        Args:
            deviates: standard normal, (K, S, D), or (b, K, S, D) for the b members.
            fields: of the members, as the network declares them.
            members: of the batch, all by default.
            part: of the images, all by default.
        """

    def chosen(
        self, experts: Tensor, deviates: Tensor, fields: Sequence[Tensor] = (), *, members: slice = slice(None)
    ) -> Tensor:
        r"""Logits (b, N, C, \*spatial) of samples whose experts are given.

        Args:
            experts: of every sample, (b, N).
            deviates: standard normal, (b, N, D).
            fields: of the members, (b, K, N, ...): that of the chosen expert counts.
            members: of the batch.
        """


class PlainImages:
    """Images of a network without its own ``encoded``: every draw calls the whole network.

    Args:
        network: in eval mode.
        image: (B, in_channels, *spatial), on the network's device.
    """

    def __init__(self, network: StochasticNetwork, image: Tensor) -> None:
        self._network = network
        self._image = image

    def expert_probs(self) -> Tensor:
        """Probabilities of the experts, (B, K)."""
        network = self._network
        if network.num_experts == 1:
            return torch.ones(len(self._image), 1, device=self._image.device)
        deviates = torch.zeros(network.num_experts, 1, network.noise_dim, device=self._image.device)
        return samples_of(network, self._image, deviates).expert_probs

    def samples(
        self,
        deviates: Tensor,
        fields: Sequence[Tensor] = (),
        *,
        members: slice | Sequence[int] = slice(None),
        part: Part | None = None,
    ) -> ExpertSamples:
        """Samples of some images, cropped to a part."""
        found = samples_of(self._network, self._image[members], deviates, fields)
        return found if part is None else found._replace(logits=found.logits[..., part[0], part[1]])

    def chosen(
        self, experts: Tensor, deviates: Tensor, fields: Sequence[Tensor] = (), *, members: slice = slice(None)
    ) -> Tensor:
        """Logits of samples whose experts are given: all experts draw them, and one is kept."""
        number = self._network.num_experts
        by_expert = deviates.unsqueeze(1).expand(-1, number, -1, -1)
        logits = self.samples(by_expert, fields, members=members).logits
        rows, columns = torch.arange(len(experts))[:, None], torch.arange(experts.shape[1])[None]
        return logits[rows, experts.to(rows), columns]


def encoded(network: StochasticNetwork, image: Tensor) -> EncodedImages:
    """A batch (B, in_channels, *spatial) encoded by a network, with the network's own ``encoded`` if it has one."""
    own = getattr(network, "encoded", None)
    found: EncodedImages = PlainImages(network, image) if own is None else own(image)
    return found
