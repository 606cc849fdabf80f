"""The data to score on: the items of a datalist as in training, and the classes that count.

A datalist without class flips holds slices, each rater's mask of each: every class but the background counts. One with
flips holds pictures, whose modes are made on the fly: the classes that flips exchange count.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mose_med.checkpoint import Checkpoint, ModelConfig
from mose_med.data import Datalist, DatalistEntry, FlippedClassDataset, MultiRaterDataset, patients_trained_on
from mose_med.data.pictures import picture_centre
from mose_med.metrics import CalibrationError

__all__ = ["CountedClasses", "ScoredDataset", "require_as_trained", "scored_dataset", "warn_of_training_data"]

_logger = logging.getLogger(__name__)

ScoredDataset = MultiRaterDataset | FlippedClassDataset


@dataclass(frozen=True)
class CountedClasses:
    """Which classes a score is about.

    Attributes:
        regions: whose regions are compared, by GED, M-IoU and diversity.
        confident: of the voxels that enter the calibration error, by their most likely class; None for all.
        drawn: what figures outline: all foreground, or what has flipped.
    """

    regions: tuple[int, ...]
    confident: tuple[int, ...] | None
    drawn: tuple[int, ...]

    @classmethod
    def of(cls, datalist: Datalist) -> CountedClasses:
        """Those of a datalist."""
        if datalist.flips:
            exchanged = tuple(sorted({label for flip in datalist.flips for label in (flip.label, flip.flipped)}))
            return cls(exchanged, exchanged, tuple(flip.flipped for flip in datalist.flips))
        foreground = tuple(range(1, len(datalist.classes)))
        return cls(foreground, None, foreground)

    def calibration(self) -> CalibrationError:
        """An empty calibration error: of the foreground where that is one class, else of the most likely class."""
        binary = len(self.regions) == 1 and self.confident is None
        return CalibrationError(mode="foreground" if binary else "confidence", classes=self.confident)

    def foreground(self, masks: Tensor) -> Tensor:
        r"""Where masks (\*, H, W) hold a class that figures outline."""
        return torch.isin(masks, torch.tensor(self.drawn, dtype=masks.dtype, device=masks.device))


def require_as_trained(datalist: Datalist, model: ModelConfig, name: str) -> None:
    """Refuse data that were prepared in another way than those that a model was trained with.

    Args:
        datalist: to be scored, or trained with.
        model: that was trained.
        name: what the message calls it.

    Raises:
        ConfigError: naming the first difference.
    """
    datalist.require(
        num_raters=model.num_raters,
        classes=model.classes,
        spacing_mm=model.preprocessing.spacing_mm,
        trained=name,
    )


def scored_dataset(datalist: Datalist, part: str, model: ModelConfig) -> ScoredDataset:
    """Items of a part, as a model is shown them in validation: slices, or the centres of pictures.

    Raises:
        ConfigError: if the part is empty, or its items do not fit the preprocessing or the flips.
        DataError: if a file that has to be looked at is missing or damaged.
    """
    if not datalist.flips:
        return MultiRaterDataset(datalist.part(part), model.preprocessing)
    centre = picture_centre(model.preprocessing.roi_size)
    channels = model.network.get("in_channels", 1)
    return FlippedClassDataset(datalist.part(part), datalist.flips, centre, channels=channels)


def warn_of_training_data(checkpoint: Checkpoint, entries: Sequence[DatalistEntry], name: str) -> None:
    """Say how many patients to be scored the model has been trained on.

    Args:
        checkpoint: of the model; an older one does not know what it has learnt from.
        entries: to be scored.
        name: what the message calls the model.
    """
    met = patients_trained_on(checkpoint.learnt_from, entries)
    if met:
        patients = len({entry.patient_id for entry in entries})
        _logger.warning(
            "%s was trained on %d of the %d patients: its scores are better than those on new patients",
            name,
            len(met),
            patients,
        )
