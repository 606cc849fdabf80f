"""The result of a calibration, as the checkpoint and the files next to it hold it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from mose_med.metrics import Reliability

__all__ = ["Calibration", "CalibrationScores", "Temperatures", "plain_reliability"]


class Temperatures(NamedTuple):
    """The temperatures: divisors of the logits of the gating and of the samples."""

    gating: float = 1.0
    logits: float = 1.0


@dataclass(frozen=True)
class CalibrationScores:
    """Scores of the compact form.

    Attributes:
        ged: squared generalized energy distance, mean over images.
        matched_iou: mean over images.
        ece_percent: expected calibration error of the marginal, all voxels pooled.
        nll: negative log-likelihood of the raters' labels under the marginal, nats a voxel.
    """

    ged: float
    matched_iou: float
    ece_percent: float
    nll: float


@dataclass(frozen=True)
class Calibration:
    """A fit, and how good it is.

    Attributes:
        temperatures: fitted on all images of the part.
        by_fold: fitted without each fold of patients.
        before: scores at temperature 1.
        after: at ``temperatures``, on the images that they were fitted on.
        cross_fitted: every fold at the temperatures that were fitted without it.
        datalist: its name.
        part: of the split.
        images: number of images.
        patients: number of patients.
        num_samples: of every image.
        seed: of random codes.
        codes: of the samples, quadrature or random.
        checkpoint_sha256: of the file that was calibrated.
    """

    temperatures: Temperatures
    by_fold: tuple[Temperatures, ...]
    before: CalibrationScores
    after: CalibrationScores
    cross_fitted: CalibrationScores
    datalist: str
    part: str
    images: int
    patients: int
    num_samples: int
    seed: int
    codes: str
    checkpoint_sha256: str

    @property
    def helps(self) -> bool:
        """Whether patients that the temperatures were not fitted on are calibrated better than before."""
        return self.cross_fitted.ece_percent < self.before.ece_percent

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        temperatures = {
            "temperatures": self.temperatures._asdict(),
            "by_fold": [fitted._asdict() for fitted in self.by_fold],
        }
        return asdict(self) | temperatures


def plain_reliability(table: Reliability) -> dict[str, list[float | None]]:
    """Bins as JSON can hold them; None where a bin is empty."""
    columns = {name: values.tolist() for name, values in table._asdict().items()}
    return {name: [None if value != value else value for value in values] for name, values in columns.items()}
