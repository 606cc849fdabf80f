"""The files of one inferred case: maps as NIfTI on the input's grid, and ``lesions.json``.

A lesion whose region shares voxels with that of another listed position has a folder ``lesion-n`` besides, with the
maps of its own region on the grid of its box: the maps of the case show the nearest position's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mose_med.case_maps import OUTPUTS, STEP, MapStorage, kind_of_map
from mose_med.geometry import LPS_TO_RAS
from mose_med.inferers import CaseDistribution, Lesion
from mose_med.io.nifti.images import write_nifti
from mose_med.io.nifti.transforms import NiftiTransforms
from mose_med.lesion_rules import LESIONS_NAME

__all__ = ["lesion_record", "own_folder", "write_case"]

_DIGITS = 6


def write_case(
    folder: Path,
    distribution: CaseDistribution,
    nodule_ids: Sequence[str] | None = None,
    threads: int = 1,
    transforms: NiftiTransforms | None = None,
    *,
    maps: MapStorage = "scaled",
    outputs: Collection[str] = OUTPUTS,
) -> None:
    """Write maps of ``distribution`` and its lesions into an existing folder.

    Args:
        folder: of the case.
        distribution: of the case.
        nodule_ids: name of each listed position; None numbers the lesions, as those of a search are.
        threads: that compute and compress, a map each.
        transforms: of the NIfTI input on whose grid the case lies; maps carry both of them, with their codes.
        maps: how probabilities and entropies are stored: ``scaled``, off by 1/2048 at most, or ``full``, as float32.
        outputs: kinds of maps to write.
    """
    wanted = [name for name in distribution.names if kind_of_map(name) in outputs]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(partial(_write_map, folder, distribution, transforms, maps), wanted))
        for lesion in distribution.lesions:
            if distribution.shares_region(lesion.number):
                own, alone = own_folder(folder, lesion.number), distribution.own_maps(lesion.number)
                own.mkdir()
                list(pool.map(partial(_write_map, own, alone, transforms, maps), wanted))
    names = [str(lesion.number) for lesion in distribution.lesions] if nodule_ids is None else nodule_ids
    lesions = [lesion_record(lesion, name) for lesion, name in zip(distribution.lesions, names, strict=True)]
    (folder / LESIONS_NAME).write_text(json.dumps({"lesions": lesions}, indent=2) + "\n", encoding="utf-8")


def own_folder(folder: Path, number: int) -> Path:
    """Where the maps of a lesion's own region are, if the case has them."""
    return folder / f"lesion-{number}"


def _write_map(
    folder: Path, distribution: CaseDistribution, transforms: NiftiTransforms | None, maps: MapStorage, name: str
) -> None:
    form = distribution.format(name)
    scaled = maps == "scaled" and form.dtype == np.float32
    write_nifti(
        folder / f"{name}.nii.gz",
        distribution.slabs(name),
        shape=form.shape,
        dtype=np.int16 if scaled else form.dtype,
        affine=distribution.affine,
        transforms=transforms,
        step=STEP if scaled else None,
    )


def lesion_record(lesion: Lesion, nodule_id: str) -> dict[str, Any]:
    """One lesion in plain types; volumes in ml, positions in mm, entropies in nats."""
    volume = lesion.volume_ml
    return {
        "lesion": lesion.number,
        "nodule_id": nodule_id,
        "position_mm": _position(lesion.position_mm),
        "centroid_mm": None if lesion.centroid_mm is None else _position(lesion.centroid_mm),
        "in_consensus": lesion.in_consensus,
        "same_as_lesion": lesion.same_as,
        "touches_edge": lesion.touches_edge,
        "expert_probs": _rounded(lesion.expert_probs.tolist()),
        "volume_ml": {
            "mean": _rounded(volume.mean),
            "p05": _rounded(volume.p05),
            "p50": _rounded(volume.p50),
            "p95": _rounded(volume.p95),
            "quantile_samples": volume.quantile_samples,
            "by_expert": _rounded(volume.by_expert.tolist()),
            "samples": _rounded(volume.samples.tolist()),
        },
        "p_empty": _rounded(volume.p_empty),
        "entropy": {name: _rounded(value) for name, value in lesion.entropy._asdict().items()},
    }


def _position(position_mm: tuple[float, float, float]) -> dict[str, list[float]]:
    ras = list(position_mm)
    lps = (LPS_TO_RAS[:3, :3] @ ras).tolist()
    return {"lps": _rounded(lps), "ras": _rounded(ras)}


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(float(value), _DIGITS) + 0.0
