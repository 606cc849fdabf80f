"""``mose-med doctor``: what is wrong with a prepared data set or with this machine, and where."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from data_prep.verification import Finding, verify
from mose_med.errors import ConfigError
from pipelines.common.command_line.console import ExitCode
from pipelines.common.command_result import Outcome
from pipelines.doctor.environment import checks

__all__ = ["examine", "examine_environment"]

_STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def examine(data: Path) -> Outcome:
    """Print every finding on standard output, one line each.

    Returns:
        The findings; DONE if nothing is wrong, BAD_INPUT if anything is.

    Raises:
        ConfigError: if there is no such folder.
    """
    if not data.is_dir():
        raise ConfigError(f"data {data} is not a folder: name the one that `mose-med prepare` wrote")
    console = Console()
    findings = []
    for finding in verify(data):
        findings.append(finding)
        console.print(_line(finding), markup=False, highlight=False, soft_wrap=True)
    num_wrong = sum(finding.is_wrong for finding in findings)
    verdict = f"{num_wrong} wrong" if num_wrong else "nothing wrong"
    num_notes = len(findings) - num_wrong
    console.print(f"{data}: {verdict}, {num_notes} to know of", markup=False, highlight=False, soft_wrap=True)
    return Outcome({"findings": findings}, ExitCode.BAD_INPUT if num_wrong else ExitCode.DONE)


def examine_environment(folder: Path) -> Outcome:
    """Print every check on standard output, with a line on what to do below those that are wrong.

    Returns:
        The checks; DONE if nothing is wrong, BAD_INPUT if anything is.
    """
    console = Console()
    found = []
    for check in checks(folder):
        found.append(check)
        lines = [f"{check.state:5} {check.name}: {check.found}"] + ([f"      fix: {check.fix}"] if check.fix else [])
        console.print("\n".join(lines), style=_STYLES[check.state], markup=False, highlight=False, soft_wrap=True)
    wrong = any(check.state == "wrong" for check in found)
    return Outcome({"checks": found}, ExitCode.BAD_INPUT if wrong else ExitCode.DONE)


def _line(finding: Finding) -> str:
    return f"{'WRONG' if finding.is_wrong else 'note '} {finding.place} {finding.what}"
