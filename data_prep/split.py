"""Which patient belongs to which part of the data: training, validation or test.

All slices of a patient are in one part, so that no patient is both learnt from and measured on.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from mose_med.data.datalist import PARTS
from mose_med.errors import ConfigError
from mose_med.files.tables import read_table

__all__ = ["composed", "read_split", "require_training_and_validation", "split_by_hash"]


def split_by_hash(patients: Iterable[str], salt: str, fractions: tuple[float, float, float]) -> dict[str, str]:
    """Assign patients to parts by a hash of their id, independent of the other patients.

    Args:
        patients: patient ids.
        salt: another salt gives another split.
        fractions: expected shares of training, validation and test; they sum to 1.

    Returns:
        The part of every patient.

    Raises:
        ConfigError: if the fractions do not fit.

    Example:
        >>> split_by_hash(["LIDC-IDRI-0001", "LIDC-IDRI-0002"], salt="", fractions=(0.5, 0.5, 0.0))
        {'LIDC-IDRI-0001': 'training', 'LIDC-IDRI-0002': 'validation'}
    """
    if len(fractions) != len(PARTS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(f"fractions must be three shares >= 0 that sum to 1, got {tuple(fractions)}")
    return {patient: _part_of(patient, salt, fractions) for patient in patients}


def _part_of(patient: str, salt: str, fractions: tuple[float, float, float]) -> str:
    digest = hashlib.sha256(f"{salt}{patient}".encode("utf-8", "surrogateescape")).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    training, validation, _ = fractions
    if position < training:
        return PARTS[0]
    return PARTS[1] if position < training + validation else PARTS[2]


def composed(name: str) -> str:
    """A name with its accents in one form: file systems and tables write them in one character or in two.

    Example:
        >>> composed("Ju\u0308rgen") == "J\u00fcrgen"
        True
    """
    return unicodedata.normalize("NFC", name)


def read_split(path: Path) -> dict[str, str]:
    """Read the part of every patient, by :func:`composed` id, from a CSV file with ``patient_id`` and ``part``.

    Raises:
        ConfigError: if the file is missing, lacks a column, names an unknown part or a patient twice.
    """
    columns, rows = read_table(path, "split file", ConfigError, ("patient_id", "part"))
    if not {"patient_id", "part"} <= set(columns):
        raise ConfigError(f"split file {path} must have the columns patient_id,part, got {','.join(columns) or 'none'}")
    parts: dict[str, str] = {}
    for row in rows:
        line, patient, part = row.line, composed(row.text("patient_id")), row.text("part")
        if not patient or not part:
            raise ConfigError(f"split file {path}, line {line}: needs a value in the columns patient_id and part")
        if part not in PARTS:
            raise ConfigError(f"split file {path}, line {line}: part must be one of {', '.join(PARTS)}, got {part!r}")
        if patient in parts:
            raise ConfigError(f"split file {path}, line {line}: patient {patient} is named twice")
        parts[patient] = part
    return parts


def require_training_and_validation(sizes: Mapping[str, int], what: str) -> None:
    """Refuse a split without training or validation data.

    Args:
        sizes: number of ``what`` in each part.
        what: what is counted, patients for instance.

    Raises:
        ConfigError: if the training or validation part has none.
    """
    for part in PARTS[:2]:
        if not sizes.get(part):
            among = f"{part} part has no {what}, of {sum(sizes.values())} in all"
            raise ConfigError(f"{among}: use another --split-salt or name the parts with --split")
