"""The metrics as MONAI's cumulative metrics: called once per batch, aggregated over the data set, reset for the next.

Each is a thin shell over the functions of :mod:`mose_med.metrics`: one row of numbers for each image, and the value of
all rows. :class:`mose_med.handlers.MetricHandler` runs them in Ignite. Import them from here: they import MONAI, the
functions do not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from monai.metrics import CumulativeIterationMetric
from monai.metrics.utils import do_metric_reduction
from torch import Tensor

from mose_med.errors import ConfigError, MoseError
from mose_med.metrics.calibration import CalibrationError
from mose_med.metrics.class_shares import class_shares
from mose_med.metrics.collective_insight import collective_insight
from mose_med.metrics.dice import matched_dice, maximum_dice, soft_dice
from mose_med.metrics.energy_distance import generalized_energy_distance, sample_diversity
from mose_med.metrics.entropy import ExpertEntropy, expert_entropy_split, predictive_entropy
from mose_med.metrics.matching import matched_iou
from mose_med.metrics.modes import flip_sums, mode_ratio
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples, weighted_form

__all__ = [
    "SET_SCORES",
    "CalibrationMetric",
    "DataSetMetric",
    "EntropyMetric",
    "EntropyPart",
    "ExpertEntropyMetric",
    "PixelFlipMetric",
    "SampleSetMetric",
]

_Kind = Literal["expected", "average", "maximum"]
EntropyPart = Literal["total", "between", "within"]
_Score = Callable[[Tensor, Tensor, Tensor | None, Tensor | None, Sequence[int]], Tensor]

#: Scores of a set of masks against a set of raters, by name.
SET_SCORES: Mapping[str, _Score] = MappingProxyType(
    {
        "ged": generalized_energy_distance,
        "unbiased_ged": partial(generalized_energy_distance, include_self_pairs=False),
        "matched_iou": matched_iou,
        "matched_dice": matched_dice,
        "maximum_dice": maximum_dice,
        "soft_dice": soft_dice,
        "collective_insight": lambda *pair: collective_insight(*pair).score,
        "diversity": lambda masks, _, weights, __, classes: sample_diversity(masks, weights, classes),
        "mode_ratio": lambda masks, modes, weights, _, classes: mode_ratio(masks, modes, weights, classes),
    }
)


class DataSetMetric(CumulativeIterationMetric):  # type: ignore[misc]  # monai has no types here
    """One row of numbers for each image, and the value of the rows of a data set: by default their mean."""

    @abstractmethod
    def add(self, samples: ExpertSamples | WeightedSamples, raters: RaterMasks) -> None:
        """Add a batch as networks and data sets give it."""

    def aggregate(self) -> Tensor:
        """The value over all images since the last reset.

        Raises:
            MoseError: if there were none.
        """
        return self._value(self._rows())

    def _value(self, rows: Tensor) -> Tensor:
        return rows.mean()

    def _rows(self) -> Tensor:
        rows: Tensor | None = self.get_buffer()
        if rows is None:
            raise MoseError(f"{type(self).__name__} needs at least one image, got none: call it before aggregate")
        return rows


class SampleSetMetric(DataSetMetric):
    """Mean over images of one of :data:`SET_SCORES`.

    Call it with class maps ``y_pred`` (B, N, *spatial), ``y`` (B, R, *spatial) and, by keyword, ``weights`` (B, N) and
    ``rater_weights`` (B, R). Images whose score is nan are left out of the mean.

    Args:
        score: name of the score.
        classes: class ids that count.
        reduction: MONAI's: "mean" over images; "none" for the scores of every image; "mean_batch" for the mean share
            of every mode of "mode_ratio".

    Raises:
        ConfigError: if there is no such score.

    Example:
        >>> metric = SampleSetMetric("ged")
        >>> scores = metric(y_pred=torch.tensor([[[1, 1, 0, 0]]]), y=torch.tensor([[[0, 1, 1, 0], [0, 0, 0, 0]]]))
        >>> metric.aggregate()
        tensor([1.1667])
    """

    def __init__(self, score: str = "ged", classes: Sequence[int] = (1,), reduction: str = "mean") -> None:
        super().__init__()
        if score not in SET_SCORES:
            raise ConfigError(f"score must be one of {', '.join(SET_SCORES)}, got {score!r}")
        self.score = score
        self.classes = tuple(classes)
        self.reduction = reduction

    def _compute_tensor(
        self, y_pred: Tensor, y: Tensor, *, weights: Tensor | None = None, rater_weights: Tensor | None = None
    ) -> Tensor:
        scores = SET_SCORES[self.score](y_pred, y, weights, rater_weights, self.classes)
        return scores.reshape(len(scores), -1)

    def add(self, samples: ExpertSamples | WeightedSamples, raters: RaterMasks) -> None:
        """Score the hard masks of the samples against the raters'."""
        weighted = weighted_form(samples)
        masks = weighted.logits.max(dim=2).indices  # faster than argmax over an inner axis
        self(masks, raters.masks, weights=weighted.weights, rater_weights=raters.weights)

    def aggregate(self, reduction: str | None = None) -> Tensor:
        """The score over all images since the last reset.

        Raises:
            MoseError: if there were none, or none with a class that counts.
        """
        rows = self._rows()
        if bool(rows.isnan().all()):
            raise MoseError(f"{self.score} needs at least one image with a class that counts, got none")
        reduced: Tensor = do_metric_reduction(rows, reduction or self.reduction)[0]
        return reduced


