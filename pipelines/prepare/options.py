"""Options of ``mose-med prepare``, by source: light to import."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from data_prep.crop_options import CropOptions
from data_prep.phantom.appearance import CONTRAST_HU, NOISE_HU, ContrastHu, KnownAppearance, NoiseHu
from mose_med.errors import ConfigError
from mose_med.options import Limits, Option, check_options
from pipelines.common.options import (
    RUN_PANEL,
    KeepGoing,
    LidcRoot,
    OutputDir,
    Overwrite,
    Quiet,
    Seed,
    SplitCsv,
    SplitSalt,
)

__all__ = [
    "AuditLidcOptions",
    "CaseOptions",
    "FolderOptions",
    "PrepareKnownPhantomOptions",
    "PrepareLidcOptions",
    "PreparePhantomOptions",
    "SplitOptions",
    "demo_patients",
]

_LOGGER = logging.getLogger(__name__)
#: A phantom of a known law has a patient for each of its turns, at least.
_FEWEST_PATIENTS = 5

_Form = Annotated[
    Literal["dicom", "datalist"],
    Option(
        "DICOM with LIDC's contours, or a datalist of raters drawn from a known law.", name="kind", former_name="form"
    ),
]


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How an output folder is written."""

    overwrite: Overwrite = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class CaseOptions(FolderOptions):
    """Sources of many cases."""

    keep_going: KeepGoing = False


def _require_one_split(split_csv: Path | None, split_salt: str) -> None:
    if split_csv is not None and split_salt:
        raise ConfigError("--split-salt applies only without --split, got both: give one of them")


@dataclass(frozen=True, kw_only=True)
class SplitOptions(CaseOptions):
    """Sources that are split here; only patients in the CSV file are prepared.

    Attributes:
        fractions: expected shares of training, validation and test in the split by hash.
    """

    split_csv: SplitCsv = None
    split_salt: SplitSalt = ""
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_one_split(self.split_csv, self.split_salt)

    def split(self, patients: Iterable[str]) -> dict[str, str]:
        """Part of every patient that is to be prepared, sorted by patient.

        Raises:
            ConfigError: if the file or the fractions do not fit, or training or validation has no patient. It names a
                patient of the file and one that is there, if the file names none of them.
        """
        from data_prep.split import composed, read_split, require_training_and_validation, split_by_hash

        there = sorted(patients)
        if self.split_csv is None:
            split = split_by_hash(there, self.split_salt, self.fractions)
        else:
            named = read_split(self.split_csv)
            split = {patient: named[composed(patient)] for patient in there if composed(patient) in named}
            if not split and named and there:
                names = f"it names {next(iter(named))}, there is {there[0]}"
                raise ConfigError(f"split file {self.split_csv} names none of the {len(there)} patients: {names}")
            _say_differences(self.split_csv, len(there) - len(split), len(named) - len(split))
        require_training_and_validation(Counter(split.values()), "patient")
        return split

    def split_record(self, split: Mapping[str, str]) -> dict[str, Any]:
        """Options that decide the split, without naming a patient."""
        if self.split_csv is None:
            return {"salt": self.split_salt, "fractions": list(self.fractions)}
        return {"sha256_of_parts": hashlib.sha256(json.dumps(sorted(split.items())).encode()).hexdigest()}


def _say_differences(split_file: Path, not_named: int, not_there: int) -> None:
    """Say how many patients only the data or only the split file has."""
    if not_named and not_there:
        _LOGGER.warning(
            "%d patients are not in split file %s and are left out, %d that it names are not there: are names written "
            "alike (007 is not 7)?",
            not_named,
            split_file,
            not_there,
        )
    elif not_named:
        _LOGGER.info("patients that are not in split file %s are left out: %d", split_file, not_named)
    elif not_there:
        _LOGGER.info("patients of split file %s that are not there: %d", split_file, not_there)


@dataclass(frozen=True)
class PrepareLidcOptions(SplitOptions):
    """Options for preparing LIDC-IDRI."""

    lidc_root: LidcRoot
    output_dir: OutputDir
    crops: CropOptions = field(default_factory=CropOptions)
    window_hu: Annotated[
        tuple[float, float] | None,
        Option("LO HI in HU, recorded as the display window; voxels are not clipped.", name="window"),
    ] = None
    missing_raters: Annotated[
        Literal["empty", "drop"], Option("How to treat a rater who did not mark a nodule: an empty mask, or weight 0.")
    ] = "empty"
    labels: Annotated[
        Literal["all", "one"], Option("All raters, or one drawn by the seed for each training slice.")
    ] = "all"
    jobs: Annotated[int, Option("Processes; the result is the same for any number.", panel=RUN_PANEL, at_least=1)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_hu is not None and self.window_hu[0] >= self.window_hu[1]:
            raise ConfigError(f"window_hu must be (low, high) with low < high, got {self.window_hu}")


@dataclass(frozen=True)
class AuditLidcOptions:
    """Options for counting LIDC-IDRI."""

    crops: CropOptions = field(default_factory=CropOptions)
    split_csv: SplitCsv = None
    split_salt: SplitSalt = ""
    audit: Annotated[bool, Option("Only print the counts for these options; no image is read.")] = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        _require_one_split(self.split_csv, self.split_salt)


def demo_patients(number: int | None = None) -> tuple[str, ...]:
    """The first patients of the demonstration; all of them if None.

    Raises:
        ConfigError: if it has fewer.
    """
    from data_prep.phantom import DEMO_SPLIT_CSV
    from data_prep.split import read_split

    patients = tuple(read_split(DEMO_SPLIT_CSV))
    if number is not None and not 1 <= number <= len(patients):
        raise ConfigError(f"patients must be between 1 and {len(patients)}, got {number}")
    return patients[:number]


@dataclass(frozen=True)
class PreparePhantomOptions(FolderOptions):
    """CT with the contours of LIDC-IDRI, to be given to ``prepare lidc``.

    Attributes:
        margin_slices: slices below and above the annotated ones.
    """

    output_dir: OutputDir
    seed: Seed = 0
    patients: Annotated[
        tuple[str, ...] | None,
        Option(
            "Number of patients: 1 to 20 as DICOM, at least 5 as datalist.",
            typed=int,
            parse=demo_patients,
            default_text="20 as DICOM, 40 as datalist",
            at_least=1,
        ),
    ] = None
    margin_slices: Annotated[int, Limits(at_least=0)] = 2
    noise_hu: NoiseHu = NOISE_HU
    contrast_hu: ContrastHu = CONTRAST_HU
    form: _Form = "dicom"


@dataclass(frozen=True)
class PrepareKnownPhantomOptions(FolderOptions):
    """Phantoms of one nodule each; of five, three are for training, one each for the other parts.

    Attributes:
        num_raters: masks of every slice.
    """

    output_dir: OutputDir
    seed: Seed = 0
    patients: Annotated[int, Option("Number of phantoms.", at_least=1)] = 40
    num_raters: Annotated[int, Limits(at_least=1)] = 4
    appearance: KnownAppearance = field(default_factory=KnownAppearance)
    form: _Form = "datalist"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patients < _FEWEST_PATIENTS:
            raise ConfigError(f"patients must be >= {_FEWEST_PATIENTS}, one for each part, got {self.patients}")
