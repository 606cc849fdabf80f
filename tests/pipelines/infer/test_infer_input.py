"""How ``mose-med infer`` reads its input: series, spacing, tilt, boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.api.options import ResultOptions
from mose_med.api.reading import CaseRequest, read_case
from mose_med.case_contents.lesion_rules import MIN_SCORE
from mose_med.errors import GeometryError
from mose_med.io import read_ct
from mose_med.io.case.folder import open_folder
from pipelines.cli import app, invoke
from pipelines.common.command_line.console import ExitCode


@pytest.fixture
def infer(tmp_path: Path, infer_checkpoint: Path) -> Callable[..., Path]:
    """Function that infers an input with a nodule at the origin, and returns the folder of its case."""
    nodules = tmp_path / "nodules.csv"
    nodules.write_text("x_ras_mm,y_ras_mm,z_ras_mm\n0,0,0\n", encoding="utf-8")

    def run(source: Path, *options: object) -> Path:
        given = ["--nodules", nodules] if "--nodules" not in options else []
        arguments = ["infer", source, "--output-dir", tmp_path / "out", "--checkpoint", infer_checkpoint, *given]
        assert invoke([*map(str, [*arguments, *options]), "--quiet"]) == ExitCode.DONE
        (folder,) = (tmp_path / "out").glob("case-*")
        return folder

    return run


def provenance(folder: Path) -> dict:
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))


@pytest.fixture
def study(tmp_path: Path, write_ct_series, ball_hu) -> Path:
    """Two series about the origin, of 13 and of 9 slices."""
    tags = {"SeriesDescription": "thin", "ConvolutionKernel": ["B30f", "3"]}
    write_ct_series(tmp_path / "study" / "a", ball_hu, first_mm=(-8, -8, -12), SeriesInstanceUID="1.2.1", **tags)
    write_ct_series(tmp_path / "study" / "b", ball_hu[:9], first_mm=(-8, -8, -8), SeriesInstanceUID="1.2.2")
    return tmp_path / "study"


def test_series_are_listed(study: Path, capsys):
    assert invoke(["infer", str(study), "--list-series"]) == ExitCode.DONE
    printed = capsys.readouterr()
    header, first, second = printed.out.splitlines()
    assert header.startswith("number  series UID  description")
    assert first.split() == ["1", "1.2.1", "thin", "B30f\\3", "13", "0.6", "x", "0.7", "x", "2", "axial", "yes"]
    assert second.split()[:4] == ["2", "1.2.2", "-", "-"]
    assert "Zyxwvut" not in printed.out + printed.err


def test_a_series_that_cannot_be_read_is_listed_with_its_fault(study: Path, capsys):
    next((study / "b").iterdir()).unlink()
    (study / "b" / "image 005").unlink()
    assert invoke(["infer", str(study), "--list-series"]) == ExitCode.DONE
    assert "slices are missing between" in capsys.readouterr().out.splitlines()[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--list-series"], "--list-series needs INPUT, a DICOM folder or zip"),
        (
            ["ct.nii.gz", "--list-series"],
            "--list-series applies only to a DICOM folder or zip, got the volume ct.nii.gz",
        ),
        (["absent", "--list-series"], "absent does not exist"),
        (["absent"], "infer needs a folder for its results: pass --output-dir DIR"),
    ],
)
def test_what_cannot_be_listed_is_refused(arguments: list[str], message: str, capsys):
    assert invoke(["infer", *arguments]) == ExitCode.BAD_INPUT
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("series", "slices"), [([], 13), (["--series", "2"], 9), (["--series", "1.2.2"], 9)])
def test_the_named_series_is_inferred(infer, study: Path, series: list[str], slices: int):
    assert nib.load(infer(study, *series) / "probability.nii.gz").shape[-1] == slices


def test_missing_slices_are_interpolated_on_request(infer, study: Path):
    (study / "a" / "image 005").unlink()
    folder = infer(study, "--slice-spacing", "resample")
    assert nib.load(folder / "probability.nii.gz").shape[-1] == 13
    assert provenance(folder)["options"]["slice_spacing"] == "resample"
    assert "slices are missing" in provenance(folder)["input"]["corrections"][0]


def test_a_tilted_gantry_is_corrected_on_request(infer, study: Path, edit_dicom):
    for k, path in enumerate(sorted((study / "a").iterdir(), reverse=True)):
        edit_dicom(path, ImagePositionPatient=[-8, -8 + 0.35 * k, -12 + 2 * k])
    folder = infer(study, "--gantry-tilt", "correct")
    assert nib.load(folder / "probability.nii.gz").shape == (26, 30, 13)
    assert "gantry tilt of 9.9 degrees" in provenance(folder)["input"]["corrections"][0]


def test_boxes_of_monai_are_taken_by_score(infer, study: Path, tmp_path: Path):
    boxes = {"box": [[1, 2, 3, 4, 4, 4], [0, 0, 0, 4, 4, 4]], "label_scores": [0.4, 0.3], "image": "a.nii.gz"}
    (tmp_path / "boxes.json").write_text(json.dumps([boxes]), encoding="utf-8")
    folder = infer(study, "--nodules", tmp_path / "boxes.json", "--min-score", 0.35)
    (nodule,) = provenance(folder)["request"]["nodules"]
    assert nodule == {"nodule_id": "1", "position_ras_mm": [-1.0, -2.0, 3.0]}


def test_no_box_of_monai_gives_a_result_without_lesions(infer, study: Path, tmp_path: Path):
    (tmp_path / "boxes.json").write_text('[{"box": [], "label_scores": [], "image": "a.nii.gz"}]')
    folder = infer(study, "--nodules", tmp_path / "boxes.json")
    assert json.loads((folder / "lesions.json").read_text())["lesions"] == []
    assert not nib.load(folder / "probability.nii.gz").get_fdata().any()
    assert provenance(folder)["request"]["nodules"] == "none listed"


def nifti(path: Path, hu: np.ndarray, sform_code: int, qform_code: int) -> Path:
    affine = np.array([[-0.6, 0, 0, 8], [0, -0.7, 0, 8], [0, 0, 2, -12], [0, 0, 0, 1]])
    image = nib.Nifti1Image(hu, None)
    image.set_sform(affine, sform_code)
    image.set_qform(affine + np.outer([1, 0, 0, 0], [0, 0, 0, 3]), qform_code)
    nib.save(image, path)
    return path


def test_results_carry_both_transforms_and_codes_of_nifti(infer, ball_hu, tmp_path: Path):
    before = nib.load(nifti(tmp_path / "ct.nii", ball_hu.T, 2, 1)).header
    folder = infer(tmp_path / "ct.nii", "--nifti-transform", "qform")
    after = nib.load(folder / "entropy.nii.gz").header
    assert (after["sform_code"], after["qform_code"]) == (2, 1)
    for name in ("get_sform", "get_qform"):
        np.testing.assert_allclose(getattr(after, name)(), getattr(before, name)(), atol=1e-5)
    assert provenance(folder)["input"]["affine_ras_mm"][0][3] == pytest.approx(11)
    assert open_folder(folder).affine[0, 3] == pytest.approx(11)


def test_positions_need_nifti_that_says_where_it_lies(infer, ball_hu, tmp_path: Path, infer_checkpoint, capsys):
    source = nifti(tmp_path / "ct.nii", ball_hu.T, 0, 0)
    given = ["--nodules", tmp_path / "nodules.csv", "--output-dir", tmp_path / "out", "--checkpoint", infer_checkpoint]
    assert invoke(["infer", str(source), *map(str, given)]) == ExitCode.BAD_INPUT
    assert "has no position in the patient" in capsys.readouterr().err
    folder = infer(source, "--nifti-transform", "centre")
    header = nib.load(folder / "entropy.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (0, 0)


@pytest.mark.parametrize("choice", ["sform", "qform", "centre"])
def test_a_label_map_is_placed_by_the_transform_that_the_image_is(infer, ball_hu, tmp_path: Path, choice: str):
    source = nifti(tmp_path / "ct.nii", ball_hu.T, 2, 1)
    mask = nifti(tmp_path / "mask.nii", (ball_hu.T > -500).astype(np.uint8), 2, 1)
    folder = infer(source, "--nifti-transform", choice, "--nodules", str(mask))
    (lesion,) = json.loads((folder / "lesions.json").read_text())["lesions"]
    image = nib.load(source)
    affine = {"sform": image.get_sform(), "qform": image.get_qform(), "centre": image.header.get_base_affine()}[choice]
    assert lesion["position_mm"]["ras"] == pytest.approx((affine @ [14, 11, 6, 1])[:3], abs=0.01)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_other_formats_give_what_nifti_gives(infer, study: Path, tmp_path: Path, write_volume, name: str):
    image = read_ct(study)
    path = write_volume(tmp_path / name, image.numpy()[0], spacing=(0.6, 0.7, 2.0), origin=(-8, -8, -12))
    folder = infer(path)
    np.testing.assert_allclose(nib.load(folder / "entropy.nii.gz").affine, np.asarray(image.affine), atol=1e-5)
    assert provenance(folder)["input"]["format"] == {"ct.nrrd": "nrrd", "ct.mha": "metaimage"}[name]


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_positions_need_other_formats_that_say_where_they_lie(
    infer, ball_hu, tmp_path: Path, write_unplaced, name: str
):
    source = write_unplaced(tmp_path / name, ball_hu.T)
    with pytest.raises(AssertionError):
        infer(source)
    with pytest.raises(GeometryError, match=rf"{name} has no position in the patient \(its header has neither"):
        read_case(CaseRequest(source, tmp_path / "nodules.csv", None, ResultOptions()))
    assert read_case(CaseRequest(source, None, None, ResultOptions())).nodules is None
    infer(write_unplaced(tmp_path / name, ball_hu.T, **{"axis mins" if name == "ct.nrrd" else "Offset": "-8 -8 -12"}))


@pytest.mark.parametrize(
    ("spacing", "direction", "shape", "told"),
    [
        ((0.8, 4.9, 0.8), np.eye(3), (20, 20, 20), "the voxels of its axial slices are 0.8 x 4.9 mm"),
        ((0.8, 0.8, 2), [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]], (20, 20, 20), "its slices are 37 degrees off"),
        ((0.8, 0.8, 2), np.eye(3), (20, 20, 1), "it has 1 slice;"),
        ((0.8, 0.8, 2), np.eye(3), (20, 20, 5), ""),
        ((2, 0.8, 0.8), [[0, 1, 0], [0, 0, 1], [1, 0, 0]], (5, 20, 20), ""),
    ],
    ids=["coronal", "oblique", "one slice", "axial", "axial in another order"],
)
def test_volumes_that_are_not_axial_are_told(
    tmp_path: Path, write_volume, caplog, spacing, direction, shape, told: str
):
    values = np.full(shape, -900, dtype=np.int16)
    path = write_volume(tmp_path / "ct.mha", values, spacing=spacing, direction=np.ravel(direction).tolist())
    read_case(CaseRequest(path, None, None, ResultOptions()))
    lines = [record.message for record in caplog.records]
    assert len(lines) == bool(told)
    assert all(f"the image is no stack of axial slices: {told}" in line for line in lines)
    assert all("the models know axial slices only" in line for line in lines)


def test_the_default_score_is_the_libraries():
    (command,) = [command for command in app.registered_commands if command.callback.__name__ == "infer"]
    assert command.callback.__signature__.parameters["min_score"].default == MIN_SCORE


def test_one_acquisition_of_a_series_is_a_case_of_its_own(study: Path, infer, edit_dicom, tmp_path: Path, capfd):
    for number, folder in ((1, "a"), (2, "b")):
        for k, path in enumerate((study / folder).iterdir()):
            edit_dicom(path, SeriesInstanceUID="1.2.1", AcquisitionNumber=number, InstanceNumber=10 * number + k)
    assert invoke(["infer", str(study), "--list-series"]) == ExitCode.DONE
    assert "1 with 13 slices, 2 with 9 slices: choose one with --acquisition N" in capfd.readouterr().out
    infer(study, "--acquisition", "1")
    assert provenance(infer(study, "--acquisition", "1"))["input"]["shape"][2] == 13
    with pytest.raises(ValueError, match="too many values"):
        infer(study, "--acquisition", "2")
