"""Datalists, datasets and transforms of slices that several raters annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mose_med.runtime.lazy_names import names_from

if TYPE_CHECKING:
    from mose_med.data.augmentation import RandFlipRotateBatchd, RandIntensityBatchd
    from mose_med.data.batch import MultiRaterBatch
    from mose_med.data.class_flips import CITYSCAPES_FLIPS, ClassFlip, flipped_labels, mode_probabilities
    from mose_med.data.datalist import PARTS, Datalist, DatalistEntry, load_datalist
    from mose_med.data.dataset import EpochIndex, EpochSampler, MultiRaterDataset
    from mose_med.data.flipped_class_dataset import FlippedClassDataset
    from mose_med.data.image_sources import VolumePreprocessing, image_files
    from mose_med.data.pictures import PictureInputd, picture_augmentation, picture_centre
    from mose_med.data.training_record import learnt_from, patients_trained_on

__all__ = [
    "CITYSCAPES_FLIPS",
    "PARTS",
    "ClassFlip",
    "Datalist",
    "DatalistEntry",
    "EpochIndex",
    "EpochSampler",
    "FlippedClassDataset",
    "MultiRaterBatch",
    "MultiRaterDataset",
    "PictureInputd",
    "RandFlipRotateBatchd",
    "RandIntensityBatchd",
    "VolumePreprocessing",
    "flipped_labels",
    "image_files",
    "learnt_from",
    "load_datalist",
    "mode_probabilities",
    "patients_trained_on",
    "picture_augmentation",
    "picture_centre",
]

__getattr__ = names_from(
    __name__,
    {
        "augmentation": "RandFlipRotateBatchd RandIntensityBatchd",
        "batch": "MultiRaterBatch",
        "class_flips": "CITYSCAPES_FLIPS ClassFlip flipped_labels mode_probabilities",
        "datalist": "PARTS Datalist DatalistEntry load_datalist",
        "dataset": "EpochIndex EpochSampler MultiRaterDataset",
        "flipped_class_dataset": "FlippedClassDataset",
        "image_sources": "VolumePreprocessing image_files",
        "pictures": "PictureInputd picture_augmentation picture_centre",
        "training_record": "learnt_from patients_trained_on",
    },
)
