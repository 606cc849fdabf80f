"""Awkward real DICOM through the command line: read to the end, or refused by name."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.io import read_ct
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def edge_dicom(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edge")
    with zipfile.ZipFile(shared_data / "edge_dicom.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def arguments(tmp_path: Path, infer_checkpoint: Path) -> list[str]:
    """All of a command but its input."""
    (tmp_path / "nodules.csv").write_text("x_ras_mm,y_ras_mm,z_ras_mm\n0,0,0\n", encoding="utf-8")
    options = {
        "--nodules": tmp_path / "nodules.csv",
        "--output-dir": tmp_path / "out",
        "--checkpoint": infer_checkpoint,
    }
    return [*(str(part) for option in options.items() for part in option), "--quiet"]


def test_the_jpeg_2000_series_without_uids_becomes_nifti(edge_dicom: Path, tmp_path: Path, arguments: list[str]):
    study = edge_dicom / "jpeg2000_series"
    image = read_ct(study)
    middle = (np.asarray(image.affine) @ [256, 256, 10, 1])[:3]
    (tmp_path / "nodules.csv").write_text("x_ras_mm,y_ras_mm,z_ras_mm\n{},{},{}\n".format(*middle), encoding="utf-8")
    assert invoke(["infer", str(study), "--outputs", "all", *arguments]) == ExitCode.DONE
    (case,) = (tmp_path / "out").glob("case-*")
    for name in ("consensus", "entropy", "expert-1_samples", "expert_probs"):
        volume = nib.load(case / f"{name}.nii.gz")
        assert volume.shape[:3] == (512, 512, 20)
        np.testing.assert_allclose(volume.affine, np.asarray(image.affine), atol=1e-4)
    found = json.loads((case / "provenance.json").read_text(encoding="utf-8"))["input"]
    np.testing.assert_allclose(found["spacing_mm"], (0.9766, 0.9766, 2.0), atol=1e-4)


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ("minimal_tags/*", "a CT series must have at least 3 slices, got 2 (0.dcm)"),
        ("non_axial/coronal.dcm", "coronal.dcm is not axial"),
        ("non_axial/sagittal.dcm", "sagittal.dcm is not axial"),
        ("non_axial/axial*", "at least 3 slices, got 1 (axial-toshiba-intercept0.dcm)"),
    ],
)
def test_what_is_no_axial_volume_is_refused_by_name(
    edge_dicom: Path, tmp_path: Path, arguments: list[str], capfd, files: str, fault: str
):
    (tmp_path / "in").mkdir()
    for path in edge_dicom.glob(files):
        shutil.copy(path, tmp_path / "in")
    assert invoke(["infer", str(tmp_path / "in"), *arguments]) == ExitCode.BAD_INPUT
    lines = [line for line in capfd.readouterr().err.splitlines() if "have no Modality" not in line]
    assert len(lines) == 1
    assert fault in lines[0]
    assert not (tmp_path / "out").exists()
