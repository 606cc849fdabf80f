"""Test-time augmentation (Wang et al., Neurocomputing 2019): a network applied to the symmetries of a square."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mose_med.baselines.ensemble import built_member
from mose_med.baselines.parts.sampled_network import SampledNetwork
from mose_med.errors import require
from mose_med.networks.protocol import is_deterministic
from mose_med.networks.registry import register
from mose_med.samples import ExpertSamples

__all__ = ["AugmentedNetwork"]

_TURNS = 4
_PLANE = (2, 3)


@register("test_time_augmentation")
class AugmentedNetwork(SampledNetwork):
    """A network whose eight experts, of probability 1/8, are its answers to the image turned and mirrored.

    Expert ``t + 4 m`` sees the image mirrored along its first axis if m is 1, then turned t times by 90 degrees in the
    plane of the first two axes; its answer is turned and mirrored back. All eight are always there, so that nothing is
    drawn and windows that overlap agree on what an expert is.

    Args:
        member: settings of a deterministic network, with its registered ``name``.
        samples_per_expert: S unless a call says otherwise; all samples of an expert are the same.

    Raises:
        ConfigError: if the network has experts or takes random numbers.
    """

    def __init__(self, member: Mapping[str, Any], samples_per_expert: int = 1) -> None:
        network = built_member(member)
        fits = network.num_experts == 1 and is_deterministic(network)
        require(fits, f"member must be deterministic, {member.get('name', 'mose')!r} is not")
        super().__init__(
            network.spatial_dims,
            network.in_channels,
            network.out_channels,
            num_experts=2 * _TURNS,
            samples_per_expert=samples_per_expert,
        )
        self.member = network

    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        """One answer for each symmetry; arguments are those of :meth:`SampledNetwork.samples_from`."""
        samples = self.checked_deviates(image, deviates).shape[2]
        none = deviates.new_zeros(1, 1, self.member.noise_dim)
        answers = []
        for mirrored in (False, True):
            for turns in range(_TURNS):
                turned = torch.rot90(image.flip(_PLANE[0]) if mirrored else image, turns, _PLANE)
                logits = torch.rot90(self.member.samples_from(turned, none).logits[:, 0, 0], -turns, _PLANE)
                answers.append(logits.flip(_PLANE[0]) if mirrored else logits)
        stacked = torch.stack(answers, dim=1).unsqueeze(2)
        repeated = stacked.expand(-1, -1, samples, *stacked.shape[3:])
        return ExpertSamples(repeated, stacked.new_full(stacked.shape[:2], 1 / len(answers), dtype=torch.float32))
