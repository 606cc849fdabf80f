"""``mose-med infer``."""

from __future__ import annotations

import json
from typing import Any

import typer

from mose_med.case_contents.lesion_rules import LESIONS_NAME
from mose_med.errors import ConfigError
from pipelines.common.command_line.command import command, refuse_others
from pipelines.common.command_line.console import ExitCode
from pipelines.common.command_result import Outcome
from pipelines.common.imports import loading
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.options import InferOptions, ListSeriesOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        choose=_chosen,
        examples=(
            "mose-med infer study.zip --nodules nodules.csv --output-dir results --report",
            "mose-med infer --input-dir studies --output-dir results --workers 2 --case-timeout 600",
        ),
    )(infer)


def infer(options: InferOptions | CohortOptions | ListSeriesOptions) -> Any:
    """Every plausible outline of the lesions with its probability, as NIfTI on the study's own grid.

    Lesions are those of --nodules; without it, the lungs are searched.

    Give one INPUT, a study of an archive with --dicomweb, or many cases with --input-dir or --manifest. The same
    command resumes where it stopped.
    """
    if isinstance(options, ListSeriesOptions):
        with loading():
            from pipelines.infer.series_table import print_series

        if options.source is None:
            raise ConfigError("--list-series needs INPUT, a DICOM folder or zip")
        found = print_series(options.source, slice_spacing=options.slice_spacing, gantry_tilt=options.gantry_tilt)
        return {"series": found}
    if isinstance(options, CohortOptions):
        with loading():
            from pipelines.infer.cohort.run import infer_cohort

        result = infer_cohort(options)
        return Outcome(result, ExitCode.SOME_CASES_FAILED if result.failed else ExitCode.DONE)
    with loading():
        from pipelines.infer.run import infer

    done = infer(options)
    return done._asdict() | json.loads((done.folder / LESIONS_NAME).read_text(encoding="utf-8"))


def _chosen(given: dict[str, Any]) -> type:
    """One study, many, or only a list of the series; options that do not apply are refused."""
    if "list_series" in given:
        refuse_others(given, ListSeriesOptions, "cannot be combined with --list-series: leave it out")
        return ListSeriesOptions
    if "output_dir" not in given:
        raise ConfigError("infer needs a folder for its results: pass --output-dir DIR")
    inputs = given.keys() & {"source", "dicomweb", "input_dir", "manifest"}
    if len(inputs) != 1:
        raise ConfigError("give exactly one of INPUT, --dicomweb, --input-dir and --manifest")
    if {"nodules", "region"} <= given.keys():
        raise ConfigError("--region applies only without a nodule list, got --nodules too: give one of them")
    if inputs & {"input_dir", "manifest"}:
        for name in ("study", "ca_bundle"):
            if name in given:
                raise ConfigError(f"--{name.replace('_', '-')} needs --dicomweb URL, got {given[name]} without it")
        if "profile" in given:
            raise ConfigError("--profile applies only to one INPUT: for many, see the run.json of each case")
        refuse_others(
            given, CohortOptions, "applies only to one INPUT: give it for each case, in column {name} of the manifest"
        )
        return CohortOptions
    refuse_others(given, InferOptions, "applies only to --input-dir or --manifest, not to one INPUT")
    if "dicomweb" in given:
        given.setdefault("dicom_seg", True)
    return InferOptions
