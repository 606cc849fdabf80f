"""What a user meets who gives the wrong thing: one line that names it, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import JPEG2000Lossless

from data_prep.lidc.annotations import read_scans
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode

SPLIT = "patient_id,part\nLIDC-IDRI-0003,training\nLIDC-IDRI-0010,validation\n"


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Function that runs a command, checks that it is refused and leaves no output, and returns its one line."""

    def run(*arguments: object) -> str:
        output = tmp_path / "output"
        code = invoke([*map(str, arguments), "--output-dir", str(output), "--quiet"])
        lines = capfd.readouterr().err.splitlines()
        assert code == ExitCode.BAD_INPUT
        assert len(lines) == 1
        assert not output.exists()
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        return lines[0]

    return run


@pytest.fixture
def split_csv(tmp_path: Path) -> Path:
    path = tmp_path / "split.csv"
    path.write_text(SPLIT, encoding="utf-8")
    return path


def test_missing_dicom_root(refused: Callable[..., str], tmp_path: Path):
    line = refused("prepare", "lidc", "--lidc-root", tmp_path / "nowhere")
    assert "nowhere" in line


def test_root_without_patients(refused: Callable[..., str], tmp_path: Path):
    (tmp_path / "root" / "holiday").mkdir(parents=True)
    assert "LIDC-IDRI" in refused("prepare", "lidc", "--lidc-root", tmp_path / "root")


def test_patient_without_files(refused: Callable[..., str], tmp_path: Path, split_csv: Path):
    for patient in ("LIDC-IDRI-0003", "LIDC-IDRI-0010"):
        (tmp_path / "root" / patient).mkdir(parents=True)
    line = refused("prepare", "lidc", "--lidc-root", tmp_path / "root", "--split", split_csv)
    assert "LIDC-IDRI-0003" in line


def test_series_of_another_modality(
    refused: Callable[..., str], tmp_path: Path, split_csv: Path, write_ct_slice: Callable[..., object]
):
    for patient in ("LIDC-IDRI-0003", "LIDC-IDRI-0010"):
        uid = read_scans([patient])[0].series_uid
        write_ct_slice(tmp_path / "root" / patient / "1.dcm", z_mm=0.0, series_uid=uid, Modality="DX")
    line = refused("prepare", "lidc", "--lidc-root", tmp_path / "root", "--split", split_csv)
    assert "DX" in line


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_empty_datalist(refused: Callable[..., str], tmp_path: Path, tiny_checkpoint: Path, command: str):
    path = tmp_path / "dataset.json"
    content = {"name": "none", "num_raters": 4, "classes": ["background", "nodule"], "source": "nothing"}
    path.write_text(json.dumps(content | {"training": [], "validation": [], "test": []}), encoding="utf-8")
    extra = ["--checkpoint", tiny_checkpoint] if command == "evaluate" else []
    assert "empty" in refused(command, "--datalist", path, *extra)


def test_checkpoint_of_another_architecture(
    refused: Callable[..., str], tmp_path: Path, tiny_datalist: Path, tiny_checkpoint: Path
):
    content = torch.load(tiny_checkpoint, weights_only=True)
    content["config"]["network"]["channels"] = [4, 16]
    torch.save(content, tmp_path / "other.pt")
    line = refused("evaluate", "--datalist", tiny_datalist, "--checkpoint", tmp_path / "other.pt")
    assert "do not fit its architecture" in line


@pytest.fixture
def refused_ct(refused: Callable[..., str], tmp_path: Path, infer_checkpoint: Path) -> Callable[..., str]:
    """Function that runs infer on an input with a nodule at the origin, and returns the line of its refusal."""
    nodules = tmp_path / "nodules.csv"
    nodules.write_text("x_ras_mm,y_ras_mm,z_ras_mm\n0,0,0\n", encoding="utf-8")

    def run(source: Path, *options: object) -> str:
        return refused("infer", source, "--checkpoint", infer_checkpoint, "--nodules", nodules, *options)

    return run


def _cut_frame(path: Path) -> None:
    image = pydicom.dcmread(path)
    image.compress(JPEG2000Lossless)
    (frame,) = pydicom.encaps.generate_frames(image.PixelData, number_of_frames=1)
    image.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 4 * 2]])
    image.save_as(path)


