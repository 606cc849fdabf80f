"""Effect of the temperature of the logits: the marginal probabilities, their likelihood and calibration error.

Sums over voxels are kept for every fold and pair of temperatures, so that memory does not grow with the images and any
choice of folds can be scored afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mose_med.metrics import CalibrationError
from mose_med.samples import ExpertSamples
from pipelines.calibrate.grid import TEMPERATURES
from pipelines.evaluate.scored_data import CountedClasses

__all__ = ["LogitsTable", "Place"]

#: Smallest probability in the likelihood: a voxel that a rater marks and no sample does costs at most 28 nats.
_LEAST_PROBABILITY = 1e-12

#: Fold, and indices of the temperatures of gating and logits.
Place = tuple[int, int, int]


class LogitsTable:
    """Likelihood and calibration of the marginal.

    Args:
        counted: which voxels enter the calibration error.
        folds: how many.
        gatings: indices of the temperatures of the gating that are looked at.
    """

    def __init__(self, counted: CountedClasses, folds: int, gatings: Iterable[int]) -> None:
        self._counted = counted
        self._folds = folds
        self._gatings = sorted(set(gatings))
        places = [(f, g, t) for f in range(folds) for g in self._gatings for t in range(len(TEMPERATURES))]
        self._nll = dict.fromkeys(places, 0.0)
        self._voxels = dict.fromkeys(places, 0)
        self._errors = {place: counted.calibration() for place in places}

    def add(
        self, samples: ExpertSamples, within: Tensor, expert_probs: Tensor, observed: Tensor, folds: Tensor
    ) -> None:
        """Add a batch.

        Args:
            samples: logits (B, K, S, C, H, W) at temperature 1.
            within: share of each sample in its expert, (B, K, S).
            expert_probs: at every temperature of the gating, (T, B, K).
            observed: share of the raters for every class, (B, C, H, W).
            folds: of the images, (B,).
        """
        logits = samples.logits.float()
        for index, value in enumerate(TEMPERATURES):
            of_experts = torch.einsum("bks,bkschw->bkchw", within, (logits / value).softmax(dim=3))
            for gating in self._gatings:
                marginal = torch.einsum("bk,bkchw->bchw", expert_probs[gating], of_experts)
                for fold in folds.unique().tolist():  # type: ignore[no-untyped-call]
                    rows = (folds == fold).nonzero().flatten().to(marginal.device)
                    self._add((fold, gating, index), marginal[rows], observed[rows])

    def _add(self, place: Place, marginal: Tensor, observed: Tensor) -> None:
        likelihood = observed * marginal.clamp_min(_LEAST_PROBABILITY).log()
        self._nll[place] -= float(likelihood.sum(dtype=torch.float64))
        self._voxels[place] += observed[:, 0].numel()
        self._errors[place].update(marginal, observed)

    def curve(self, folds: Sequence[int], gating: int) -> Tensor:
        """Negative log-likelihood in nats a voxel, pooled over folds, at every temperature of the logits."""
        return torch.tensor([self.nll([(f, gating, t) for f in folds]) for t in range(len(TEMPERATURES))])

    def nll(self, places: Sequence[Place]) -> float:
        """Negative log-likelihood of the raters' labels in nats a voxel, pooled over the given sums."""
        return sum(self._nll[place] for place in places) / sum(self._voxels[place] for place in places)

    def calibration(self, places: Sequence[Place]) -> CalibrationError:
        """Calibration error pooled over the given sums."""
        pooled = self._counted.calibration()
        for place in places:
            pooled.add_totals(self._errors[place].totals)
        return pooled
