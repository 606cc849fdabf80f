"""What windows without a nodule do to a search: the shipped weights, trained on with a share of them.

    python -m benchmarks.quality.negatives --archive N.npz --lidc ROOT --unannotated STUDY --lesion X Y Z --work W

Two trainings, each with windows from one place and searched in the other: those of the further chest, away from the one
known lesion (its position in RAS mm), for the series of LIDC-IDRI; those of LIDC-IDRI, away from every outline, for the
further chest. Both are scored on the validation nodules as well. Every step resumes. ``prepare lidc --negatives`` takes
slices without any outline, of which these partial series have next to none: here windows lie beside the outlines too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.machine import machine
from benchmarks.quality.nodules import prepare_nodules
from benchmarks.quality.search import Ball, rates, searched, studies, table
from data_prep.datalist import write_run
from mose_med import load_model
from mose_med.geometry import index_to_mm, spacing_mm
from mose_med.inferers.lungs import lung_mask
from mose_med.inferers.windows.cutting import oriented_volume
from mose_med.io import read_ct
from mose_med.weights.shipped import shipped_bundle
from pipelines.evaluate.run import COMPACT, EvaluateOptions, evaluate
from pipelines.train.run import TrainOptions, train

#: Windows without a nodule, for 1,504 with one.
NUMBER = 400
SIZE = 64
SETTINGS = {
    "max_epochs": 12,
    "val_interval": 12,
    "learning_rate": 0.0004,
    "gamma_start": 1.0,
    "gamma_epochs": 0,
    "ema_decay": 0.995,
    "max_shift": 0.15,
}
#: Around the centre of a nodule nothing is cut within its radius and this much.
_MARGIN_MM = 5.0
_LESION_RADIUS_MM = 30.0


def main() -> None:
    """Train, score, search and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, required=True, help="npz file of real nodules")
    parser.add_argument("--lidc", type=Path, required=True, help="folder of LIDC-IDRI patients")
    parser.add_argument("--unannotated", type=Path, required=True, help="a study without annotations")
    parser.add_argument("--lesion", type=float, nargs=3, required=True, help="position of its lesion, RAS mm")
    parser.add_argument("--work", type=Path, required=True, help="folder of data and trainings")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    datalist = prepare_nodules(options.archive, options.work / "data")
    known = Ball(np.array(options.lesion), _LESION_RADIUS_MM, 1)
    lidc, chest = list(studies(options.lidc, [])), list(studies(None, [options.unannotated]))
    learnt = {
        "chest": [(name, study, [known]) for name, study, _ in chest],
        "lidc": [(name, study, nodules or []) for name, study, nodules in lidc],
    }
    folds = [Fold(place, datalist, options.work, options.threads) for place in learnt]
    searches = [fold.searched(learnt[fold.place], lidc if fold.place == "chest" else chest) for fold in folds]
    rows = [row for search in searches for row in search]
    content = {
        "machine": machine(),
        "validation": {fold.place: fold.scores() for fold in folds},
        "studies": rows,
        "rates": rates(rows),
    }
    print(json.dumps(content["validation"], indent=1))
    print(table(content["rates"]))
    if options.output:
        options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class Fold:
    """A training with windows of one place.

    Args:
        place: its name.
        datalist: of the nodules.
        work: folder of everything.
        threads: of the CPU.
    """

    def __init__(self, place: str, datalist: Path, work: Path, threads: int) -> None:
        self.place = place
        self._datalist = datalist
        self._folder = work / place
        self._threads = threads

    def searched(
        self,
        learnt: Sequence[tuple[str, Path, Sequence[Ball]]],
        others: Iterable[tuple[str, Path, Sequence[Ball] | None]],
    ) -> list[dict[str, Any]]:
        """Train with windows of some studies, and search the others."""
        file = self._folder / "search.json"
        if not file.is_file():
            model = load_model(self._trained(learnt))
            file.write_text(json.dumps([searched(model, *study) for study in others]), encoding="utf-8")
        found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return found

    def scores(self) -> dict[str, float]:
        """Scores of the training on the validation nodules."""
        evaluation = evaluate(
            EvaluateOptions(
                datalist=self._datalist,
                checkpoint=self._folder / "training" / "best.pt",
                output_dir=self._folder / "evaluation",
                part="validation",
                threads=self._threads,
            )
        )
        (row,) = (row for row in evaluation.rows if row.method == COMPACT and row.num_samples == 16)
        return {"GED": row.ged.mean, "M-IoU": row.matched_iou.mean, "ECE": row.ece_percent.mean}

    def _trained(self, learnt: Sequence[tuple[str, Path, Sequence[Ball]]]) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "settings.yaml"
        settings.write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
        return train(
            TrainOptions(
                datalist=self._with_windows(learnt),
                output_dir=self._folder / "training",
                bundle="lidc_small",
                configs=(str(settings),),
                initial_weights=shipped_bundle(),
                threads=self._threads,
            )
        ).best_checkpoint

    def _with_windows(self, learnt: Sequence[tuple[str, Path, Sequence[Ball]]]) -> Path:
        """The datalist with windows of some studies in its training part."""
        target = self._datalist.with_name(f"dataset_{self.place}.json")
        if not target.is_file():
            content = json.loads(self._datalist.read_text(encoding="utf-8"))
            each = NUMBER // len(learnt)
            content["training"] += [entry for study in learnt for entry in windows(*study, each, target.parent)]
            target.write_text(json.dumps(content), encoding="utf-8")
        return target


def windows(name: str, study: Path, nodules: Sequence[Ball], number: int, folder: Path) -> list[dict[str, Any]]:
    """Write windows of a study around voxels of the lungs, away from its nodules; their entries in a datalist."""
    volume = oriented_volume(read_ct(study), "LPS")
    values, affine = np.asarray(volume.values), volume.affine
    rng, half, entries = np.random.default_rng(0), SIZE // 2, list[dict[str, Any]]()
    for i, j, k in rng.permutation(np.argwhere(lung_mask(values, affine))):
        inside = half <= i <= values.shape[0] - half and half <= j <= values.shape[1] - half
        if not inside or any(_near(index_to_mm(affine, np.array([i, j, k])), ball, affine) for ball in nodules):
            continue
        shift = affine.copy()
        shift[:3, 3] = index_to_mm(affine, np.array([i - half, j - half, k]))
        window = values[i - half : i + half, j - half : j + half, k, None].astype(np.int16)
        masks = np.zeros((SIZE, SIZE, 1, 4), dtype=np.uint8)
        run = f"{name.replace(' ', '-')}_without-{len(entries) + 1}"
        entries.append(
            {
                **write_run(folder, run, window, masks, shift),
                "slice": 0,
                "z_mm": float(shift[2, 3]),
                "rater_weights": [0.25] * 4,
                "raters_present": 0,
                "nodule_id": run,
                "patient_id": name,
                "series_uid": name,
            }
        )
        if len(entries) == number:
            break
    return entries


def _near(centre_mm: Any, ball: Ball, affine: Any) -> bool:
    """Whether a window around a voxel may hold a part of a nodule."""
    away, reach = np.abs(centre_mm - ball.centre_mm), ball.radius_mm + _MARGIN_MM
    half_mm = SIZE / 2 * spacing_mm(affine)
    return bool((away[:2] < half_mm[:2] + reach).all() and away[2] < reach)


if __name__ == "__main__":
    main()
