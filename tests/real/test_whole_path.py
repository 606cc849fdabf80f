"""The whole path on real data: DICOM and radiologists' contours in, measured scores and distributions out."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.io import read_ct
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode

pytestmark = pytest.mark.real

SPLIT = Path(__file__).with_name("lidc_split.csv")
#: A network that trains an epoch of 128x128 slices in seconds; everything else is the bundle's own.
OVERLAY = {"network::channels": [8, 16, 32], "max_epochs": 1, "batch_size": 8, "gamma_epochs": 1}
NODULES = {  # of ../shared/data/README.md: readers, slices
    ("LIDC-IDRI-0001", 4, 8),
    ("LIDC-IDRI-0002", 2, 28),
    ("LIDC-IDRI-0003", 4, 3),
    ("LIDC-IDRI-0003", 4, 5),
    ("LIDC-IDRI-0010", 4, 4),
}


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unzipped LIDC-IDRI and chest CT, prepared and trained on by the command line."""
    root = tmp_path_factory.mktemp("real")
    for name in ("lidc_dicom", "ct_chest_dicom"):
        with zipfile.ZipFile(shared_data / f"{name}.zip") as archive:
            archive.extractall(root / name)
    (root / "overlay.yaml").write_text(json.dumps(OVERLAY), encoding="utf-8")
    run("prepare", "lidc", "--lidc-root", root / "lidc_dicom", "--split", SPLIT, "--output-dir", root / "dataset")
    datalist = root / "dataset" / "dataset.json"
    run("train", "--datalist", datalist, "--output-dir", root / "training", "--config", root / "overlay.yaml")
    return root


def run(*arguments: object) -> None:
    assert invoke([*map(str, arguments), "--quiet"]) == ExitCode.DONE


def test_the_five_nodules_and_48_slices_are_found(folder: Path):
    with (folder / "dataset" / "nodules.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 5
    assert {(row["patient_id"], int(row["raters"]), int(row["slices"])) for row in rows} == NODULES
    datalist = json.loads((folder / "dataset" / "dataset.json").read_text(encoding="utf-8"))
    assert sum(len(datalist[part]) for part in ("training", "validation", "test")) == 48


def test_scores_are_written(folder: Path):
    datalist, checkpoint = folder / "dataset" / "dataset.json", folder / "training" / "best.pt"
    out = folder / "evaluation"
    run("evaluate", "--datalist", datalist, "--checkpoint", checkpoint, "--output-dir", out)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["images"], metrics["patients"]) == (4, 1)
    assert all(0.0 <= row["ged"]["mean"] <= 2.0 for row in metrics["rows"])


def test_a_chest_ct_is_inferred_on_its_own_grid(folder: Path):
    study = folder / "ct_chest_dicom"
    ct = read_ct(study)
    centre = np.asarray(ct.affine) @ [*(np.array(ct.shape[1:]) // 2), 1]
    nodules = folder / "nodules.csv"
    nodules.write_text("x_ras_mm,y_ras_mm,z_ras_mm\n{:.3f},{:.3f},{:.3f}\n".format(*centre[:3]), encoding="utf-8")
    out = folder / "inference"
    weights = folder / "training" / "best.pt"
    run("infer", study, "--nodules", nodules, "--checkpoint", weights, "--output-dir", out, "--outputs", "all")
    (case,) = out.glob("case-*")
    maps = sorted(case.glob("*.nii.gz"))
    assert len(maps) == 4 + 4 + 5
    for path in maps:
        volume = nib.load(path)
        assert volume.shape[:3] == ct.shape[1:]
        np.testing.assert_allclose(volume.affine, np.asarray(ct.affine), atol=1e-4)
    probability = nib.load(case / "probability.nii.gz").get_fdata()
    assert probability.min() >= 0
    assert 0 < probability.max() <= 1
