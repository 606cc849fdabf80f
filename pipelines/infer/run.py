"""``mose-med infer``: from a CT study to a folder with the distributions of its lesions.

Only ``private/`` records whose study it was and where it came from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mose_med.api.model import load_model
from mose_med.api.reading import CaseRequest
from mose_med.api.stages import Stage, Stages
from mose_med.case_contents.dicom_kinds import dicom_files
from pipelines.common.case_names import record_case
from pipelines.common.command_line.console import stderr
from pipelines.infer.case import finish_case
from pipelines.infer.cohort.journal import failed_cases, known_records
from pipelines.infer.dicomweb import open_archive, retrieved_study
from pipelines.infer.lesion_lines import say_lesions
from pipelines.infer.options import InferOptions
from pipelines.infer.output import claimed_output
from pipelines.infer.profile import say_profile
from pipelines.infer.store import Destination
from pipelines.infer.tables import write_tables

if TYPE_CHECKING:
    from mose_med.io.dicom.web import Archive

__all__ = ["InferOptions", "InferResult", "infer"]


class InferResult(NamedTuple):
    """The case that was inferred, its folder, and whether it was there already."""

    case: str
    folder: Path
    resumed: bool


def infer(options: InferOptions) -> InferResult:
    """Infer one study and write its case folder, ``summary.csv``, ``failed.csv`` and ``private/``.

    Whatever can be wrong with the input is found before the output folder is touched. DICOM objects of a study of an
    archive are stored there last, when the folder is whole: run again, the command stores them again.

    Raises:
        ConfigError: if an option is invalid, or the output folder holds results of other options.
        DataError: if the input, the nodule list or the checkpoint cannot be used.
        GeometryError: if the geometry of the input is not supported.
    """
    start_s = round(time.process_time(), 3)
    stages = Stages() if options.quiet else _shown_stages()
    stages.seconds["start_s"] = start_s
    options.check()
    archive = None if options.dicomweb is None else open_archive(options.dicomweb, options.ca_bundle)
    with stages.timed("load"):
        model = load_model(options.checkpoint, options.device, threads=options.threads)
    with _study(options, archive) as source:
        request = CaseRequest(
            source,
            options.nodules,
            options.series,
            options.result_options(),
            lung_mask=options.lung_mask,
            acquisition=options.acquisition,
            channels=options.channels,
            origin=f"{options.dicomweb}/studies/{options.study}" if options.dicomweb else None,
        )
        with stages.enter("read"):
            read = model.read(request)
    out = options.output_dir
    folder_options = options.folder_options(model.weights_sha256)
    with claimed_output(
        str(out),
        out,
        folder_options,
        overwrite=options.overwrite,
        accept_version=options.accept_version,
        keep_claim=False,
        many=False,
    ) as output:
        destination = Destination(str(out), output.key, options.overwrite, output.mark)
        outcome = finish_case(model, request, read, destination, stages)
        with output.runs.locked():
            record_case(out, outcome.case, request.told_origin(), outcome.source)
            write_tables(output.store, failed_cases(known_records(out, folder_options).values()))
    if archive is not None and options.dicom_kinds:
        with _shown(options, "store"):
            archive.store(dicom_files(out / outcome.case))
    say_lesions(out / outcome.case, searched=options.nodules is None)
    if options.profile:
        say_profile(out / outcome.case)
    return InferResult(outcome.case, out / outcome.case, outcome.resumed)


@contextmanager
def _study(options: InferOptions, archive: Archive | None) -> Iterator[Path]:
    """The source that the study is read from."""
    if archive is None or options.study is None:
        yield options.source or Path()
        return
    with ExitStack() as stack:
        with _shown(options, "retrieve"):
            folder = stack.enter_context(retrieved_study(archive, options.study, options.series))
        yield folder


def _shown_stages() -> Stages:
    """Stages with a line on the terminal that says how far they are."""
    line = stderr.status("infer")

    def around(stage: Stage) -> AbstractContextManager[object]:
        line.update(f"infer: {stage}")
        return line

    return Stages(around, lambda what, done, total: line.update(f"infer: {done:,} of {total:,} {what}"))


def _shown(options: InferOptions, what: str) -> AbstractContextManager[object]:
    return nullcontext() if options.quiet else stderr.status(f"infer: {what}")
