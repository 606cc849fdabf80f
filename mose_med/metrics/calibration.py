"""Calibration of the predicted probabilities, pooled over a whole data set in a stream.

Conventions: bins are equal and (low, high]; a voxel of probability 0 falls in none of them but counts in the
denominator. The raters' share of a class is the truth a probability is compared with. MONAI's
``CalibrationErrorMetric`` bins every image and channel on its own and averages afterwards; here all voxels of the data
set share one set of bins, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mose_med.errors import ConfigError, ShapeError

__all__ = ["CalibrationError", "CalibrationMode", "CalibrationSummary", "Reliability", "expected_errors"]

CalibrationMode = Literal["foreground", "confidence"]


class CalibrationSummary(NamedTuple):
    """Calibration errors in percent.

    Attributes:
        expected: ECE, gaps of the bins weighted by their voxels.
        average: ACE, mean gap of the bins that hold voxels.
        maximum: MCE, largest gap.
    """

    expected: float
    average: float
    maximum: float


class Reliability(NamedTuple):
    """What a reliability diagram shows, one entry per bin, in double precision.

    Attributes:
        edges: bin edges, ``(num_bins + 1,)``.
        probability: mean predicted probability, ``(num_bins,)``; nan in an empty bin.
        frequency: mean share of the raters, ``(num_bins,)``; nan in an empty bin.
        share: voxels of the bin over all voxels, ``(num_bins,)``.
    """

    edges: Tensor
    probability: Tensor
    frequency: Tensor
    share: Tensor


class CalibrationError:
    r"""Expected calibration error in percent, in constant memory.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} \left| \bar p_b - \bar r_b \right|

    Args:
        num_bins: number of equal bins over [0, 1].
        mode: "foreground" compares the probability of all classes but the first; "confidence" that of the most likely
            class.
        classes: in "confidence" mode, only voxels whose most likely class is one of these enter bins; None for all.

    Raises:
        ConfigError: if an argument is out of range.

    Example:
        >>> error = CalibrationError()
        >>> error.update(torch.tensor([[[0.3, 0.3], [0.7, 0.7]]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
        >>> round(error.compute(), 3)
        20.0
    """

    def __init__(
        self,
        num_bins: int = 10,
        mode: CalibrationMode = "foreground",
        classes: Sequence[int] | None = None,
    ) -> None:
        if num_bins < 1:
            raise ConfigError(f"num_bins must be >= 1, got {num_bins}")
        if mode not in get_args(CalibrationMode):
            raise ConfigError(f"mode must be one of {', '.join(get_args(CalibrationMode))}, got {mode!r}")
        if classes is not None and mode == "foreground":
            raise ConfigError("classes belong to mode 'confidence': leave them out in mode 'foreground'")
        if classes is not None and (not classes or min(classes) < 0):
            raise ConfigError(f"classes must be ids >= 0, at least one, got {tuple(classes)}")
        self.num_bins = num_bins
        self.mode = mode
        self.classes = None if classes is None else tuple(classes)
        self.reset()

    def reset(self) -> None:
        """Forget all voxels."""
        self._sums = torch.zeros(3, self.num_bins, dtype=torch.float64)
        self._voxels = 0

    def update(self, probs: Tensor, rater_probs: Tensor) -> None:
        """Add the voxels of a batch.

        Args:
            probs: predicted probabilities, shape ``(B, C, *spatial)``.
            rater_probs: weighted share of the raters for every class, same shape.

        Raises:
            ShapeError: if shapes differ, there are fewer than two classes or a probability is outside [0, 1].
            ConfigError: if one of ``classes`` has no channel.
        """
        _check(probs, rater_probs)
        if self.classes is not None and max(self.classes) >= probs.shape[1]:
            raise ConfigError(f"classes must be < {probs.shape[1]}, the channels of probs, got {max(self.classes)}")
        if self.mode == "foreground":
            predicted, observed = probs[:, 1:].sum(dim=1).flatten(), rater_probs[:, 1:].sum(dim=1).flatten()
            self._add(predicted, observed, predicted.numel())
            return
        predicted, likeliest = probs.max(dim=1)
        observed = rater_probs.gather(1, likeliest.unsqueeze(1)).squeeze(1)
        kept = torch.ones_like(likeliest, dtype=torch.bool)
        if self.classes is not None:
            kept = torch.isin(likeliest, torch.tensor(self.classes, device=likeliest.device))
        self._add(predicted[kept], observed[kept], predicted.numel())

    @property
    def totals(self) -> Tensor:
        """Voxels so far, then their number, summed probability and summed share in every bin: one row to add up."""
        return torch.cat([torch.tensor([float(self._voxels)], dtype=torch.float64), self._sums.flatten()])

    def add_totals(self, totals: Tensor) -> None:
        """Add the :attr:`totals` of an error of the same settings, of another process for instance.

        Raises:
            ShapeError: if they are of other settings.
        """
        if totals.shape != (1 + self._sums.numel(),):
            raise ShapeError(f"totals must have shape ({1 + self._sums.numel()},), got {tuple(totals.shape)}")
        self._voxels += int(totals[0])
        self._sums += totals[1:].double().cpu().view_as(self._sums)

    def compute(self) -> float:
        """Expected calibration error of all voxels so far, in percent.

        Raises:
            ConfigError: if there are none.
        """
        return self.summary().expected

    def summary(self) -> CalibrationSummary:
        """Expected, average and maximum calibration error of all voxels so far, in percent.

        Raises:
            ConfigError: if there are no voxels yet.
        """
        table = self.reliability()
        filled = table.share > 0
        gaps = 100.0 * (table.probability - table.frequency).abs()[filled]
        if not len(gaps):
            return CalibrationSummary(0.0, 0.0, 0.0)
        return CalibrationSummary(float((gaps * table.share[filled]).sum()), float(gaps.mean()), float(gaps.max()))

    def reliability(self) -> Reliability:
        """Means of every bin, for a diagram.

        Raises:
            ConfigError: if there are no voxels yet.
        """
        if self._voxels == 0:
            raise ConfigError("calibration needs voxels: call update before compute")
        counts, predicted, observed = self._sums
        return Reliability(self._edges(torch.float64), predicted / counts, observed / counts, counts / self._voxels)

    def _edges(self, dtype: torch.dtype) -> Tensor:
        return torch.tensor([index / self.num_bins for index in range(self.num_bins + 1)], dtype=dtype)

    def _add(self, predicted: Tensor, observed: Tensor, voxels: int) -> None:
        # Edges in the precision of the probabilities: 0.1 belongs to the first of ten bins in single precision, too.
        inner = self._edges(predicted.dtype)[:-1].to(predicted.device)
        bins = torch.bucketize(predicted, inner)
        rows = (torch.ones_like(predicted), predicted, observed)
        sums = [torch.bincount(bins, row.double(), minlength=self.num_bins + 1) for row in rows]
        self._sums += torch.stack(sums)[:, 1:].cpu()
        self._voxels += voxels


def expected_errors(totals: Tensor) -> Tensor:
    r"""Expected calibration error of rows of :attr:`CalibrationError.totals`, in percent.

    .. math:: \mathrm{ECE} = \frac{1}{n} \sum_b \left| \sum_i p_i - \sum_i r_i \right|

    Args:
        totals: of equal bins, single ones or sums of several, shape ``(N, 1 + 3 * num_bins)``.

    Returns:
        Errors, shape ``(N,)``.

    Example:
        >>> error = CalibrationError()
        >>> error.update(torch.tensor([[[0.3, 0.3], [0.7, 0.7]]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
        >>> torch.isclose(expected_errors(error.totals[None])[0].float(), torch.tensor(error.compute()))
        tensor(True)
    """
    _, predicted, observed = totals[:, 1:].view(len(totals), 3, -1).unbind(dim=1)
    gaps: Tensor = (predicted - observed).abs().sum(dim=1)
    return 100.0 * gaps / totals[:, 0]


def _check(probs: Tensor, rater_probs: Tensor) -> None:
    if probs.shape != rater_probs.shape:
        raise ShapeError(
            f"rater_probs must have the shape of probs {tuple(probs.shape)}, got {tuple(rater_probs.shape)}"
        )
    if probs.ndim < 2 or probs.shape[1] < 2:
        raise ShapeError(f"probs must have shape (B, C, *spatial) with C >= 2, got {tuple(probs.shape)}")
    for name, values in (("probs", probs), ("rater_probs", rater_probs)):
        if values.numel() and not bool(((values >= 0) & (values <= 1 + 1e-4)).all()):
            raise ShapeError(f"{name} must be in [0, 1], got {values.min().item():g} to {values.max().item():g}")
