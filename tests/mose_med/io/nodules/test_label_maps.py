"""Nodules of masks: label maps, segmentations of 3D Slicer, the folder of TotalSegmentator."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.errors import DataError, GeometryError
from mose_med.io import read_nodules

#: Of ``write_volume``: RAS mm of the voxel (i, j, k).
SPACING, ORIGIN = np.array([0.8, 0.8, 2.0]), np.array([-10.0, -20.0, 30.0])


def ras(*voxel: float):
    x, y, z = np.asarray(voxel) * SPACING + ORIGIN
    return pytest.approx((-x, -y, z))


def two_boxes(one: int = 1, other: int = 1) -> np.ndarray:
    """Label maps with boxes about the voxels (3, 4, 2) and (12, 9.5, 6)."""
    labels = np.zeros((20, 18, 10), dtype=np.uint8)
    labels[2:5, 3:6, 1:4] = one
    labels[11:14, 9:11, 6:7] = other
    return labels


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii", "mask.nrrd", "mask.mha"])
def test_components_of_a_mask_are_nodules(tmp_path: Path, write_volume, name: str):
    nodules = read_nodules(write_volume(tmp_path / name, two_boxes()))
    assert nodules == [("1", ras(3, 4, 2)), ("2", ras(12, 9.5, 6))]


def test_voxels_that_touch_by_a_corner_are_one_component(tmp_path: Path, write_volume):
    labels = np.zeros((6, 6, 6), dtype=np.uint8)
    labels[2, 2, 2] = labels[3, 3, 3] = 1
    assert read_nodules(write_volume(tmp_path / "mask.nii", labels)) == [("1", ras(2.5, 2.5, 2.5))]


def test_labels_are_the_names_and_touching_labels_stay_apart(tmp_path: Path, write_volume):
    labels = two_boxes(7, 3)
    labels[14:17, 9:11, 6] = 4
    nodules = read_nodules(write_volume(tmp_path / "labels.nii.gz", labels))
    assert nodules == [("3", ras(12, 9.5, 6)), ("4", ras(15, 9.5, 6)), ("7", ras(3, 4, 2))]


def test_components_of_one_label_among_several_are_numbered(tmp_path: Path, write_volume):
    labels = two_boxes(2, 2)
    labels[18, 1, 8] = 5
    names = [nodule.nodule_id for nodule in read_nodules(write_volume(tmp_path / "labels.nii.gz", labels))]
    assert names == ["2-1", "2-2", "5"]


def test_the_place_does_not_depend_on_how_axes_run(tmp_path: Path, write_volume):
    flipped = write_volume(
        tmp_path / "flipped.nrrd",
        two_boxes()[::-1],
        origin=(-10.0 + 19 * 0.8, -20.0, 30.0),
        direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1),
    )
    plain = read_nodules(write_volume(tmp_path / "plain.nrrd", two_boxes()))
    places = [sorted(nodule.position_mm for nodule in nodules) for nodules in (read_nodules(flipped), plain)]
    np.testing.assert_allclose(*places)


def test_segments_of_slicer_have_their_names_in_whatever_layer(tmp_path: Path, write_slicer):
    layers = np.zeros((20, 18, 10, 2), dtype=np.uint8)
    layers[2:5, 3:6, 1:4, 0] = 2
    layers[3:6, 3:6, 1:4, 1] = 1
    path = write_slicer(tmp_path / "S.seg.nrrd", layers, segments=(("upper", 0, 2), ("lower", 1, 1)))
    assert read_nodules(path) == [("upper", ras(3, 4, 2)), ("lower", ras(4, 4, 2))]


def test_an_empty_mask_names_nothing(tmp_path: Path, write_volume):
    assert read_nodules(write_volume(tmp_path / "mask.nii.gz", np.zeros((4, 4, 4), dtype=np.uint8))) == []


@pytest.mark.parametrize(("value", "got"), [(0.4, "0.4"), (-900.0, "-900")])
def test_probabilities_and_images_are_no_label_maps(tmp_path: Path, write_volume, value: float, got: str):
    path = write_volume(tmp_path / "image.nii.gz", np.full((4, 4, 4), value, dtype=np.float32))
    with pytest.raises(DataError, match=rf"must hold whole numbers from 0 to 65535, as a label map does, got {got}"):
        read_nodules(path)


def test_of_the_folder_of_totalsegmentator_only_nodules_count(tmp_path: Path, write_volume):
    folder = tmp_path / "segmentations"
    write_volume(folder / "lung_nodules.nii.gz", two_boxes())
    write_volume(folder / "lung.nii.gz", np.ones((20, 18, 10), dtype=np.uint8))
    write_volume(folder / "heart.nii.gz", two_boxes())
    (folder / "._lung_nodules.nii.gz").write_bytes(b"as macOS leaves it")
    assert read_nodules(folder) == [("1", ras(3, 4, 2)), ("2", ras(12, 9.5, 6))]


def test_a_folder_of_organs_alone_is_refused_with_the_remedy(tmp_path: Path, write_volume):
    organ = write_volume(tmp_path / "organs" / "lung_upper_lobe_left.nii.gz", two_boxes())
    with pytest.raises(
        DataError, match=r"must have a volume that is named as nodules \(lung_nodules\.nii\.gz\), got 1"
    ):
        read_nodules(organ.parent)
    assert len(read_nodules(organ)) == 2


def twice_placed(path: Path, sform_code: int, qform_code: int) -> Path:
    """Label map with one voxel in its middle, (1, 1, 1) mm by its sform and (1, 1, 13) mm by its qform."""
    labels = np.zeros((3, 3, 3), dtype=np.uint8)
    labels[1, 1, 1] = 1
    image = nib.Nifti1Image(labels, None)
    image.set_sform(np.eye(4), sform_code)
    image.set_qform(np.eye(4) + np.outer([0, 0, 1, 0], [0, 0, 0, 12]), qform_code)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(("choice", "z"), [("auto", 1), ("sform", 1), ("qform", 13), ("centre", 0)])
def test_a_label_map_lies_by_the_chosen_transform(tmp_path: Path, caplog, choice: str, z: float):
    path = twice_placed(tmp_path / "lung_nodules.nii", 2, 1)
    for given in (path, tmp_path):
        ((_, position),) = read_nodules(given, nifti_transform=choice)
        assert position[2] == pytest.approx(z)
    assert "the sform and the qform of the label map lie up to 12.0 mm apart" in caplog.text


def test_a_label_map_that_does_not_say_where_it_lies_is_refused(tmp_path: Path):
    path = twice_placed(tmp_path / "mask.nii", 0, 0)
    with pytest.raises(GeometryError, match=r"mask\.nii has no position in the patient .*: write its position into"):
        read_nodules(path)
    assert read_nodules(path, nifti_transform="centre") == [("1", (0, 0, 0))]


@pytest.mark.parametrize("name", ["mask.nrrd", "mask.mha"])
def test_nor_is_one_of_another_format_taken(tmp_path: Path, write_unplaced, name: str):
    path = write_unplaced(tmp_path / name, two_boxes())
    with pytest.raises(
        GeometryError, match=rf"{name} has no position in the patient \(its header has neither .*\), so"
    ):
        read_nodules(path)


def test_a_label_map_in_another_unit_is_refused(tmp_path: Path):
    image = nib.Nifti1Image(np.ones((2, 2, 2), dtype=np.uint8), np.eye(4))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "mask.nii")
    with pytest.raises(GeometryError, match=r"mask\.nii must be in mm, got micron"):
        read_nodules(tmp_path / "mask.nii")
