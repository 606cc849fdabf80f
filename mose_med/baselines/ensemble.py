"""An ensemble: every member network is an expert (Lakshminarayanan et al., NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mose_med.baselines.parts.sampled_network import SampledNetwork
from mose_med.errors import require
from mose_med.networks.protocol import NoiseField, default_samples, noise_fields, samples_of
from mose_med.networks.registry import build, register
from mose_med.samples import ExpertSamples

__all__ = ["Ensemble", "built_member"]


@register("ensemble")
class Ensemble(SampledNetwork):
    """Networks of any registered kind, each with probability 1/M.

    A member that has experts of its own brings all of them, and its share is divided as the member says. Numbers and
    noise fields are drawn once for every expert, so that members share them without depending on each other.

    Args:
        members: for each network its settings, with its registered ``name``.
        samples_per_expert: S unless a call says otherwise; None for the most that a member asks for.

    Raises:
        ConfigError: if there is no member, or members do not take the same images and classes.
    """

    def __init__(self, members: Sequence[Mapping[str, Any]], samples_per_expert: int | None = None) -> None:
        require(len(members) >= 1, "members must name at least one network, got none")
        networks = [built_member(settings) for settings in members]
        first = networks[0]
        for network in networks[1:]:
            for name in ("spatial_dims", "in_channels", "out_channels"):
                here, there = getattr(first, name), getattr(network, name)
                require(here == there, f"members must have the same {name}, got {here} and {there}")
        super().__init__(
            first.spatial_dims,
            first.in_channels,
            first.out_channels,
            num_experts=sum(network.num_experts for network in networks),
            noise_dim=max(network.noise_dim for network in networks),
            samples_per_expert=samples_per_expert or max(map(default_samples, networks)),
        )
        self.noise_fields, self._places = _shared_fields([noise_fields(network) for network in networks])
        self.members = nn.ModuleList(networks)

    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        """Samples of all members; arguments are those of :meth:`SampledNetwork.samples_from`."""
        deviates = self.checked_deviates(image, deviates)
        found: list[ExpertSamples] = []
        start = 0
        for member, places in zip(self.members, self._places, strict=True):
            network: Any = member
            experts = slice(start, start + network.num_experts)
            start += network.num_experts
            own = [] if fields is None else [fields[place][:, experts] for place in places]
            found.append(samples_of(network, image, deviates[:, experts, :, : network.noise_dim], own))
        probs = torch.cat([samples.expert_probs for samples in found], dim=1) / len(found)
        return ExpertSamples(torch.cat([samples.logits for samples in found], dim=1), probs)


def built_member(settings: Mapping[str, Any]) -> Any:
    """A network of its settings that says how many classes it has.

    Raises:
        ConfigError: if there is no such network, or it does not.
    """
    network = build(settings)
    fits = hasattr(network, "out_channels")
    require(fits, f"a member must have the attribute out_channels, {type(network).__name__} has none")
    return network


def _shared_fields(
    of_members: Sequence[Sequence[NoiseField]],
) -> tuple[tuple[NoiseField, ...], list[tuple[int, ...]]]:
    """Fields that serve all members, and for each member which of them are its own, in its order.

    Members take different experts of a field, so that fields of one kind are drawn once for all of them.
    """
    fields: list[NoiseField] = []
    places: list[tuple[int, ...]] = []
    for wanted in of_members:
        free = list(range(len(fields)))
        taken = []
        for field in wanted:
            place = next((place for place in free if fields[place][1:] == field[1:]), len(fields))
            if place == len(fields):
                fields.append(field._replace(name=f"field-{place}"))
            else:
                free.remove(place)
            taken.append(place)
        places.append(tuple(taken))
    return tuple(fields), places
