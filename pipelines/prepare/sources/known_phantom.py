"""``mose-med prepare phantom --kind datalist``: phantoms whose raters follow a known distribution."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.datalist import NoduleRow, write_datalist, write_run, write_volume
from data_prep.phantom.known_raters import STYLES, KnownNodule, draw_nodule
from mose_med.data.datalist import PARTS
from mose_med.files.csv_files import write_csv
from mose_med.files.run_lock import only_run
from mose_med.runtime.seeds import numpy_stream
from pipelines.common.runs.content import Content
from pipelines.prepare.description import describe
from pipelines.prepare.folder import PreparedDatalist, earlier_result, newly_prepared, progress_bar, written_whole
from pipelines.prepare.options import PrepareKnownPhantomOptions

__all__ = ["PrepareKnownPhantomOptions", "prepare_known_phantom"]

_SOURCE = "PHANTOM: rendered nodules, raters drawn from a known distribution (data_prep.phantom.known_raters)."
#: Part of every patient, in turn.
_TURNS = (PARTS[0], PARTS[0], PARTS[0], PARTS[1], PARTS[2])
_TRUTH_NAME = "truth.csv"


@only_run(beside=True)
def prepare_known_phantom(options: PrepareKnownPhantomOptions) -> PreparedDatalist:
    """Write a datalist of phantoms, with the exact probability of every voxel beside the raters' masks.

    Every entry has a field ``truth``: a NIfTI of the probability that a rater marks the voxel. ``truth.csv`` has the
    distribution of every nodule's raters.

    Returns:
        The datalist; an earlier one if the folder holds it, made with the same options.

    Raises:
        ConfigError: if an option or the output folder does not fit.
    """
    record = {"source": "known phantom", "seed": options.seed, "patients": options.patients}
    record |= {"num_raters": options.num_raters, **asdict(options.appearance)}
    done = earlier_result(options.output_dir, record, Content.of_nothing(), overwrite=options.overwrite)
    if done is not None:
        return done
    with written_whole(options.output_dir, anew=options.overwrite) as folder:
        counts = _write(folder, options, record)
    return newly_prepared(options.output_dir, counts)


def _write(folder: Path, options: PrepareKnownPhantomOptions, record: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    rows, truths = [], []
    with progress_bar(options.quiet) as progress:
        for number in progress.track(range(options.patients), description="Rendering phantoms"):
            part = _TURNS[number % len(_TURNS)]
            patient = f"PHANTOM-{number + 1:04d}"
            rng = numpy_stream("phantom of known raters", options.seed, number)
            nodule = draw_nodule(options.appearance, rng)
            entries = _write_nodule(folder, f"{patient}_nodule-1", patient, nodule, options, rng)
            parts[part] += entries
            rows.append(_row(entries, part))
            truths.append((f"{patient}_nodule-1", nodule))
    _write_truth(folder, truths)
    write_datalist(
        folder,
        name="phantom of known raters",
        source=_SOURCE,
        classes=("background", "nodule"),
        num_raters=options.num_raters,
        parts=parts,
        nodules=rows,
    )
    sizes = {part: len(entries) for part, entries in parts.items()}
    counts: dict[str, Any] = {"patients": options.patients, "nodules": len(rows), "slices": sum(sizes.values())}
    counts |= {"slices_by_part": sizes}
    packages = ("numpy", "scipy", "nibabel")
    describe(folder, counts=counts, options=record, packages=packages, licences=("rendered: none to cite",))
    return counts


def _write_nodule(
    folder: Path,
    nodule_id: str,
    patient: str,
    nodule: KnownNodule,
    options: PrepareKnownPhantomOptions,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    image = nodule.image_hu(options.appearance, rng)
    masks = nodule.draw_raters(options.num_raters, rng)
    paths = write_run(folder, nodule_id, image, masks, nodule.affine)
    paths["truth"] = f"nodules/{nodule_id}_truth.nii"
    write_volume(folder / paths["truth"], nodule.foreground_probability(), nodule.affine)
    return [
        {
            **paths,
            "slice": k,
            "z_mm": float((nodule.affine @ [0, 0, k, 1])[2]),
            "rater_weights": [1 / options.num_raters] * options.num_raters,
            "raters_present": int(masks[:, :, k].any(axis=(0, 1)).sum()),
            "nodule_id": nodule_id,
            "patient_id": patient,
            "series_uid": patient,
            "padded": False,
        }
        for k in range(image.shape[2])
    ]


def _row(entries: list[dict[str, Any]], part: str) -> NoduleRow:
    """The middle voxel lies at the origin."""
    first = entries[0]
    raters = max(entry["raters_present"] for entry in entries)
    return NoduleRow(
        first["nodule_id"], first["patient_id"], first["series_uid"], part, raters, len(entries), 0.0, 0.0, 0.0
    )


def _write_truth(folder: Path, truths: list[tuple[str, KnownNodule]]) -> None:
    styles = [f"{what}_{style}" for what in ("prob", "shift_mm") for style in STYLES]
    rows = []
    for nodule_id, nodule in truths:
        probs = [(1 - nodule.missing_prob) * share for share in nodule.style_probs]
        rows.append([nodule_id, nodule.missing_prob, *probs, *nodule.shifts_mm, nodule.spread_mm])
    write_csv(folder / _TRUTH_NAME, ["nodule_id", "prob_nothing", *styles, "spread_mm"], rows)
