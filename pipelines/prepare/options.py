"""Options that several sources of ``mose-med prepare`` have in common."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.split import read_split, require_training_and_validation, split_by_hash
from mose_med.errors import ConfigError

__all__ = ["CaseOptions", "FolderOptions", "SplitOptions"]


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How an output folder is written.

    Attributes:
        overwrite: replace an output folder made with other options.
        quiet: no progress bar.
    """

    overwrite: bool = False
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class CaseOptions(FolderOptions):
    """Sources of many cases.

    Attributes:
        keep_going: record a case that cannot be used in ``failed.csv`` and go on.
    """

    keep_going: bool = False


@dataclass(frozen=True, kw_only=True)
class SplitOptions(CaseOptions):
    """Sources that are split here.

    Attributes:
        split_csv: CSV file of ``patient_id,part``; only the patients in it are prepared. None splits by hash.
        split_salt: changes which patients the hash puts where.
        fractions: expected shares of training, validation and test in the split by hash.
    """

    split_csv: Path | None = None
    split_salt: str = ""
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)

    def split(self, patients: Iterable[str]) -> dict[str, str]:
        """Part of every patient that is to be prepared, sorted by patient.

        Raises:
            ConfigError: if the file or the fractions do not fit, or training or validation has no patient. It names a
                patient of the file and one that is there, if the file names none of them.
        """
        there = sorted(patients)
        if self.split_csv is None:
            split = split_by_hash(there, self.split_salt, self.fractions)
        else:
            named = read_split(self.split_csv)
            split = {patient: named[patient] for patient in there if patient in named}
            if not split and named and there:
                names = f"it names {next(iter(named))}, there is {there[0]}"
                raise ConfigError(f"split file {self.split_csv} names none of the {len(there)} patients: {names}")
        require_training_and_validation(Counter(split.values()), "patient")
        return split

    def split_record(self, split: Mapping[str, str]) -> dict[str, Any]:
        """What decides the split, without naming a patient."""
        if self.split_csv is None:
            return {"salt": self.split_salt, "fractions": list(self.fractions)}
        return {"sha256_of_parts": hashlib.sha256(json.dumps(sorted(split.items())).encode()).hexdigest()}
