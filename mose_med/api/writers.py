"""The content of a case folder.

Each writer is given the folder, the inferred case and its name, and adds its files; a further kind of file (a DICOM
object, a report) is a further function in ``WRITERS``, which writes nothing unless the options ask for it. Threads
compress the maps while the others work: making DICOM objects takes as long and uses one core.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

from mose_med import __version__
from mose_med.api.reading import CaseInput, CaseRequest
from mose_med.api.stages import Stages
from mose_med.case_contents.dicom_kinds import DICOM_NAME
from mose_med.case_contents.maps import PROVENANCE_NAME, outputs_in_order
from mose_med.case_contents.provenance import tool_versions
from mose_med.files.whole_files import write_json
from mose_med.geometry import spacing_mm
from mose_med.inferers import CaseDistribution
from mose_med.io import Study
from mose_med.io.case.unwritten import UnwrittenCase
from mose_med.io.case.writing import write_case
from mose_med.model_config import ModelConfig

if TYPE_CHECKING:
    from mose_med.io.dicom.source import SourceSeries

__all__ = ["RUN_MARK", "RUN_NAME", "WRITERS", "InferredCase", "record_of", "write_folder"]

_LOGGER = logging.getLogger(__name__)
_Writer = Callable[[Path, "InferredCase", str], None]
RUN_NAME = "run.json"
#: In that file: which run wrote the case.
RUN_MARK = "run"


class InferredCase(NamedTuple):
    """All that is known of a case when its folder is written.

    Attributes:
        request: what was asked for.
        input: what was read.
        config: of the model.
        weights_sha256: of the model.
        environment: what besides options and versions can change the last bits of a result.
        distribution: of the case.
        stages: the time of each stage.
    """

    request: CaseRequest
    input: CaseInput
    config: ModelConfig
    weights_sha256: str
    environment: dict[str, Any]
    distribution: CaseDistribution
    stages: Stages


def _write_maps(folder: Path, case: InferredCase, threads: int) -> None:
    options, transforms = case.request.options, case.input.study.transforms
    outputs = outputs_in_order(options.outputs)
    write_case(folder, case.distribution, threads, transforms, maps=options.maps, outputs=outputs)


def record_of(case: InferredCase) -> dict[str, Any]:
    """All that decided the files of a case, in plain types."""
    study = case.input.study
    affine = np.asarray(study.image.affine, dtype=np.float64)
    return {
        "versions": tool_versions(),
        "environment": case.environment | {"sw_batch_size": case.request.options.sw_batch_size},
        "options": case.request.options.folder_options(case.weights_sha256),
        "request": case.input.request(),
        "model": case.config.to_dict(),
        "input": {
            "format": study.source.format,
            "shape": list(study.image.shape[1:]),
            **({"channels": len(study.image.tensor)} if len(study.image.tensor) > 1 else {}),
            "spacing_mm": spacing_mm(affine).tolist(),
            "orientation": "".join(aff2axcodes(affine)),
            "affine_ras_mm": affine.tolist(),
            "corrections": list(study.corrections),
            **_transforms(study),
        },
    }


def _transforms(study: Study) -> dict[str, Any]:
    """Position of a NIfTI input, from its header."""
    if study.transforms is None:
        return {}
    codes = {name: int(study.transforms.fields[name]) for name in ("sform_code", "qform_code")}
    return {"nifti": codes | {"transforms_apart_mm": round(study.transforms.apart_mm(study.image.shape[1:]), 3)}}


def _write_provenance(folder: Path, case: InferredCase, name: str) -> None:
    kept: dict[str, Any] = {}
    if case.request.options.keep_identity:
        who = case.input.study.source
        kept["source"] = {
            "source": case.request.told_origin(),
            "patient_id": who.patient_id,
            "study_uid": who.study_uid,
            "series_uid": who.series_uid,
        }
    write_json(folder / PROVENANCE_NAME, record_of(case) | kept)


def _write_dicom(folder: Path, case: InferredCase, name: str) -> None:
    if case.input.obstacle:
        write_json(folder / DICOM_NAME, {"files": [], "obstacle": case.input.obstacle})
    if case.input.series is not None:
        write_json(folder / DICOM_NAME, _written_objects(folder, case, case.input.series))


def _written_objects(folder: Path, case: InferredCase, series: SourceSeries) -> dict[str, Any]:
    """What was written, or the obstacle if it may be skipped."""
    from mose_med.io.dicom.objects.case import write_dicom_case
    from mose_med.io.dicom.source import ModelIdentity, ObstacleError

    try:
        written = write_dicom_case(
            folder,
            case.distribution,
            source=series,
            model=ModelIdentity(__version__, case.weights_sha256),
            request=json.dumps(record_of(case)),
            kinds=case.request.options.dicom_kinds,
            pictures=partial(_pictures, case),
        )
    except ObstacleError as error:
        if case.request.options.dicom_seg_obstacle == "refuse":
            raise
        _LOGGER.warning("DICOM objects are skipped, everything else is written: %s", error.fault)
        return {"files": [], "obstacle": error.fault}
    return {"highdicom": version("highdicom")} | written._asdict()


def _pictures(case: InferredCase) -> dict[int, NDArray[np.uint8]]:
    from mose_med.report.pictures import lesion_pictures

    return lesion_pictures(_unwritten(case, ""), case.input.study.image.as_tensor()[0].numpy())


def _write_report(folder: Path, case: InferredCase, name: str) -> None:
    if case.request.options.report:
        from mose_med.report.review import write_review

        write_review(folder, _unwritten(case, name), case.input.study.image.as_tensor()[0].numpy())


def _unwritten(case: InferredCase, name: str) -> UnwrittenCase:
    options = case.request.options
    return UnwrittenCase(case.distribution, name, record_of(case), outputs_in_order(options.outputs), options.maps)


#: In the order they write, while the maps are written.
WRITERS: tuple[_Writer, ...] = (_write_provenance, _write_dicom, _write_report)


def write_folder(folder: Path, case: InferredCase, name: str, run: str = "") -> None:
    """Write all files of a case into an existing folder; ``run.json``, dates and timings, comes last.

    Args:
        folder: of the case.
        case: that was inferred.
        name: of the case, for its report.
        run: mark of the run that writes it; empty for none.
    """
    with ThreadPoolExecutor(max_workers=1) as beside:
        maps = beside.submit(_write_maps, folder, case, torch.get_num_threads())
        for write in WRITERS:
            write(folder, case, name)
        maps.result()
    dates = {"started": case.stages.started.isoformat(), "finished": datetime.now(UTC).isoformat()}
    seconds = case.stages.seconds | {"write_s": case.stages.elapsed_s()}
    write_json(folder / RUN_NAME, dates | seconds | _work(case.distribution) | ({RUN_MARK: run} if run else {}))


def _work(distribution: CaseDistribution) -> dict[str, int]:
    """Quantities that the time of a case depends on."""
    boxes = [region.box for region in distribution.regions[:: len(distribution.classes)]]
    slices = {k for box in boxes for k in range(box.start[2], box.stop[2])}
    voxels = sum(math.prod(box.shape) for box in boxes)
    return {"windows": distribution.num_windows, "region_slices": len(slices), "region_voxels": voxels}
