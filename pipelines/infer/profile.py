"""Time of a case by stage, from ``run.json``: the table of ``mose-med infer --profile``."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from mose_med.api.writers import RUN_NAME
from pipelines.common.command_line.console import stderr
from pipelines.infer.case_records import case_record
from pipelines.infer.store import FolderStore

__all__ = ["profile_table", "say_profile"]

_STAGES = {
    "start_s": "start: interpreter and imports (processor time)",
    "load_s": "load the weights, choose the precision",
    "read_s": "read and check the study",
    "infer_s": "infer: network, blending, lesions",
    "write_s": "write the folder of the case",
}


def profile_table(folder: Path) -> Table:
    """Stages of a finished case with their seconds and shares; stages that were not timed are left out."""
    run = case_record(FolderStore(folder.parent), folder.name, RUN_NAME)
    seconds = {name: float(run[name]) for name in _STAGES if name in run}
    total = sum(seconds.values())
    table = Table("stage", "seconds", "share", box=None, pad_edge=False)
    for name, spent in seconds.items():
        table.add_row(_STAGES[name], f"{spent:.2f}", f"{100 * spent / max(total, 1e-9):.0f} %")
    table.add_row("together", f"{total:.2f}", "")
    table.add_row(f"{run['windows']} windows on {run['region_slices']} slices", "", "")
    return table


def say_profile(folder: Path) -> None:
    """Print the table."""
    stderr.print(profile_table(folder))
