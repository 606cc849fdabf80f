"""The experts on a data set: how much each is used, and which agree.

The paper leaves the number of experts to the user (appendix D); these functions show whether it was too large, and
reduce it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from mose_med.errors import ConfigError, DataError
from mose_med.networks.mose.gating import GroupedGating
from mose_med.networks.mose.network import MoSE
from mose_med.samples import ExpertUsage, usage_from_probs

__all__ = ["expert_agreement", "expert_usage", "merge_experts", "merged_settings"]


@torch.no_grad()
def expert_usage(network: MoSE, images: Iterable[Tensor]) -> ExpertUsage:
    r"""How much each expert is used.

    Args:
        network: in eval mode.
        images: batches (B, in_channels, \*spatial).

    Raises:
        DataError: if there is no image.
    """
    batches = [network.gating(network.features(batch).global_feature).cpu() for batch in images]
    if not batches:
        raise DataError("images must hold at least one batch, got none")
    return usage_from_probs(torch.cat(batches))


@torch.no_grad()
def expert_agreement(network: MoSE, images: Iterable[Tensor], generator: torch.Generator | None = None) -> Tensor:
    r"""IoU of the experts' mean predictions, pooled over a data set.

    A mean prediction is the most probable class of an expert's samples on average; IoU is averaged over the classes
    but the background, and two experts that never predict a class agree on it.

    Args:
        network: in eval mode.
        images: batches (B, in_channels, \*spatial).
        generator: of the latent codes, one set for the whole data set.

    Returns:
        Symmetric (K, K) with ones on the diagonal.

    Raises:
        DataError: if there is no image.
    """
    latents = network.draw_latents(1, generator=generator)[0]
    shape = (network.out_channels - 1, network.num_experts, network.num_experts)
    shared, single = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape[:2], dtype=torch.float64)
    seen = 0
    for batch in images:
        probs = network(batch, latents=latents).logits.float().softmax(dim=3).mean(dim=2)
        labels = probs.max(dim=2).indices.transpose(0, 1).flatten(1)
        for label in range(1, network.out_channels):
            masks = (labels == label).float()
            shared[label - 1] += torch.mm(masks, masks.t()).cpu()
            single[label - 1] += masks.sum(dim=1).cpu()
        seen += len(batch)
    if seen == 0:
        raise DataError("images must hold at least one batch, got none")
    union = single.unsqueeze(2) + single.unsqueeze(1) - shared
    return torch.where(union > 0, shared / union.clamp_min(1), torch.ones_like(union)).mean(dim=0)


def merge_experts(
    network: MoSE, images: Iterable[Tensor], min_iou: float = 0.95, generator: torch.Generator | None = None
) -> MoSE:
    r"""A network in which experts that agree are merged into one.

    Experts are grouped by transitive closure of ``expert_agreement >= min_iou``. A group keeps the latent prior of
    its first expert and has the sum of its members' gating probabilities. :func:`merged_settings` gives the settings
    with which the result is built again.

    Args:
        network: in eval mode; it is left as it is.
        images: batches (B, in_channels, \*spatial).
        min_iou: in (0, 1].
        generator: of the latent codes.

    Raises:
        ConfigError: if ``min_iou`` is out of range.
        DataError: if there is no image.
    """
    from scipy.sparse.csgraph import connected_components  # here, since few calls need it

    if not 0 < min_iou <= 1:
        raise ConfigError(f"min_iou must be in (0, 1], got {min_iou}")
    agreement = expert_agreement(network, images, generator)
    count, groups = connected_components((agreement >= min_iou).numpy(), directed=False)
    groups = torch.as_tensor(groups, dtype=torch.int64)
    first = [int((groups == group).nonzero()[0]) for group in range(count)]
    merged = copy.deepcopy(network)
    merged.num_experts = count
    for name, value in network.priors.named_parameters():
        setattr(merged.priors, name, torch.nn.Parameter(value.detach()[first].clone()))
    single = merged.gating
    if isinstance(single, GroupedGating):
        groups, single = groups[single.groups().cpu()], single.gating
    merged.gating = GroupedGating(single, groups.to(agreement.device)).to(network.priors.mean.device)
    return merged


def merged_settings(settings: Mapping[str, Any], merged: MoSE) -> dict[str, Any]:
    """Settings of :class:`MoSE` that build a merged network, for its checkpoint.

    Args:
        settings: of the network that :func:`merge_experts` was given.
        merged: what it returned.

    Example:
        >>> network = MoSE(channels=(4, 8), num_experts=2).eval()
        >>> merged = merge_experts(network, [torch.zeros(1, 1, 4, 4)], min_iou=0.01)
        >>> MoSE(**merged_settings({"channels": (4, 8)}, merged)).load_state_dict(merged.state_dict())
        <All keys matched successfully>
    """
    gating = merged.gating
    groups = gating.groups().tolist() if isinstance(gating, GroupedGating) else None
    return {**settings, "num_experts": merged.num_experts, "expert_groups": groups}
