"""``mose-med doctor``: what is wrong with a prepared data set, and where."""

from __future__ import annotations

from rich.console import Console

from data_prep.verification import Finding, verify
from mose_med.errors import ConfigError
from pipelines.common.console import ExitCode
from pipelines.doctor.options import DoctorOptions

__all__ = ["DoctorOptions", "examine"]


def examine(options: DoctorOptions) -> ExitCode:
    """Print every finding on standard output, a line each.

    Returns:
        DONE if nothing is wrong, BAD_INPUT if anything is.

    Raises:
        ConfigError: if there is no such folder.
    """
    if not options.data.is_dir():
        raise ConfigError(f"data {options.data} is not a folder: name the one that `mose-med prepare` wrote")
    console = Console()
    num_wrong = num_notes = 0
    for finding in verify(options.data):
        console.print(_line(finding), markup=False, highlight=False, soft_wrap=True)
        num_wrong += finding.is_wrong
        num_notes += not finding.is_wrong
    verdict = f"{num_wrong} wrong" if num_wrong else "nothing wrong"
    console.print(f"{options.data}: {verdict}, {num_notes} to know of", markup=False, highlight=False, soft_wrap=True)
    return ExitCode.BAD_INPUT if num_wrong else ExitCode.DONE


def _line(finding: Finding) -> str:
    return f"{'WRONG' if finding.is_wrong else 'note '} {finding.place} {finding.what}"
