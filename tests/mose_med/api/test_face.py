"""The face of the library: what its users write, against the command line and slow ways to the same numbers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from monai.data import MetaTensor

import mose_med
from mose_med.ct_image import CtImage
from mose_med.errors import ConfigError, DataError, ShapeError
from mose_med.geometry import LPS_TO_RAS
from mose_med.io import read_ct
from mose_med.report import LesionFigure
from pipelines.cli import invoke

LIGHT = "import mose_med, sys; dir(mose_med); print(sorted({'torch', 'monai', 'numpy', 'matplotlib'} & {*sys.modules}))"


@pytest.fixture
def study(tmp_path: Path, write_ct_series: Callable[..., list[Path]], ball_hu: np.ndarray) -> Path:
    """Zip of a DICOM study with a ball."""
    write_ct_series(tmp_path / "study", ball_hu)
    return Path(shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "study"))


@pytest.fixture
def ball_mm(study: Path) -> tuple[float, ...]:
    return tuple((np.asarray(read_ct(study).affine) @ [14, 11, 6, 1])[:3].tolist())


@pytest.fixture
def model(infer_checkpoint: Path) -> mose_med.Model:
    return mose_med.load_model(infer_checkpoint, device="cpu")


@pytest.fixture
def case(model: mose_med.Model, study: Path, ball_mm: tuple[float, ...]) -> mose_med.Case:
    return model.infer(study, nodules=[ball_mm])


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_lines_of_the_documentation_work(infer_checkpoint, study, ball_mm, tmp_path: Path):
    model = mose_med.load_model(infer_checkpoint)
    case = model.infer(study, nodules=[ball_mm])
    lesion = case.lesions[0]
    assert lesion.volume_ml.p05 <= lesion.volume_ml.p50 <= lesion.volume_ml.p95
    assert lesion.expert_probs.sum() == pytest.approx(1)
    assert 0 <= lesion.p_empty <= 1
    assert (model.classes, model.preprocessing.roi_size) == (("background", "nodule"), (16, 16))
    assert case.samples(lesion=1).shape[:2] == (2, 4)
    folder = case.save(tmp_path / "out", dicom_seg=True)
    assert mose_med.open_case(folder).lesions[0].nodule_id == "1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, []),
        ({"samples": 2, "form": "standard", "maps": "full", "outputs": "all"},
         ["--samples", "2", "--form", "standard", "--maps", "full", "--outputs", "all"]),
        ({"dicom_seg": True, "report": True}, ["--dicom-seg", "--report"]),
        ({"dicom_seg": True, "keep_identity": True}, ["--dicom-seg", "--keep-identity"]),
    ],
)  # fmt: skip
def test_a_saved_case_is_that_of_the_command_line(model, infer_checkpoint, study, ball_mm, tmp_path, options, words):
    listed = tmp_path / "nodules.csv"
    listed.write_text("x_ras_mm,y_ras_mm,z_ras_mm\n" + ",".join(map(repr, ball_mm)) + "\n")
    command = ["infer", study, "--nodules", listed, "--checkpoint", infer_checkpoint, "--device", "cpu"]
    assert invoke([str(word) for word in (*command, "--output-dir", tmp_path / "cli", "--quiet", *words)]) == 0
    (folder,) = (tmp_path / "cli").glob("case-*")
    case = model.infer(study, nodules=listed, **options)
    assert contents(case.save(tmp_path / "python" / folder.name)) == contents(folder)


def test_options_of_writing_may_be_named_when_a_case_is_saved(model, study, ball_mm, case, tmp_path: Path):
    at_once = model.infer(study, nodules=[ball_mm], dicom_seg=True, maps="full", outputs=["all"])
    later = case.save(tmp_path / "later", dicom_seg=True, maps="full", outputs="all")
    assert contents(later) == contents(at_once.save(tmp_path / "at once"))
    assert (later / "seg.dcm").is_file() or (later / "probability_seg.dcm").is_file()


def test_a_search_finds_the_same_as_the_command_line(model, infer_checkpoint, study, tmp_path: Path):
    command = ["infer", study, "--region", "full", "--checkpoint", infer_checkpoint, "--device", "cpu", "--quiet"]
    assert invoke([str(word) for word in (*command, "--output-dir", tmp_path / "cli")]) == 0
    (folder,) = (tmp_path / "cli").glob("case-*")
    assert contents(model.infer(study, region="full").save(tmp_path / folder.name)) == contents(folder)


def test_samples_are_the_maps_of_the_folder_cut_to_the_lesion(case, tmp_path: Path):
    folder, samples = case.save(tmp_path / "out"), case.samples(lesion=1)
    first = np.rint(np.linalg.inv(case.affine) @ samples.affine[:, 3])[:3].astype(int)
    i, j, k = (slice(start, start + n) for start, n in zip(first, samples.shape[2:], strict=True))
    for expert in (0, 1):
        whole = np.asarray(nib.load(folder / f"expert-{expert + 1}_samples.nii.gz").dataobj)
        np.testing.assert_array_equal(samples[expert], np.moveaxis(whole[i, j, k], 3, 0))
    assert samples.dtype == bool


def test_samples_of_a_lesion_have_its_volumes(bright_voxels, raw_preprocessing, study, ball_mm):
    case = mose_med.Model(bright_voxels, _config(raw_preprocessing), "").infer(study, nodules=[ball_mm])
    voxel_ml = abs(np.linalg.det(case.affine[:3, :3])) / 1000
    volumes = case.samples(lesion=1).sum(axis=(2, 3, 4)) * voxel_ml
    np.testing.assert_allclose(volumes, case.lesions[0].volume_ml.samples)
    assert volumes.min() > 0


def _config(preprocessing):
    from mose_med.checkpoint import ModelConfig

    return ModelConfig({}, preprocessing, ("background", "nodule"), 4)


def test_a_case_from_disk_is_the_same_case(case, tmp_path: Path):
    again = mose_med.open_case(case.save(tmp_path / "out"))
    np.testing.assert_array_equal(again.affine, case.affine)
    np.testing.assert_array_equal(again.samples(lesion=1), case.samples(lesion=1))
    np.testing.assert_array_equal(again.samples(lesion=1).affine, case.samples(lesion=1).affine)
    for name in ("probability", "entropy"):
        here, there = getattr(case, name)(lesion=1), getattr(again, name)(lesion=1)
        assert here.shape == there.shape == case.samples(lesion=1).shape[2:]
        np.testing.assert_allclose(there, here, atol=1 / 2048)
    one, other = case.lesions[0], again.lesions[0]
    assert (other.box, other.name, other.same_as) == (one.box, one.name, one.same_as)
    np.testing.assert_allclose(other.volume_ml.by_expert, one.volume_ml.by_expert, atol=1e-5)
    assert contents(again.save(tmp_path / "copy")) == contents(tmp_path / "out")


def test_a_case_from_disk_reads_a_map_when_it_is_asked_for(case, tmp_path: Path):
    again = mose_med.open_case(case.save(tmp_path / "out"))
    (tmp_path / "out" / "entropy.nii.gz").unlink()
    assert again.probability(lesion=1).size
    with pytest.raises(DataError, match=r"lacks entropy\.nii\.gz: run `mose-med infer` again"):
        again.entropy(lesion=1)


def test_images_in_memory_are_inferred_as_files_are(model, case, study, ball_mm, tmp_path: Path):
    ct = read_ct(study)
    values, affine = ct.as_tensor()[0].numpy(), np.asarray(ct.affine)
    itk = SimpleITK.GetImageFromArray(values.transpose(2, 1, 0))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    lps = LPS_TO_RAS @ affine
    itk.SetSpacing(spacing.tolist())
    itk.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    itk.SetOrigin(lps[:3, 3].tolist())
    for image in (ct, ct[0], itk, nib.Nifti1Image(values, affine), nib.Spm99AnalyzeImage(values, affine)):
        other = model.infer(image, nodules=[ball_mm])
        np.testing.assert_allclose(other.lesions[0].volume_ml.samples, case.lesions[0].volume_ml.samples, rtol=1e-6)
        np.testing.assert_allclose(other.affine, case.affine, atol=1e-4)
        assert other.provenance["input"]["format"] == "memory"


def test_a_nibabel_image_keeps_both_its_transforms(model, tmp_path: Path):
    image = nib.Nifti1Image(np.full((20, 20, 4), -900, np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))
    image.header.set_sform(np.diag([-1.0, -1.0, 2.0, 1.0]), code=2)
    nib.save(image, tmp_path / "ct.nii")
    for name, given in (("file", tmp_path / "ct.nii"), ("memory", nib.load(tmp_path / "ct.nii"))):
        model.infer(given, nodules=[(-9, -9, 2)]).save(tmp_path / name)
    one, other = (nib.load(tmp_path / name / "probability.nii.gz").header for name in ("file", "memory"))
    assert (one["sform_code"], one["qform_code"]) == (other["sform_code"], other["qform_code"]) != (1, 1)


def test_regions_that_overlap_are_read_back_at_their_places(model, tmp_path: Path):
    rng = np.random.default_rng(0)
    image = nib.Nifti1Image(rng.normal(-800, 300, (40, 36, 5)).astype(np.int16), np.diag([-0.7, -0.7, 2.0, 1.0]))
    case = model.infer(image, nodules=[(-0.7 * i, -0.7 * 20, 4.0) for i in (20, 26)], depth_mm=2)
    found = mose_med.open_case(case.save(tmp_path / "saved", maps="full"))
    for number in (1, 2):
        assert (tmp_path / "saved" / f"lesion-{number}").is_dir()
        np.testing.assert_array_equal(found.probability(lesion=number), case.probability(lesion=number))


def test_a_case_is_drawn_with_its_ct_and_without(case, study, tmp_path: Path):
    again = mose_med.open_case(case.save(tmp_path / "out" / "case"))
    figure = case.plot(lesion=1)
    assert isinstance(figure, LesionFigure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert again.plot(lesion=1).png() != again.plot(lesion=1, image=study).png() == again.plot(1, read_ct(study)).png()
    assert case._repr_png_() == figure._repr_png_()
    assert "<table>" in again._repr_html_()
    assert "2 experts, 1 lesion<" in again._repr_html_()


def test_a_case_without_lesions_shows_itself(model, study):
    case = model.infer(study, nodules=[])
    assert (case.lesions, case._repr_png_()) == ((), None)
    assert "<img" not in case._repr_html_()


def test_the_ct_to_draw_must_be_that_of_the_case(case):
    with pytest.raises(ShapeError, match=r"image must have the shape of the case, \(26, 24, 13\), got \(4, 4, 4\)"):
        case.plot(1, nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)))


@pytest.mark.parametrize("number", ["1", None, 1.0])
def test_a_lesion_is_named_by_its_number(case, number: object):
    with pytest.raises(ConfigError, match="lesion must be the number of one of 1 lesions"):
        case.plot(lesion=number)


def test_a_folder_below_a_file_and_an_option_that_is_none_are_refused(case, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"case cannot be written: File exists: name another folder"):
        case.save(tmp_path / "file" / "case")
    with pytest.raises(ConfigError, match="got 'reprt': there is no such option"):
        case.save(tmp_path / "case", reprt=True)


@pytest.mark.parametrize(("scale", "told"), [(1, False), (1 / 4000, True)])
def test_values_that_can_hardly_be_hu_are_told(model, study, caplog, scale: float, told: bool):
    ct = read_ct(study)
    values = (ct.as_tensor().float() + (0 if scale == 1 else 1024)) * scale
    model.infer(CtImage(values, ct.affine), nodules=[])
    assert ("no voxel of the image is below -50, as fat and air are in HU (values from 0.031" in caplog.text) == told


def test_another_ct_on_the_same_grid_is_not_drawn(case, study, tmp_path: Path):
    other = read_ct(study)
    same, other = CtImage(other.as_tensor(), other.affine + 1e-9), CtImage(other.as_tensor() + 1, other.affine)
    again = mose_med.open_case(case.save(tmp_path / "out" / "case"))
    assert again.plot(1, same).png() == again.plot(1, study).png()
    for one in (case, again):
        with pytest.raises(
            DataError, match=r"must be the CT that case was inferred from: its HU differ; name that one"
        ):
            one.plot(1, other)


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_lesion_that_is_not_there_is_named(case, number: int):
    with pytest.raises(ConfigError, match=f"lesion must be the number of one of 1 lesions, got {number}"):
        case.samples(lesion=number)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": 3}, "option must be one of region, .* samples, .* got 'sample'"),
        ({"samples": 0}, "samples must be >= 1, got 0"),
        ({"region": "full"}, "region applies only without nodules, got both"),
        ({"outputs": "mask"}, "outputs must be all, or some of masks, .* got 'mask'"),
        ({"acquisition": "1"}, "acquisition must be a whole number >= 0, got '1'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(model, study, ball_mm, options, message: str):
    with pytest.raises(ConfigError, match=message):
        model.infer(study, nodules=[ball_mm], **options)


def test_what_is_no_image_or_position_is_named(model, study):
    with pytest.raises(ConfigError, match=r"image must be a path, a MetaTensor, .* got ndarray"):
        model.infer(np.zeros((4, 4, 4)))
    with pytest.raises(ConfigError, match=r"nodules must be positions \(x, y, z\) in RAS mm, got \(1, 2\)"):
        model.infer(study, nodules=[(1, 2)])
    with pytest.raises(ConfigError, match=r"nodules must be positions \(x, y, z\) in RAS mm, or a path, got 5"):
        model.infer(study, nodules=5)


def test_whether_to_overwrite_is_said_with_true_or_false(case, tmp_path: Path):
    case.save(tmp_path / "out")
    with pytest.raises(ConfigError, match="overwrite must be True or False, got 'no'"):
        case.save(tmp_path / "out", overwrite="no")


def test_an_image_of_half_precision_is_inferred(model, ball_mm, study):
    ct = read_ct(study)
    image = MetaTensor(ct.as_tensor().to(torch.bfloat16), affine=ct.affine)
    expected = model.infer(MetaTensor(image.as_tensor().float(), affine=ct.affine), nodules=[ball_mm])
    found = model.infer(image, nodules=[ball_mm])
    assert found.lesions[0].volume_ml.mean == expected.lesions[0].volume_ml.mean


def test_a_folder_in_the_way_is_not_overwritten_unless_asked(case, tmp_path: Path):
    (tmp_path / "out").mkdir()
    case.save(tmp_path / "out")
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="out already exists: name another folder, or pass overwrite=True"):
        case.save(tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").is_file()
    case.save(tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "mine.txt").exists()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_folder_that_is_no_case_is_never_replaced(case, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="mine already exists and is not a case folder: name another"):
            case.save(tmp_path / "mine", overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").is_file()


@pytest.mark.parametrize("leads_to", ["nowhere", "empty", "saved"])
def test_a_link_in_the_way_is_refused_by_name(case, leads_to: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    case.save(tmp_path / "saved")
    (tmp_path / "link").symlink_to(tmp_path / leads_to)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="link is a link: name the folder itself, or remove the link"):
            case.save(tmp_path / "link", overwrite=overwrite)
    assert (tmp_path / "saved" / "provenance.json").is_file()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_decides_the_result_is_no_option_of_saving(case, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"save takes dicom, dicom_seg, .* got 'seed': pass it to infer"):
        case.save(tmp_path / "out", seed=1)
    again = mose_med.open_case(case.save(tmp_path / "out"))
    with pytest.raises(ConfigError, match="a case read from a folder is copied unchanged, got report: infer it again"):
        again.save(tmp_path / "copy", report=True)


def test_dicom_objects_of_an_image_in_memory_are_refused(model, study, ball_mm, tmp_path: Path):
    case = model.infer(read_ct(study), nodules=[ball_mm])
    with pytest.raises(DataError, match="DICOM objects need DICOM input, got memory"):
        case.save(tmp_path / "out", dicom_seg=True)
    assert not (tmp_path / "out").exists()


def test_importing_the_package_is_light():
    said = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_name_that_the_package_does_not_have_is_named():
    with pytest.raises(AttributeError, match="module 'mose_med' has no attribute 'load_models'"):
        _ = mose_med.load_models