class EntropyMetric(DataSetMetric):
    """Mean over images of the mean predictive entropy in nats of class probabilities ``y_pred`` (B, C, *spatial)."""

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None) -> Tensor:
        return predictive_entropy(y_pred).flatten(1).mean(dim=1, keepdim=True)

    def add(self, samples: ExpertSamples | WeightedSamples, raters: RaterMasks) -> None:
        """Add the entropy of the marginal."""
        self(_marginal(samples))


class ExpertEntropyMetric(DataSetMetric):
    """Mean over images of the mean entropy in nats, whole or the part of it between or within the experts.

    Call it with the experts' mean probabilities ``y_pred`` (B, K, C, *spatial) and their probabilities ``y`` (B, K),
    see :func:`~mose_med.metrics.expert_entropy_split`.

    Args:
        part: "total", "between" or "within".

    Raises:
        ConfigError: if there is no such part.
    """

    def __init__(self, part: EntropyPart = "between") -> None:
        super().__init__()
        if part not in ExpertEntropy._fields:
            raise ConfigError(f"part must be one of {', '.join(ExpertEntropy._fields)}, got {part!r}")
        self.part = part

    def _compute_tensor(self, y_pred: Tensor, y: Tensor) -> Tensor:
        entropy: Tensor = getattr(expert_entropy_split(y_pred, y), self.part)
        return entropy.flatten(1).mean(dim=1, keepdim=True)

    def add(self, samples: ExpertSamples, raters: RaterMasks) -> None:  # type: ignore[override]  # needs experts
        """Add the entropy of the experts' mean predictions."""
        self(samples.logits.float().softmax(dim=3).mean(dim=2), samples.expert_probs)


class PixelFlipMetric(DataSetMetric):
    """How often the voxels of a class are predicted as the class it may be flipped to, pooled over the data set.

    Call it with marginal class probabilities ``y_pred`` (B, C, *spatial) and the class maps before any flip ``y``
    (B, *spatial), see :func:`~mose_med.metrics.pixel_flip_ratio`. The value is the ratio of every original class in
    the order of ``flips``, nan for a class that no image has.

    Args:
        flips: flipped class by original class.

    Raises:
        ConfigError: if there is no flip.
    """

    def __init__(self, flips: Mapping[int, int]) -> None:
        super().__init__()
        if not flips:
            raise ConfigError("flips must map at least one class, got none")
        self.flips = dict(flips)

    def _compute_tensor(self, y_pred: Tensor, y: Tensor) -> Tensor:
        return flip_sums(y_pred, y, self.flips).flatten(1)

    def add(self, samples: ExpertSamples | WeightedSamples, raters: Tensor) -> None:  # type: ignore[override]
        """Add the marginal and the class maps before any flip, (B, *spatial)."""
        self(_marginal(samples), raters)

    def _value(self, rows: Tensor) -> Tensor:
        totals, voxels = rows.sum(dim=0).view(len(self.flips), 2).unbind(dim=1)
        return totals / voxels


class CalibrationMetric(DataSetMetric):
    """Calibration error in percent, pooled over all voxels of the data set and over processes.

    Call it with probabilities ``y_pred`` and the raters' shares ``y``, both (B, C, *spatial); what is kept of an image
    is one row of sums over its bins.

    Args:
        error: "expected" (ECE), "average" (ACE) or "maximum" (MCE).
        **settings: of :class:`~mose_med.metrics.CalibrationError`.

    Raises:
        ConfigError: if a setting is out of range.
    """

    def __init__(self, error: _Kind = "expected", **settings: Any) -> None:
        super().__init__()
        if error not in get_args(_Kind):
            raise ConfigError(f"error must be one of {', '.join(get_args(_Kind))}, got {error!r}")
        CalibrationError(**settings)
        self.error = error
        self.settings = settings

    def _compute_tensor(self, y_pred: Tensor, y: Tensor) -> Tensor:
        rows = []
        for probs, shares in zip(y_pred, y, strict=True):
            of_image = CalibrationError(**self.settings)
            of_image.update(probs[None], shares[None])
            rows.append(of_image.totals)
        return torch.stack(rows)

    def add(self, samples: ExpertSamples | WeightedSamples, raters: RaterMasks) -> None:
        """Add the marginal against the raters' shares."""
        probs = _marginal(samples)
        self(probs, class_shares(raters.masks, raters.weights, range(1, probs.shape[1])))

    def _value(self, rows: Tensor) -> Tensor:
        pooled = CalibrationError(**self.settings)
        pooled.add_totals(rows.sum(dim=0))
        return torch.tensor(getattr(pooled.summary(), self.error))


def _marginal(samples: ExpertSamples | WeightedSamples) -> Tensor:
    """Class probabilities under all samples, (B, C, *spatial)."""
    weighted = weighted_form(samples)
    probs = weighted.logits.float().softmax(dim=2)
    flat = torch.bmm(weighted.weights.float().unsqueeze(1), probs.flatten(2))
    return flat.view(len(probs), *probs.shape[2:])
