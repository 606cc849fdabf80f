"""The write stage: what goes into the folder of a case.

Each writer is given the folder and the inferred case and adds its files; a further kind of file (a DICOM object, a
report) is a further function in ``WRITERS``, which writes nothing where the options do not ask for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nibabel.orientations import aff2axcodes

from mose_med import __version__
from mose_med.case_maps import outputs_in_order
from mose_med.geometry import spacing_mm
from mose_med.inferers import CaseDistribution
from mose_med.io import Study
from mose_med.io.case.writing import write_case
from mose_med.io.dicom.objects.case import write_dicom_case
from mose_med.io.dicom.source import ModelIdentity, ObstacleError, SourceSeries
from pipelines.common.provenance import tool_versions
from pipelines.common.runs.run_folder import write_json
from pipelines.infer.model import LoadedModel
from pipelines.infer.reading import CaseInput, CaseRequest
from pipelines.infer.store import PROVENANCE_NAME

__all__ = ["DICOM_NAME", "WRITERS", "InferredCase", "dicom_files"]

_LOGGER = logging.getLogger(__name__)
#: Which DICOM objects and segments a case has.
DICOM_NAME = "dicom.json"


class InferredCase(NamedTuple):
    """All that is known of a case when its folder is written."""

    name: str
    request: CaseRequest
    model: LoadedModel
    input: CaseInput
    distribution: CaseDistribution


def _write_maps(folder: Path, case: InferredCase) -> None:
    nodules, options = case.input.nodules, case.request.options
    names = None if nodules is None else [nodule.nodule_id for nodule in nodules]
    transforms = case.input.study.transforms
    threads, outputs = torch.get_num_threads(), outputs_in_order(options.outputs)
    write_case(folder, case.distribution, names, threads, transforms, maps=options.maps, outputs=outputs)


def _record(case: InferredCase) -> dict[str, Any]:
    """All that decided the files of a case."""
    study = case.input.study
    affine = np.asarray(study.image.affine, dtype=np.float64)
    return {
        "versions": tool_versions(),
        "environment": case.model.environment() | {"sw_batch_size": case.request.options.sw_batch_size},
        "options": case.request.options.folder_options(case.model.weights_sha256),
        "request": case.input.request(),
        "model": case.model.config.to_dict(),
        "input": {
            "format": study.source.format,
            "shape": list(study.image.shape[1:]),
            "spacing_mm": spacing_mm(affine).tolist(),
            "orientation": "".join(aff2axcodes(affine)),
            "affine_ras_mm": affine.tolist(),
            "corrections": list(study.corrections),
            **_transforms(study),
        },
    }


def _transforms(study: Study) -> dict[str, Any]:
    """What the header of a NIfTI input says of its place."""
    if study.transforms is None:
        return {}
    codes = {name: int(study.transforms.fields[name]) for name in ("sform_code", "qform_code")}
    return {"nifti": codes | {"transforms_apart_mm": round(study.transforms.apart_mm(study.image.shape[1:]), 3)}}


def _write_provenance(folder: Path, case: InferredCase) -> None:
    kept: dict[str, Any] = {}
    if case.request.options.keep_identity:
        who = case.input.study.source
        kept["source"] = {
            "source": case.request.told_origin(),
            "patient_id": who.patient_id,
            "study_uid": who.study_uid,
            "series_uid": who.series_uid,
        }
    write_json(folder / PROVENANCE_NAME, _record(case) | kept)


def _write_dicom(folder: Path, case: InferredCase) -> None:
    if case.input.obstacle:
        write_json(folder / DICOM_NAME, {"files": [], "obstacle": case.input.obstacle})
    if case.input.series is not None:
        write_json(folder / DICOM_NAME, _written_objects(folder, case, case.input.series))


def _written_objects(folder: Path, case: InferredCase, series: SourceSeries) -> dict[str, Any]:
    """What was written, or what stood in the way where that is to be skipped."""
    try:
        written = write_dicom_case(
            folder,
            case.distribution,
            source=series,
            model=ModelIdentity(__version__, case.model.weights_sha256),
            request=json.dumps(_record(case)),
        )
    except ObstacleError as error:
        if case.request.options.dicom_seg_obstacle == "refuse":
            raise
        _LOGGER.warning("no DICOM objects are written, all else is: %s", error.told)
        return {"files": [], "obstacle": error.told}
    return {"highdicom": version("highdicom")} | written._asdict()


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM objects in the folder of a case."""
    return [folder / name for name in json.loads((folder / DICOM_NAME).read_text(encoding="utf-8"))["files"]]


def _write_report(folder: Path, case: InferredCase) -> None:
    if case.request.options.report:
        from mose_med.io.case.finished import open_case
        from mose_med.report.review import write_review

        write_review(folder, open_case(folder, case.name), case.input.study.image.as_tensor()[0].numpy())


#: In the order they write; the report is made of what the others wrote.
WRITERS: tuple[Callable[[Path, InferredCase], None], ...] = (
    _write_maps,
    _write_provenance,
    _write_dicom,
    _write_report,
)
