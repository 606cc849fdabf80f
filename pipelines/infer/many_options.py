"""Options of ``mose-med infer`` that go with many cases."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mose_med.errors import ConfigError
from pipelines.common.console import ExitCode
from pipelines.common.options import real_number

__all__ = [
    "CaseDepth",
    "CaseTimeout",
    "DryRun",
    "Engine",
    "EngineName",
    "GpuShare",
    "InFlight",
    "InputDir",
    "Manifest",
    "PrivateDir",
    "RayAddress",
    "RetryFailed",
    "ShardName",
    "StartTimeout",
    "Workers",
    "infer_many",
    "refuse_for_one",
]


class EngineName(StrEnum):
    """Who works on a cohort."""

    LOCAL = "local"
    RAY = "ray"


def _option(*names: str, text: str, default: bool | str = False, **rules: Any) -> Any:
    return typer.Option(*names, help=text, show_default=default, rich_help_panel="Many cases", **rules)


InputDir = Annotated[Path | None, _option(text="Folder to search for cases: DICOM folders, zips, NIfTI files.")]
Manifest = Annotated[Path | None, _option(text="CSV of cases: path; case, series, nodules, lung_mask as wanted.")]
CaseDepth = Annotated[
    int | None, _option(text="Levels below --input-dir at which a folder is one case.", default="by content", min=1)
]
ShardName = Annotated[str | None, _option(text="i/n: do the i-th of n parts.")]
RetryFailed = Annotated[bool, _option("--retry-failed", text="Try again what failed before.")]
DryRun = Annotated[bool, _option("--dry-run", text="Count what would be done; do nothing.")]
CaseTimeout = Annotated[
    float | None,
    _option(
        text="Seconds that a case may take, from reading to its folder.", default="no limit", **real_number(above=0)
    ),
]
StartTimeout = Annotated[
    float, _option(text="Seconds that a worker may take to load the model.", default=True, **real_number(above=0))
]
Workers = Annotated[
    int | None, _option(text="Processes or actors.", default="one a GPU, or CPU cores / threads", min=1)
]
InFlight = Annotated[int, _option(text="Cases a worker has in hand; 1 needs least memory.", default=True, min=1)]
Engine = Annotated[EngineName, _option(text="Processes of this machine, or a Ray cluster.", default=True)]
RayAddress = Annotated[str | None, _option(text="Address of a Ray cluster.", default="one of this machine is started")]
GpuShare = Annotated[
    float, _option(text="Part of a GPU that a Ray actor takes.", default=True, **real_number(above=0, at_most=1))
]
PrivateDir = Annotated[Path | None, _option(text="Gets private/ where the output is a URL.")]


def infer_many(output_dir: str, options: dict[str, Any]) -> ExitCode:
    """Infer a cohort; exit 1 if a case failed."""
    from pipelines.infer.cohort.options import CohortOptions
    from pipelines.infer.cohort.run import infer_cohort

    result = infer_cohort(CohortOptions(output_dir, **options))
    return ExitCode.SOME_CASES_FAILED if result.failed else ExitCode.DONE


def refuse_for_one(options: dict[str, Any]) -> None:
    """Refuse options that go with many cases.

    Raises:
        ConfigError: naming the first that is not at its default.
    """
    from pipelines.infer.cohort.options import CohortOptions

    defaults = CohortOptions("")
    for name, value in options.items():
        if value != getattr(defaults, name):
            option = name.removesuffix("_s").replace("_", "-")
            raise ConfigError(f"--{option} goes with --input-dir or --manifest, not with one INPUT")
