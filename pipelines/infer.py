"""``mose-med infer``: from a CT study to a folder with the distributions of its lesions.

Nothing but ``private/`` says whose study it was or where it lay.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipelines.case_names import case_key, record_case
from pipelines.cohort.journal import failed_cases
from pipelines.console import stderr
from pipelines.inference.case import Destination, finish_case
from pipelines.inference.model import LoadedModel, load_model
from pipelines.inference.options import InferOptions
from pipelines.inference.reading import CaseRequest, read_case
from pipelines.inference.stages import Stages
from pipelines.inference.store import FolderStore
from pipelines.inference.tables import write_tables
from pipelines.inference.writers import folder_options
from pipelines.run_folder import claim_folder

__all__ = ["InferOptions", "InferResult", "infer"]


class InferResult(NamedTuple):
    """The case that was inferred, its folder, and whether it was there already."""

    case: str
    folder: Path
    resumed: bool


def infer(options: InferOptions) -> InferResult:
    """Infer one study and write its case folder, ``summary.csv``, ``failed.csv`` and ``private/``.

    Whatever can be wrong with the input is found before the output folder is touched.

    Raises:
        ConfigError: if an option does not fit, or the output folder holds results of other options.
        DataError: if the input, the nodule list or the checkpoint cannot be used.
        GeometryError: if the geometry of the input does not fit.
    """
    stages = Stages(None if options.quiet else lambda stage: stderr.status(f"infer: {stage}"))
    request = CaseRequest(
        options.source, options.nodules, options.series, options.result_options(), lung_mask=options.lung_mask
    )
    options.check()
    model = load_model(options.checkpoint, options.device, options.threads)
    with stages.enter("read"):
        read = read_case(request)
    out = options.output_dir
    with _claimed(options, model):
        destination = Destination(str(out), case_key(out), options.overwrite)
        outcome = finish_case(model, request, read, destination, stages)
        record_case(out, outcome.case, options.source, outcome.source)
        write_tables(FolderStore(out), failed_cases(out))
    return InferResult(outcome.case, out / outcome.case, outcome.resumed)


@contextmanager
def _claimed(options: InferOptions, model: LoadedModel) -> Iterator[None]:
    """Claim the output folder; a run that fails in a folder that was new leaves nothing behind."""
    folder = options.output_dir
    existed = folder.exists()
    resumed = claim_folder(folder, folder_options(options, model), overwrite=options.overwrite)
    try:
        yield
    except BaseException:
        if not resumed:
            shutil.rmtree(folder)
            if existed:
                folder.mkdir()
        raise
