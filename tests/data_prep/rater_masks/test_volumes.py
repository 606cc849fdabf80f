from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from data_prep.rater_masks.cases import RaterCase
from data_prep.rater_masks.volumes import load_case
from mose_med.errors import DataError, GeometryError

SHAPE = (6, 5, 4)


@pytest.fixture
def case(write_volume, tmp_path: Path) -> RaterCase:
    image = write_volume(tmp_path / "image.nii.gz", np.arange(120, dtype=np.int16).reshape(SHAPE))
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1, 2, 3] = 1
    return RaterCase("c", "c", (image,), {"b": (write_volume(tmp_path / "rater-b.mha", mask),)})


def test_volumes_are_oriented_alike(case: RaterCase, write_volume, tmp_path: Path):
    flipped = np.zeros(SHAPE, dtype=np.uint8)[::-1]
    flipped[4, 2, 3] = 1
    origin = (-10.0 + 5 * 0.8, -20.0, 30.0)
    path = write_volume(tmp_path / "f.nrrd", flipped, origin=origin, direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1))
    volume = load_case(RaterCase("c", "c", case.images, {**case.masks, "a": (path,)}), ("a", "b"), 2)
    np.testing.assert_array_equal(np.argwhere(volume.masks), [[1, 2, 3, 0], [1, 2, 3, 1]])
    assert (np.diag(volume.affine)[:3] * (-1, -1, 1) > 0).all()
    assert volume.image[1, 2, 3] == np.arange(120).reshape(SHAPE)[1, 2, 3]


def test_missing_rater_is_not_present(case: RaterCase):
    volume = load_case(case, ("a", "b"), 2)
    assert volume.present.tolist() == [False, True]
    assert not volume.masks[..., 0].any()


def test_one_acquisition_of_a_dicom_image_is_read(tmp_path: Path, write_ct_series, edit_dicom, write_volume):
    for number in (1, 2):
        for path in write_ct_series(
            tmp_path / "image" / f"{number}", np.full((4, 5, 6), number), SeriesInstanceUID="1.2"
        ):
            edit_dicom(path, AcquisitionNumber=number)
    mask = write_volume(tmp_path / "a.nrrd", np.zeros(SHAPE, np.uint8), spacing=(0.6, 0.7, 2), origin=(-10, -20, -50))
    case = RaterCase("c", "c", (tmp_path / "image",), {"a": (mask,)})
    assert load_case(case, ("a",), 2, acquisition=2).image.mean() == 2
    with pytest.raises(GeometryError, match="choose one with --acquisition N"):
        load_case(case, ("a",), 2)


@pytest.mark.parametrize(
    ("shape", "geometry", "reason"),
    [
        ((6, 5, 3), {}, r"its shape is \(6, 5, 3\), the image's \(6, 5, 4\)"),
        (SHAPE, {"spacing": (0.8, 0.8, 2.5)}, "its spacing is 0.8 x 0.8 x 2.5 mm, the image's 0.8 x 0.8 x 2 mm"),
        (SHAPE, {"origin": (-10, -20, 33.5)}, r"it lies 3\.5 mm away"),
        (SHAPE, {"direction": (0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1)}, r"its axes are rotated by 36\.9 degrees"),
    ],
)
def test_another_grid_is_named(shape: Any, geometry: Any, reason: str, case: RaterCase, write_volume, tmp_path: Path):
    path = write_volume(tmp_path / "rater-a.nii.gz", np.zeros(shape, dtype=np.uint8), **geometry)
    with pytest.raises(GeometryError, match=rf"rater-a.nii.gz must lie on the grid of image.nii.gz: {reason}"):
        load_case(RaterCase("c", "c", case.images, {"a": (path,)}), ("a",), 2)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (2, "name more with --classes"),
        *((value, "save it with whole numbers, 0 for") for value in (-1, 0.5, 1.5, np.nan)),
    ],
)
def test_other_values_than_the_classes_are_named(
    value: float, remedy: str, case: RaterCase, write_volume, tmp_path: Path
):
    path = write_volume(tmp_path / "rater-a.nii.gz", np.full(SHAPE, value, dtype=np.float32))
    with pytest.raises(DataError, match=rf"rater-a.nii.gz must hold classes 0 to 1, got {value:g}: {remedy}"):
        load_case(RaterCase("c", "c", case.images, {"a": (path,)}), ("a",), 2)


def test_cases_without_or_with_two_images_are_named(case: RaterCase):
    for images in ((), (case.images[0],) * 2):
        with pytest.raises(
            DataError, match=f"c must have one image, got {len(images)}: (name it image.nii.gz|keep one)"
        ):
            load_case(RaterCase("c", "c", images, case.masks), ("b",), 2)


def test_two_masks_of_a_rater_are_named(case: RaterCase):
    with pytest.raises(DataError, match=r"rater-b.mha and rater-b.mha both belong to rater b"):
        load_case(RaterCase("c", "c", case.images, {"b": case.masks["b"] * 2}), ("b",), 2)


