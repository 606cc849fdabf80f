"""One case, from what it names to its folder: read, infer, write.

A case is written under a temporary name and renamed when it is whole, so that a folder with a case's name always holds
the whole case.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mose_med.errors import ConfigError
from mose_med.inferers import CaseDistribution, infer_case
from mose_med.io import Source
from pipelines.case_names import case_name
from pipelines.inference.model import LoadedModel
from pipelines.inference.reading import CaseInput, CaseRequest, read_case
from pipelines.inference.stages import Stages
from pipelines.inference.writers import PROVENANCE_NAME, WRITERS, InferredCase
from pipelines.run_folder import write_json

__all__ = ["CaseOutcome", "Destination", "finish_case", "run_case"]

_LOGGER = logging.getLogger(__name__)
_RUN_NAME = "run.json"


class Destination(NamedTuple):
    """Where folders of cases go.

    Attributes:
        folder: that holds them.
        key: of the hash that names them.
        overwrite: replace a case that was made with another request.
    """

    folder: Path
    key: bytes
    overwrite: bool = False


class CaseOutcome(NamedTuple):
    """What became of a case; small and picklable.

    Attributes:
        case: its name.
        source: who it is of; for ``private/`` alone.
        resumed: it was there already.
        seconds: of every stage.
    """

    case: str
    source: Source
    resumed: bool
    seconds: dict[str, float]


def run_case(model: LoadedModel, request: CaseRequest, destination: Destination, stages: Stages) -> CaseOutcome:
    """Read, infer and write one case; ``stages`` tells how far it came, also after an error.

    Raises:
        ConfigError: if the case is there with another request.
        DataError: if the study or the nodule list cannot be used.
        GeometryError: if the geometry of the study does not fit.
    """
    with stages.enter("read"):
        read = read_case(request)
    return finish_case(model, request, read, destination, stages)


def finish_case(
    model: LoadedModel, request: CaseRequest, read: CaseInput, destination: Destination, stages: Stages
) -> CaseOutcome:
    """Infer and write a case that was read, unless it is there already.

    Raises:
        ConfigError: if the case is there with another request and may not be replaced.
    """
    case = case_name(destination.key, read.identity)
    folder = destination.folder / case
    resumed = _is_done(folder, read.request(), overwrite=destination.overwrite)
    if resumed:
        _LOGGER.info("%s is done already", case)
    else:
        with stages.enter("infer"):
            inferred = InferredCase(request, model, read, _distribution(model, request, read))
        with _whole_folder(folder) as temporary:
            with stages.enter("write"):
                for write in WRITERS:
                    write(temporary, inferred)
            dates = {"started": stages.started.isoformat(), "finished": datetime.now(UTC).isoformat()}
            write_json(temporary / _RUN_NAME, dates | stages.seconds)
    return CaseOutcome(case, read.study.source, resumed, stages.seconds)


def _is_done(folder: Path, request: dict[str, Any], *, overwrite: bool) -> bool:
    """Whether the case is there with the same request; another request is refused, unless results may be replaced."""
    if not folder.exists():
        return False
    record = folder / PROVENANCE_NAME
    found = json.loads(record.read_text(encoding="utf-8"))["request"] if record.is_file() else {}
    differs = next((name for name in request if found.get(name) != request[name]), None)
    if differs is None:
        return True
    if not overwrite:
        raise ConfigError(f"{folder} was made with another {differs}: name another output folder or add --overwrite")
    return False


def _distribution(model: LoadedModel, request: CaseRequest, read: CaseInput) -> CaseDistribution:
    options = request.options
    return infer_case(
        model.network,
        read.study.image,
        preprocessing=model.config.preprocessing,
        nodules=[nodule.position_mm for nodule in read.nodules],
        samples_per_expert=options.samples,
        seed=options.seed,
        sw_batch_size=options.sw_batch_size,
        depth_mm=options.depth_mm,
        reach_mm=options.reach_mm,
        num_standard=model.network.num_experts * options.samples if options.form == "standard" else 0,
    )


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` if all goes well, and is removed otherwise."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
