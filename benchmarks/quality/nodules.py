"""The real nodules on which quality is measured, as a datalist: one slice a nodule, four raters, 64 x 64 voxels.

The source is an archive of LIDC-IDRI nodules at their largest slice (Armato et al. 2011, The Cancer Imaging Archive, CC
BY 3.0): ``image_hu`` (n, rows, columns), ``mask`` (n, 4, rows, columns), and a split by patient into ``train`` and
``val``. Nothing of it is kept in this repository.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.datalist import DATALIST_NAME, write_datalist, write_run
from data_prep.rater_weights import Labels, rater_weights

__all__ = ["PARTS", "prepare_nodules", "training_variant"]

#: Parts of the datalist by their names in the archive.
PARTS = {"train": "training", "val": "validation"}

_RATERS = 4
_SOURCE = "LIDC-IDRI (Armato et al. 2011, The Cancer Imaging Archive, CC BY 3.0), largest slice of every nodule"


def prepare_nodules(archive: Path, folder: Path, size: int = 64) -> Path:
    """Write the datalist, unless it is there.

    Args:
        archive: npz file as the module describes it.
        folder: of the datalist.
        size: of the windows, cut around the centre, in voxels.

    Returns:
        Path of ``dataset.json``.
    """
    target = folder / DATALIST_NAME
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(archive, allow_pickle=False) as content:
        nodules = {name: content[name] for name in content.files}
    parts: dict[str, list[dict[str, Any]]] = {name: [] for name in PARTS.values()}
    for row, part in enumerate(nodules["split"]):
        parts[PARTS[str(part)]].append(_written(nodules, row, folder, size))
    return write_datalist(
        folder,
        name="LIDC-IDRI, largest slices",
        source=_SOURCE,
        classes=("background", "nodule"),
        num_raters=_RATERS,
        parts=parts,
        nodules=None,
        window_hu=(-1000.0, 400.0),
    )


def training_variant(datalist: Path, share: float = 1.0, labels: Labels = "all") -> Path:
    """A datalist beside another one, whose training part has fewer patients or one rater a slice.

    Args:
        datalist: the whole one; it is returned if nothing is left out.
        share: of the training patients that stay, in (0, 1]; smaller shares are parts of larger ones.
        labels: all raters, or one drawn for every training slice.
    """
    if share == 1.0 and labels == "all":
        return datalist
    content = json.loads(datalist.read_text(encoding="utf-8"))
    training = content["training"]
    patients = sorted(
        {entry["patient_id"] for entry in training}, key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    kept = set(patients[: math.ceil(share * len(patients))])
    content["training"] = [_weighted(entry, labels) for entry in training if entry["patient_id"] in kept]
    target = datalist.with_name(f"dataset_{share:g}_{labels}.json")
    target.write_text(json.dumps(content), encoding="utf-8")
    return target


def _weighted(entry: dict[str, Any], labels: Labels) -> dict[str, Any]:
    weights = rater_weights(_RATERS, _RATERS, labels=labels, key=entry["nodule_id"])
    return entry | {"rater_weights": weights}


def _written(nodules: dict[str, NDArray[Any]], row: int, folder: Path, size: int) -> dict[str, Any]:
    """Write one nodule; its entry in the datalist."""
    image, masks = nodules["image_hu"][row], nodules["mask"][row]
    top, left = ((side - size) // 2 for side in image.shape)
    spacing, depth = (float(nodules[name][row]) for name in ("pixel_spacing", "slice_thickness"))
    affine = np.diag([-spacing, -spacing, depth, 1.0])
    affine[2, 3] = float(nodules["z_mm"][row])
    # Rows and columns of CT are j and i of the stored slice.
    window = image[top : top + size, left : left + size].T
    raters = masks[:, top : top + size, left : left + size].transpose(2, 1, 0)
    name = f"{nodules['patient_id'][row]}_nodule-{int(nodules['nodule_id'][row])}"
    paths = write_run(folder, name, window[:, :, None].astype(np.int16), raters[:, :, None].astype(np.uint8), affine)
    return {
        **paths,
        "slice": 0,
        "z_mm": affine[2, 3],
        "rater_weights": [1 / _RATERS] * _RATERS,
        "raters_present": int(masks.any(axis=(1, 2)).sum()),
        "nodule_id": name,
        "patient_id": str(nodules["patient_id"][row]),
        "series_uid": str(nodules["series_uid"][row]),
    }