def test_image_that_is_not_finite_is_named(case: RaterCase, write_volume, tmp_path: Path):
    path = write_volume(tmp_path / "image.mha", np.full(SHAPE, np.nan, dtype=np.float32))
    with pytest.raises(DataError, match=r"image.mha must have finite values"):
        load_case(RaterCase("c", "c", (path,), case.masks), ("b",), 2)


def test_dicom_segmentation_is_read(case: RaterCase, write_seg, tmp_path: Path):
    frame = np.zeros((5, 6), dtype=np.uint8)
    frame[2, 1] = 1
    path = write_seg(tmp_path / "rater-a.dcm", {(1, 36.0): frame}, spacing=(0.8, 0.8))
    volume = load_case(RaterCase("c", "c", case.images, {**case.masks, "a": (path,)}), ("a", "b"), 2)
    np.testing.assert_array_equal(volume.masks[..., 0], volume.masks[..., 1])


def test_images_have_air_outside_the_field_of_view(case: RaterCase, write_volume, tmp_path: Path, caplog):
    image = write_volume(
        tmp_path / "image.nrrd", np.where(np.arange(120) % 3, 40, -3024).reshape(SHAPE).astype("int16")
    )
    volume = load_case(RaterCase("c", "c", (image,), case.masks), ("b",), 2)
    assert np.unique(volume.image).tolist() == [-1024, 40]
    assert "40 voxels below -1024 HU are outside the field of view" in caplog.text


@pytest.mark.parametrize("name", ["rater-a.nii.gz", "rater-a.mha", "rater-a.nrrd"])
@pytest.mark.parametrize("value", [255, np.float32(1.00000006), np.float64(0.9996), np.int16(1)])
def test_values_of_any_program_are_class_1(
    name: str, value: Any, case: RaterCase, write_volume, tmp_path: Path, caplog
):
    mask = np.zeros(SHAPE, dtype=np.asarray(value).dtype if value != 255 else np.uint8)
    mask[1, 2, 3] = value
    volume = load_case(RaterCase("c", "c", case.images, {"a": (write_volume(tmp_path / name, mask),)}), ("a",), 2)
    np.testing.assert_array_equal(np.argwhere(volume.masks[..., 0]), [[1, 2, 3]])
    assert ("a mask holds 255 and no other class: read as class 1" in caplog.text) == (value == 255)


def test_255_is_a_class_like_any_where_there_are_several(case: RaterCase, write_volume, tmp_path: Path):
    path = write_volume(tmp_path / "rater-a.mha", np.full(SHAPE, 255, dtype=np.uint8))
    with pytest.raises(DataError, match="must hold classes 0 to 2, got 255: name more with --classes"):
        load_case(RaterCase("c", "c", case.images, {"a": (path,)}), ("a",), 3)


def test_cropped_segmentations_of_slicer_are_placed_by_their_origin(case: RaterCase, write_slicer, tmp_path: Path):
    path = write_slicer(tmp_path / "rater-a.nrrd", np.ones((2, 1, 3)), origin=(-10 + 0.8, -20 + 2 * 0.8, 30 + 2.0))
    volume = load_case(RaterCase("c", "c", case.images, {"a": (path,)}), ("a",), 2)
    expected = [[i, 2, k] for i in (1, 2) for k in (1, 2, 3)]
    np.testing.assert_array_equal(np.argwhere(volume.masks[..., 0]), expected)


def test_a_segmentation_of_one_empty_voxel_saw_nothing(case: RaterCase, write_slicer, tmp_path: Path):
    path = write_slicer(tmp_path / "rater-a.seg.nrrd", np.zeros((1, 1, 1)), origin=(0, 0, 0), spacing=(1, 1, 1))
    volume = load_case(RaterCase("c", "c", case.images, {"a": (path,)}), ("a",), 2)
    assert volume.present.all()
    assert not volume.masks.any()


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        ({"origin": (-10.4, -20, 30)}, "must lie on the grid of image.nii.gz: it lies 0.4 mm away"),
        ({"spacing": (0.4, 0.8, 2)}, "must lie on the grid of image.nii.gz: its spacing is 0.4 x 0.8 x 2 mm"),
        ({"origin": (-10.8, -20, 30)}, "must lie within image.nii.gz: 4 of its voxels are outside"),
    ],
)
def test_a_crop_of_another_grid_is_named(geometry: Any, reason: str, case: RaterCase, write_slicer, tmp_path: Path):
    path = write_slicer(tmp_path / "rater-a.seg.nrrd", np.ones((2, 2, 2)), **geometry)
    with pytest.raises(GeometryError, match=rf"rater-a.seg.nrrd {reason}"):
        load_case(RaterCase("c", "c", case.images, {"a": (path,)}), ("a",), 2)


