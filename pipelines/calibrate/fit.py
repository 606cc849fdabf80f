"""Fits the temperatures of a network to a part of a datalist, and scores their effect.

Two passes over the part. The first scores every image at every temperature of the gating, the second the voxels at
every temperature of the logits; all choices, those of the folds too, are made from what the passes kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mose_med.metrics import Reliability
from mose_med.networks.priors import Codes
from mose_med.networks.protocol import StochasticNetwork, device_of, tempered_modules
from mose_med.samples import RaterMasks
from pipelines.calibrate.gating import GatingScores, expert_probs_by_temperature, gating_scores, within_experts
from pipelines.calibrate.grid import NEUTRAL, TEMPERATURES, lowest
from pipelines.calibrate.logits import LogitsTable, Place
from pipelines.calibrate.result import CalibrationScores, Temperatures
from pipelines.evaluate.baselines import rater_probs
from pipelines.evaluate.prediction import BatchPrediction
from pipelines.evaluate.scored_data import CountedClasses

__all__ = ["CalibrationFit", "Draw"]

Batches = Callable[[], Iterator[dict[str, Any]]]


class Draw(NamedTuple):
    """Options of the samples of an image; the seed is for random codes."""

    num_samples: int
    seed: int
    codes: Codes


class _Choice(NamedTuple):
    """Indices of the temperatures that each fold is scored at."""

    gating: tuple[int, ...]
    logits: tuple[int, ...]

    def places(self) -> list[Place]:
        return [(fold, *pair) for fold, pair in enumerate(zip(self.gating, self.logits, strict=True))]


class CalibrationFit:
    """Temperatures fitted on all images, and cross-fitted ones.

    Args:
        network: in eval mode, at temperature 1; it is left like that.
        batches: gives the images afresh at every call: dicts of ``image``, ``label`` and ``rater_weights``.
        folds: of the images, (B,), numbered from 0 without a gap.
        counted: classes that the scores are about.
        draw: of the samples.
    """

    def __init__(
        self, network: StochasticNetwork, batches: Batches, folds: Tensor, counted: CountedClasses, draw: Draw
    ) -> None:
        self._network = network
        self._gating = tempered_modules(network).get("gating")
        self._folds = folds
        self._count = int(folds.max()) + 1
        self._within: list[Tensor] = []
        self._scores = self._gating_pass(batches(), counted, draw)
        others = [self._without(fold) for fold in range(self._count)]
        gatings = [self._best_gating(chosen) for chosen in (self._all_images, *others)]
        self._table = LogitsTable(counted, self._count, (NEUTRAL, *gatings))
        self._logits_pass(batches(), draw)
        logits = [
            lowest(self._table.curve(chosen, gating))
            for chosen, gating in zip((self._all_images, *others), gatings, strict=True)
        ]
        self._choices = {
            "before": self._same(NEUTRAL, NEUTRAL),
            "after": self._same(gatings[0], logits[0]),
            "cross_fitted": _Choice(tuple(gatings[1:]), tuple(logits[1:])),
        }

    @property
    def temperatures(self) -> Temperatures:
        """Fitted on all images."""
        return self._temperatures("after")[0]

    @property
    def by_fold(self) -> tuple[Temperatures, ...]:
        """Fitted without each fold."""
        return self._temperatures("cross_fitted")

    def scores(self, name: str) -> CalibrationScores:
        """Scores ``before``, ``after`` or ``cross_fitted``."""
        choice = self._choices[name]
        gatings = torch.tensor(choice.gating)[self._folds]
        ged, matched = (table.gather(0, gatings[None])[0].nanmean() for table in self._scores)
        places = choice.places()
        ece = self._table.calibration(places).compute()
        return CalibrationScores(float(ged), float(matched), ece, self._table.nll(places))

    def reliability(self, name: str) -> Reliability:
        """Bins of the reliability diagram, by the same names."""
        return self._table.calibration(self._choices[name].places()).reliability()

    def curves(self) -> dict[str, list[float]]:
        """The objective on all images, at every temperature of the grid."""
        gating = self._choices["after"].gating[0]
        return {
            "temperature": list(TEMPERATURES),
            "ged": self._scores.ged.nanmean(dim=1).tolist(),
            "nll": self._table.curve(self._all_images, gating).tolist(),
        }

    @property
    def _all_images(self) -> list[int]:
        return list(range(self._count))

    def _without(self, fold: int) -> list[int]:
        return [other for other in range(self._count) if other != fold]

    def _same(self, gating: int, logits: int) -> _Choice:
        return _Choice((gating,) * self._count, (logits,) * self._count)

    def _temperatures(self, name: str) -> tuple[Temperatures, ...]:
        pairs = zip(*self._choices[name], strict=True)
        return tuple(Temperatures(TEMPERATURES[gating], TEMPERATURES[logits]) for gating, logits in pairs)

    def _best_gating(self, folds: Sequence[int]) -> int:
        chosen = torch.isin(self._folds, torch.tensor(folds))
        return lowest(self._scores.ged[:, chosen].nanmean(dim=1))

    def _gating_pass(self, batches: Iterator[dict[str, Any]], counted: CountedClasses, draw: Draw) -> GatingScores:
        scores, first = [], 0
        for batch in batches:
            raters, prediction = self._predicted(batch, first)
            samples = prediction.compact(*draw)
            probs = expert_probs_by_temperature(self._gating, prediction.encoded)
            scores.append(gating_scores(samples, probs, raters, counted))
            self._within.append(within_experts(samples.weights, probs.shape[2]))
            first += len(raters.masks)
        return GatingScores(*(torch.cat(parts, dim=1) for parts in zip(*scores, strict=True)))

    def _logits_pass(self, batches: Iterator[dict[str, Any]], draw: Draw) -> None:
        first = 0
        for batch, within in zip(batches, self._within, strict=True):
            raters, prediction = self._predicted(batch, first)
            samples = prediction.experts(*draw)
            probs = expert_probs_by_temperature(self._gating, prediction.encoded)
            observed = rater_probs(raters, samples.logits.shape[3])
            folds = self._folds[first : first + len(observed)]
            self._table.add(samples, within, probs, observed, folds)
            first += len(observed)

    def _predicted(self, batch: dict[str, Any], first: int) -> tuple[RaterMasks, BatchPrediction]:
        device = device_of(self._network)
        raters = RaterMasks(batch["label"].to(device), batch["rater_weights"].to(device))
        return raters, BatchPrediction(self._network, batch["image"].to(device), first)
