"""The table of ``mose-med infer --list-series``; it does not identify the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mose_med.errors import ConfigError
from mose_med.io import SeriesSummary, list_series
from mose_med.io.volumes import is_volume

__all__ = ["print_series"]

_WIDTH = 10_000
_COLUMNS = ("number", "series UID", "description", "kernel", "slices", "spacing (mm)", "orientation", "readable")


def print_series(
    source: Path, *, slice_spacing: Literal["refuse", "resample"], gantry_tilt: Literal["refuse", "correct"]
) -> list[SeriesSummary]:
    """Print the CT series of a DICOM input to stdout, the one that is read by default first, and return them.

    Raises:
        ConfigError: if the input is a volume in one file.
        DataError: if it has no CT, or files that cannot be used.
    """
    if is_volume(source):
        raise ConfigError(f"--list-series applies only to a DICOM folder or zip, got the volume {source}")
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    found = list(list_series(source, slice_spacing=slice_spacing, gantry_tilt=gantry_tilt))
    for summary in found:
        table.add_row(*map(Text, _row(summary)))
    # Lines are never folded or cut, however narrow the terminal: UIDs are there to be copied.
    Console(width=_WIDTH).print(table)
    return found


def _row(summary: SeriesSummary) -> tuple[str, ...]:
    spacing = "-" if summary.spacing_mm is None else " x ".join(f"{mm:.4g}" for mm in summary.spacing_mm)
    return (
        str(summary.number),
        summary.series_uid or "-",
        summary.description or "-",
        summary.kernel or "-",
        str(summary.slices),
        spacing,
        summary.orientation,
        summary.fault or "yes",
    )