# What is done to the slices of a series, and what the line must name: the file, and the fault.
BAD_SERIES = {
    "no CT": (lambda paths, edit: [edit(path, Modality="MR") for path in paths], ["Modality must be CT, got MR"]),
    "two patients": (lambda paths, edit: edit(paths[3], PatientID="B"), ["image 037", "one patient, got 2"]),
    "truncated pixel data": (
        lambda paths, _: paths[3].write_bytes(paths[3].read_bytes()[:-999]),
        ["image 037", "less than expected"],
    ),
    "truncated compressed data": (lambda paths, _: _cut_frame(paths[3]), ["image 037", "cannot be decoded"]),
    "no position": (
        lambda paths, edit: edit(paths[3], ImagePositionPatient=None),
        ["image 037 has no usable ImagePositionPatient"],
    ),
    "no orientation": (
        lambda paths, edit: edit(paths[3], ImageOrientationPatient=None),
        ["image 037 has no usable ImageOrientationPatient"],
    ),
    "two slices": (lambda paths, _: [path.unlink() for path in paths[2:]], ["at least 3 slices, got 2", "image 039"]),
    "RGB": (
        lambda paths, edit: [edit(path, SamplesPerPixel=3, PhotometricInterpretation="RGB") for path in paths],
        ["image 001 must be a grey image"],
    ),
    "missing slice": (lambda paths, _: paths[3].unlink(), ["missing between image 038 and image 036", "resample"]),
    "two slices at one place": (
        lambda paths, edit: edit(shutil.copy(paths[3], paths[3].with_name("copy")), ContentDate="20200101"),
        ["copy and image 037"],
    ),
    "tilted gantry": (
        lambda paths, edit: [edit(p, ImagePositionPatient=[0, k, 2.0 * k]) for k, p in enumerate(paths)],
        ["image 001", "tilted by 26.6 degrees", "correct"],
    ),
    "nodule outside": (
        lambda paths, edit: [edit(p, ImagePositionPatient=[0, 0, 2.0 * k + 9]) for k, p in enumerate(paths)],
        ["nodule 1 at (0.0, 0.0, 0.0) mm RAS lies outside the image"],
    ),
}


@pytest.mark.parametrize(("spoil", "expected"), BAD_SERIES.values(), ids=BAD_SERIES)
def test_bad_dicom(refused_ct, tmp_path: Path, write_ct_series, edit_dicom, spoil, expected: list[str]):
    stored = np.random.default_rng(0).integers(-1000, 400, size=(40, 40, 40))
    spoil(write_ct_series(tmp_path / "study", stored), edit_dicom)
    line = refused_ct(tmp_path / "study")
    assert [part for part in expected if part not in line] == []
    assert "Zyxwvut" not in line


@pytest.mark.parametrize(
    ("values", "affine", "fault"),
    [
        (np.full((9, 9, 9), np.nan, dtype=np.float32), np.eye(4), "must have finite values, got NaN"),
        (np.zeros((9, 9, 9, 2), dtype=np.int16), np.eye(4), "must be a 3D volume, got shape (9, 9, 9, 2)"),
        (np.zeros((9, 9, 9), dtype=np.int16), np.diag([1, 1, 0, 1]), "affine must be invertible"),
        (np.zeros((9, 9, 9), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), np.eye(4), "one number per voxel"),
        (
            np.full((9, 9, 9), -800, dtype=np.int16),
            np.diag([-1, -1, 1, 1]) + np.eye(4, k=3) * 20,
            "lies outside the image",
        ),
    ],
    ids=["NaN", "4D", "affine", "RGB", "nodule outside"],
)
def test_bad_nifti(refused_ct, tmp_path: Path, values: np.ndarray, affine: np.ndarray, fault: str):
    image = nib.Nifti1Image(values, np.eye(4))
    image.header.set_sform(affine, code=1)
    image.header.set_qform(None, code=0)
    image.header["vox_offset"] = 352
    (tmp_path / "ct.nii").write_bytes(image.header.binaryblock + bytes(4) + values.tobytes(order="F"))
    line = refused_ct(tmp_path / "ct.nii")
    assert fault in line
    assert "ct.nii" in line or "nodule 1" in line


def test_empty_folder(refused_ct, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert "no DICOM file among 0 files" in refused_ct(tmp_path / "empty")


def test_input_that_is_not_there(refused_ct, tmp_path: Path):
    assert refused_ct(tmp_path / "nowhere").endswith("nowhere does not exist")


def test_bad_nodule_boxes(refused: Callable[..., str], tmp_path: Path, infer_checkpoint: Path):
    path = tmp_path / "boxes.json"
    path.write_text('[{"box": [[1, 2, 3]]}]', encoding="utf-8")
    line = refused("infer", tmp_path, "--checkpoint", infer_checkpoint, "--nodules", path)
    assert "boxes.json, entry 1, box 1 must be six numbers" in line
