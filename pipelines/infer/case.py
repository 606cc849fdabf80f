"""One case, from its input to its folder: read, infer, write.

``run_case`` is what every way of running calls: the command for one study, a process of the machine, an actor of a
Ray cluster. Given the same request, weights, device and threads it writes the same bytes, ``run.json`` apart.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from mose_med import __version__
from mose_med.api.case import Case
from mose_med.api.model import Model
from mose_med.api.reading import CaseInput, CaseRequest
from mose_med.api.stages import Stages
from mose_med.api.writers import RUN_MARK, RUN_NAME
from mose_med.case_contents.maps import PROVENANCE_NAME, class_marks, maps_of_kind
from mose_med.errors import ConfigError, DataError
from mose_med.io import Source
from pipelines.common.case_names import case_name
from pipelines.common.memory import named_memory_errors
from pipelines.common.runs.run_folder import differing_option, options_record
from pipelines.infer.case_records import case_lesions, case_record, faulty
from pipelines.infer.store import Destination, ResultStore

__all__ = ["CaseOutcome", "finish_case", "run_case"]

_LOGGER = logging.getLogger(__name__)


class CaseOutcome(NamedTuple):
    """The outcome of a case; small and picklable.

    Attributes:
        case: its name.
        source: who it is of; for ``private/`` alone.
        resumed: it was there already.
        seconds: of every stage.
        provenance_sha256: of its ``provenance.json``.
    """

    case: str
    source: Source
    resumed: bool
    seconds: dict[str, float]
    provenance_sha256: str


def run_case(model: Model, request: CaseRequest, destination: Destination, stages: Stages) -> CaseOutcome:
    """Read, infer and write one case; ``stages`` records the progress, also after an error.

    Raises:
        ConfigError: if the case is there with another request.
        DataError: if the study or the nodule list cannot be used.
        GeometryError: if the geometry of the study is not supported.
    """
    with stages.enter("read"):
        read = model.read(request)
    return finish_case(model, request, read, destination, stages)


def finish_case(
    model: Model, request: CaseRequest, read: CaseInput, destination: Destination, stages: Stages
) -> CaseOutcome:
    """Infer and write a case that was read, unless it exists and may stay.

    Raises:
        ConfigError: if the case is there with another request and may not be replaced, or is a link.
        DataError: if the case is there and damaged, and may not be replaced.
    """
    case = stages.case = request.case or case_name(destination.key, read.identity)
    store = destination.store()
    options = request.options.folder_options(model.weights_sha256)
    wanted = {"request": read.request(), "options": options, "maps": _maps(model, options["outputs"])}
    resumed = not _may_replace(store, case, destination) and _is_done(store, case, wanted, destination.mark)
    if resumed:
        _LOGGER.info("%s is already done", case)
    else:
        store.require_no_link(case)
        with stages.enter("infer"), _named_memory_errors(request):
            inferred = model.infer_input(request, read, stages)
        with stages.enter("write"):
            _write(store, case, inferred, wanted, destination)
    provenance = store.read(f"{case}/{PROVENANCE_NAME}") or b""
    return CaseOutcome(case, read.study.source, resumed, stages.seconds, hashlib.sha256(provenance).hexdigest())


def _maps(model: Model, outputs: Iterable[str]) -> list[str]:
    """Files of the maps that a case of this model has."""
    experts, marks = model.network.num_experts, class_marks(model.classes[1:])
    return [f"{name}.nii.gz" for kind in outputs for name in maps_of_kind(kind, experts, marks)]


def _may_replace(store: ResultStore, case: str, destination: Destination) -> bool:
    """Whether a case that is there is replaced: never one that this run itself wrote, of a study that comes twice."""
    return destination.overwrite and not _is_of_run(store, case, destination.mark)


def _is_of_run(store: ResultStore, case: str, mark: str) -> bool:
    """Whether this run wrote the case; not if that cannot be read, since a run writes whole files."""
    if not mark:
        return False
    try:
        return case_record(store, case, RUN_NAME).get(RUN_MARK) == mark
    except DataError:
        return False


def _is_done(store: ResultStore, case: str, wanted: dict[str, Any], mark: str) -> bool:
    """Whether the case exists as requested: the same request, options and weights; another is refused.

    Raises:
        ConfigError: if it is another.
        DataError: if its files are damaged or missing.
    """
    files = store.files(case)
    if PROVENANCE_NAME not in files:
        return False
    record = case_record(store, case, PROVENANCE_NAME)
    try:
        made_by = record["versions"]["mose-med"]
        differs = _difference(record, made_by, wanted)
    except (KeyError, TypeError, AttributeError) as error:
        raise faulty(case, PROVENANCE_NAME) from error
    if differs is not None and _is_of_run(store, case, mark):
        raise ConfigError(
            f"{case} {differs} by this run: the study comes twice, give each a name in the column case of a manifest"
        )
    if differs is not None:
        raise ConfigError(f"{case} {differs}: name another output folder or add --overwrite")
    # Other versions may have written other maps.
    missing = [name for name in wanted["maps"] if name not in files] if made_by == __version__ else []
    if missing:
        raise faulty(case, missing[0], "is missing")
    case_lesions(store, case)
    return True


def _difference(found: dict[str, Any], made_by: str, wanted: dict[str, Any]) -> str | None:
    """How a case differs from what is wanted; for an accepted case of another version, only in what both record."""
    request = wanted["request"]
    for name in request if made_by == __version__ else request.keys() & found["request"]:
        if found["request"].get(name) != request[name]:
            return f"was made with different {name}"
    options = found["options"] | {"version": made_by}
    return differing_option(options, options_record(wanted["options"]), accept_version=True)


def _named_memory_errors(request: CaseRequest) -> AbstractContextManager[None]:
    windows = request.options.sw_batch_size
    return named_memory_errors(
        f"while batches of {windows} windows were inferred", "set a smaller --sw-batch-size, or ask for fewer --samples"
    )


def _write(store: ResultStore, case: str, inferred: Case, wanted: dict[str, Any], destination: Destination) -> None:
    """Write the folder of a case; where another worker of this run wrote the same case meanwhile, that one stays."""
    try:
        with store.publish(case, overwrite=_may_replace(store, case, destination)) as folder:
            inferred.write_files(folder, case, destination.mark)
    except FileExistsError as error:
        if not _is_done(store, case, wanted, destination.mark):
            raise ConfigError(f"the output has a folder {case} that no run made: remove it") from error
