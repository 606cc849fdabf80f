"""Chooses the slices of the sample-grid figure, and what it shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose_med.data import DatalistEntry
from mose_med.metrics import predictive_entropy, sample_diversity
from mose_med.report.sample_grid import SamplePanel
from mose_med.samples import ExpertSamples, RaterMasks
from pipelines.evaluate.scored_data import CountedClasses

__all__ = ["RaterView", "example_indices", "rater_views", "sample_panel"]

#: Nodules whose largest outline has fewer pixels show little.
_LEAST_PIXELS = 30
#: Experts shown at most, the likeliest ones.
_MOST_EXPERTS = 8


class RaterView(NamedTuple):
    """The raters' view of a slice.

    Attributes:
        nodule_id: which nodule it shows.
        pixels: of the largest mask.
        disagreement: expected distance of two raters.
    """

    nodule_id: str
    pixels: int
    disagreement: float


def rater_views(entries: Sequence[DatalistEntry], raters: RaterMasks, counted: CountedClasses) -> list[RaterView]:
    """Sizes and disagreement of the raters' masks of a batch."""
    pixels = counted.foreground(raters.masks).flatten(2).sum(dim=2).amax(dim=1).tolist()
    disagreement = sample_diversity(raters.masks, raters.weights, counted.regions).nan_to_num(0.0).tolist()
    names = (entry.nodule_id for entry in entries)
    return [RaterView(*values) for values in zip(names, pixels, disagreement, strict=True)]


def example_indices(views: Sequence[RaterView], number: int = 4) -> list[int]:
    """Slices evenly spaced from agreement to disagreement of the raters, each the largest slice of another nodule.

    Raters, not scores, choose, so that the figure flatters nobody. Nodules that are tiny, or that all raters outline
    alike, are left out where enough others are left.

    Example:
        >>> views = [RaterView("a", 90, 0.3), RaterView("a", 50, 0.9), RaterView("b", 80, 0.1), RaterView("c", 9, 0.5)]
        >>> example_indices(views, 2)
        [2, 0]
    """
    largest: dict[str, int] = {}
    for index, view in enumerate(views):
        if view.pixels > views[largest.setdefault(view.nodule_id, index)].pixels:
            largest[view.nodule_id] = index
    order = sorted(largest.values(), key=lambda index: (views[index].disagreement, index))
    telling = [i for i in order if views[i].pixels >= _LEAST_PIXELS and views[i].disagreement > 0]
    chosen = telling if len(telling) >= number else order
    number = min(number, len(chosen))
    return [chosen[round(step * (len(chosen) - 1) / max(number - 1, 1))] for step in range(number)]


def sample_panel(
    entry: DatalistEntry,
    item: Mapping[str, Any],
    samples: ExpertSamples,
    ged: float,
    counted: CountedClasses,
    *,
    picture: bool = False,
) -> SamplePanel:
    """One row of the figure.

    Args:
        entry: the slice.
        item: its ``image`` (channels, H, W) and ``label`` (R, H, W) of classes.
        samples: of this slice alone.
        ged: of this slice.
        counted: says which classes are outlined.
        picture: whether H counts rows, as of any picture, rather than the first axis of a slice.
    """
    probs = samples.logits[0].float().softmax(dim=2)
    marginal = torch.einsum("k,kchw->chw", samples.expert_probs[0].to(probs), probs.mean(dim=1))
    shown = samples.expert_probs[0].topk(min(_MOST_EXPERTS, len(probs))).indices.sort().values

    def turned(maps: Tensor) -> NDArray[Any]:
        return np.asarray((maps.transpose(-1, -2) if picture else maps).cpu())

    return SamplePanel(
        title=f"{entry.nodule_id}\nslice {entry.slice_index}, GED {ged:.2f}",
        image=turned(item["image"][:3].mean(dim=0)),
        rater_masks=turned(counted.foreground(item["label"])),
        expert_probs=samples.expert_probs[0][shown].cpu().numpy(),
        expert_masks=turned(counted.foreground(probs[shown].argmax(dim=2))),
        probability=turned(marginal[list(counted.drawn)].sum(dim=0)),
        entropy=turned(predictive_entropy(marginal[None])[0]),
        expert_numbers=tuple((shown + 1).tolist()),
        num_classes=len(marginal),
    )
