"""The files of one inferred case: maps as NIfTI on the input's grid, and ``lesions.json``.

A lesion whose region shares voxels with that of another listed position also has a folder ``lesion-n``, with the
maps of its own region on the grid of its box: the maps of the case show the nearest position's.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from mose_med.case_contents.lesion_rules import LESIONS_NAME
from mose_med.case_contents.maps import OUTPUTS, STEP, MapStorage, kind_of_map
from mose_med.inferers import CaseDistribution
from mose_med.io.case.lesions import lesions_text
from mose_med.io.nifti.images import write_nifti
from mose_med.io.nifti.transforms import NiftiTransforms

__all__ = ["own_folder", "step_of", "write_case"]


def write_case(
    folder: Path,
    distribution: CaseDistribution,
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
        threads: that compute and compress, a map each.
        transforms: of the NIfTI input on whose grid the case lies; maps on that grid carry both, with their codes.
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
                # The transforms are of the whole grid, which a box of it does not begin with.
                list(pool.map(partial(_write_map, own, alone, None, maps), wanted))
    (folder / LESIONS_NAME).write_text(
        lesions_text(distribution.lesions, classes=distribution.classes), encoding="utf-8"
    )


def own_folder(folder: Path, number: int) -> Path:
    """Folder of the maps of a lesion's own region, if the case has them."""
    return folder / f"lesion-{number}"


def step_of(dtype: DTypeLike, maps: MapStorage) -> float | None:
    """Step of the values of a map as they are stored; None if they are stored as they are."""
    return STEP if maps == "scaled" and dtype == np.float32 else None


def _write_map(
    folder: Path, distribution: CaseDistribution, transforms: NiftiTransforms | None, maps: MapStorage, name: str
) -> None:
    form = distribution.format(name)
    step = step_of(form.dtype, maps)
    write_nifti(
        folder / f"{name}.nii.gz",
        distribution.slabs(name),
        shape=form.shape,
        dtype=form.dtype if step is None else np.int16,
        affine=distribution.affine,
        transforms=transforms,
        step=step,
    )