@pytest.mark.parametrize("layer", ["Lung", "lung", "1"])
def test_a_layer_is_read_by_its_segment_or_number(layer: str, case: RaterCase, write_slicer, tmp_path: Path):
    layers = np.zeros((*SHAPE, 2))
    layers[0, 0, 0] = (1, 0)
    layers[1, 2, 3] = (0, 1)
    path = write_slicer(tmp_path / "rater-a.seg.nrrd", layers, segments=(("nodule", 0, 1), ("Lung", 1, 1)))
    of_a = RaterCase("c", "c", case.images, {"a": (path,)})
    np.testing.assert_array_equal(np.argwhere(load_case(of_a, ("a",), 2, layer).masks), [[1, 2, 3, 0]])
    with pytest.raises(
        DataError, match=r"has 2 layers of segments: name one with --layer, nodule, Lung or a layer from 0"
    ):
        load_case(of_a, ("a",), 2)
    with pytest.raises(DataError, match=r"has no segment or layer 'x': name one with --layer, nodule, Lung"):
        load_case(of_a, ("a",), 2, "x")


def test_one_of_several_segments_of_a_layer_is_class_1(case: RaterCase, write_slicer, tmp_path: Path):
    labels = np.zeros(SHAPE)
    labels[0, 0, 0], labels[1, 2, 3] = 1, 2
    path = write_slicer(tmp_path / "rater-a.seg.nrrd", labels, segments=(("nodule", 0, 1), ("vessel", 0, 2)))
    volume = load_case(RaterCase("c", "c", case.images, {**case.masks, "a": (path,)}), ("a", "b"), 2, "vessel")
    np.testing.assert_array_equal(np.argwhere(volume.masks), [[1, 2, 3, 0], [1, 2, 3, 1]])


def rated_nifti(folder: Path, affine: np.ndarray | None) -> RaterCase:
    """A case whose image and mask are the same and lie alike; without an affine they have no place."""
    for name, dtype in (("image.nii", np.int16), ("rater-a.nii", np.uint8)):
        nib.save(nib.Nifti1Image((np.arange(120) % 7 == 0).reshape(SHAPE).astype(dtype), affine), folder / name)
    return RaterCase("c", "c", (folder / "image.nii",), {"a": (folder / "rater-a.nii",)})


def test_masks_lie_on_oblique_images(tmp_path: Path):
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", (5, -7, 44), degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag([0.8, 0.7, 2.0]) @ np.array([[1, 0, 0], [0, 1, 0.02], [0, 0, 1]])
    volume = load_case(rated_nifti(tmp_path, affine), ("a",), 2)
    np.testing.assert_array_equal(volume.masks[..., 0], volume.image)


def test_an_image_of_a_tilted_gantry_is_refused_as_by_inference(tmp_path: Path):
    tilted = np.array([[-0.7, 0, 0, 0], [0, -0.8, 0.53, 0], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    remedy = r"by a gantry tilted by 12\.0 degrees: resample it and its masks on one right-angled grid$"
    with pytest.raises(GeometryError, match=rf"image\.nii: its slices are shifted in their plane .* {remedy}"):
        load_case(rated_nifti(tmp_path, tilted), ("a",), 2)


def test_an_image_of_uncertain_place_is_told_as_by_inference(tmp_path: Path, caplog):
    load_case(rated_nifti(tmp_path, None), ("a",), 2)
    assert "the NIfTI file has no position in the patient (its sform and qform codes are 0)" in caplog.text
    caplog.clear()
    case = rated_nifti(tmp_path, np.diag([-1.0, -1, 2, 1]))
    image = nib.load(case.images[0])
    image.set_qform(np.diag([-1.0, -1, 3, 1]), code=1)
    nib.save(image, case.images[0])
    load_case(case, ("a",), 2)
    assert "the sform and the qform of the NIfTI file lie up to 3.0 mm apart: the sform is taken" in caplog.text


def test_structure_sets_are_read_and_must_be_of_the_image(tmp_path: Path, write_ct_series, write_rtstruct):
    files = write_ct_series(tmp_path / "image", np.zeros((4, 5, 6)))
    series = pydicom.dcmread(files[0]).SeriesInstanceUID
    square = np.array([(x, y, -46.0) for x, y in [(-9.1, -18.9), (-7.9, -18.9), (-7.9, -18.3), (-9.1, -18.3)]])
    path = write_rtstruct(tmp_path / "rater-a.dcm", {"GTV": [square]}, series_uid=series)
    case = RaterCase("c", "c", (tmp_path / "image",), {"a": (path,)})
    np.testing.assert_array_equal(np.argwhere(load_case(case, ("a",), 2).masks), [[2, 2, 2, 0], [3, 2, 2, 0]])
    write_rtstruct(path, {"GTV": [square]}, series_uid="1.2.3", frame_of_reference="1.2.3.4")
    with pytest.raises(DataError, match=r"mask .*rater-a\.dcm was drawn on another series, in other coordinates"):
        load_case(case, ("a",), 2)
