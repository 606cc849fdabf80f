"""Options of ``mose-med prepare`` for files other than LIDC's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from data_prep.crop_options import RoiSize, SpacingMm
from mose_med.errors import ConfigError
from mose_med.options import Limits, Option
from pipelines.common.case_names import key_id, read_case_key
from pipelines.common.options import Acquisition, OutputDir
from pipelines.prepare.options import CaseOptions, SplitOptions

__all__ = [
    "PrepareCityscapesOptions",
    "PrepareCommunityOptions",
    "PrepareLabelDatastoreOptions",
    "PrepareRaterMasksOptions",
]

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_CLASSES = 255


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


@dataclass(frozen=True)
class PrepareCommunityOptions(SplitOptions):
    """The split is of series, whose UIDs stand for patients. An HDF5 file has parts of its own."""

    file: Annotated[Path, Option("data_lidc.pickle or data_lidc.hdf5.", is_argument=True, metavar="FILE")]
    output_dir: OutputDir
    undo_mask_offset: Annotated[bool, Option("Move the pickle's masks by one pixel, where the contours are.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.file.is_file():
            raise ConfigError(f"file {self.file} does not exist: name data_lidc.pickle or data_lidc.hdf5")
        if not self.is_hdf5:
            return
        if self.undo_mask_offset:
            raise ConfigError(f"undo_mask_offset is for the pickle, but {self.file} is an HDF5 file: leave it out")
        if self.split_csv is not None or self.split_salt:
            raise ConfigError(f"{self.file} has parts of its own: leave out split_csv and split_salt")

    @property
    def is_hdf5(self) -> bool:
        """Whether the file is an HDF5 file."""
        with self.file.open("rb") as file:
            return file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE

    def record(self) -> dict[str, Any]:
        """What decides the result."""
        from data_prep.split import read_split

        named = {} if self.split_csv is None else read_split(self.split_csv)
        return {
            "source": "community",
            "file": str(self.file.resolve()),
            "undo_mask_offset": self.undo_mask_offset,
            "split": self.split_record(named),
            "keep_going": self.keep_going,
        }


@dataclass(frozen=True)
class PrepareRaterMasksOptions(SplitOptions):
    """The split is by original ids. ``private/id_map.csv`` links hashes to them."""

    source: Annotated[
        Path,
        Option(
            "Folder of <case>/image.nii.gz and <case>/rater-<name>.nii.gz, or CSV of case,image,rater,mask.",
            is_argument=True,
            metavar="SOURCE",
        ),
    ]
    output_dir: OutputDir
    classes: Annotated[
        tuple[str, ...],
        Option(
            "Names of the values 0, 1, .. of the masks, background first, with commas.",
            typed=str,
            parse=_names,
            default="background,lesion",
        ),
    ] = ("background", "lesion")
    roi_size: RoiSize = (128, 128)
    spacing_mm: SpacingMm = None
    keep_ids: Annotated[bool, Option("Write the ids of cases and patients as they are, not their keyed hash.")] = False
    case_key: Annotated[
        Path | None,
        Option(
            "private/case.key of an earlier preparation, whose names of cases and patients are kept.",
            default_text="a new key, or with --overwrite that of the folder",
        ),
    ] = None
    name: Annotated[str, Option("Name of the data set.")] = "rater masks"
    layer: Annotated[
        str | None,
        Option(
            "Segment, by name, or layer, from 0, of 3D Slicer's .seg.nrrd masks; region, by name, of an RTSTRUCT.",
            default_text="the only one",
        ),
    ] = None
    acquisition: Acquisition = None
    num_raters: Annotated[
        int | None,
        Option("Raters of the datalist, as the model has them.", default_text="those that there are", at_least=1),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        different = set(self.classes) - {""}
        if not 2 <= len(self.classes) <= _MAX_CLASSES or len(different) < len(self.classes):
            raise ConfigError(
                f"classes must be at least two different names, background first, none empty, got {self.classes}"
            )
        if self.keep_ids and self.case_key is not None:
            raise ConfigError("--keep-ids keeps the ids, and --case-key renames them: leave one out")

    def record(self, split: Mapping[str, str]) -> dict[str, Any]:
        """What decides the result, without telling ids or paths."""
        return {
            "source": "rater-masks",
            "classes": list(self.classes),
            "roi_size": list(self.roi_size),
            "spacing_mm": "native" if self.spacing_mm is None else self.spacing_mm,
            "keep_ids": self.keep_ids,
            "name": self.name,
            "layer": self.layer,
            "split": self.split_record(split),
            "keep_going": self.keep_going,
            **({} if self.acquisition is None else {"acquisition": self.acquisition}),
            **({} if self.num_raters is None else {"num_raters": self.num_raters}),
            **({} if self.case_key is None else {"named_by_key_sha256": key_id(read_case_key(self.case_key))}),
        }


@dataclass(frozen=True)
class PrepareLabelDatastoreOptions(PrepareRaterMasksOptions):
    """Labels of a MONAI Label server, a rater a tag."""

    source: Annotated[Path, Option("Folder that the server was pointed at.", is_argument=True, metavar="STUDIES")]
    classes: Annotated[
        tuple[str, ...],
        Option(
            "Names of the values 0, 1, .. of the masks, background first, with commas.",
            typed=str,
            parse=_names,
            default="background,nodule",
        ),
    ] = ("background", "nodule")
    name: Annotated[str, Option("Name of the data set.")] = "label datastore"


@dataclass(frozen=True)
class PrepareCityscapesOptions(CaseOptions):
    """Street scenes.

    Attributes:
        size: rows and columns to rescale to.
    """

    root: Annotated[Path, Option("Folder that holds leftImg8bit and gtFine.")]
    output_dir: OutputDir
    predictions: Annotated[
        Path | None,
        Option(
            "PNG of label ids that another model predicts: a fourth input channel.",
            name="prediction_channel",
            former_name="predictions",
        ),
    ] = None
    size: Annotated[tuple[int, int], Limits(at_least=1)] = (256, 512)

    def record(self) -> dict[str, Any]:
        """What decides the result."""
        return {
            "source": "cityscapes",
            "root": str(self.root.resolve()),
            "predictions": None if self.predictions is None else str(self.predictions.resolve()),
            "size": list(self.size),
            "keep_going": self.keep_going,
        }
