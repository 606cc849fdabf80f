from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


@pytest.mark.parametrize(
    ("shape", "geometry", "reason"),
    [
        ((6, 5, 3), {}, r"its shape is \(6, 5, 3\), the image's \(6, 5, 4\)"),
        (SHAPE, {"spacing": (0.8, 0.8, 2.5)}, "its spacing is 0.8 x 0.8 x 2.5 mm, the image's 0.8 x 0.8 x 2 mm"),
        (SHAPE, {"origin": (-10, -20, 33.5)}, r"it lies 3\.5 mm away"),
        (SHAPE, {"direction": (0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1)}, r"its axes are turned by 36\.9 degrees"),
    ],
)
def test_another_grid_is_named(shape: Any, geometry: Any, reason: str, case: RaterCase, write_volume, tmp_path: Path):
    path = write_volume(tmp_path / "rater-a.nii.gz", np.zeros(shape, dtype=np.uint8), **geometry)
    with pytest.raises(GeometryError, match=rf"rater-a.nii.gz must lie on the grid of image.nii.gz: {reason}"):
        load_case(RaterCase("c", "c", case.images, {"a": (path,)}), ("a",), 2)


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_other_values_than_the_classes_are_named(value: float, case: RaterCase, write_volume, tmp_path: Path):
    path = write_volume(tmp_path / "rater-a.nii.gz", np.full(SHAPE, value, dtype=np.float32))
    with pytest.raises(
        DataError, match=rf"rater-a.nii.gz must hold classes 0 to 1, got {value:g}: name more with --cla"
    ):
        load_case(RaterCase("c", "c", case.images, {"a": (path,)}), ("a",), 2)


def test_cases_without_or_with_two_images_are_named(case: RaterCase):
    for images in ((), (case.images[0],) * 2):
        with pytest.raises(
            DataError, match=f"c must have one image, got {len(images)}: (name it image.nii.gz|keep one)"
        ):
            load_case(RaterCase("c", "c", images, case.masks), ("b",), 2)


def test_two_masks_of_a_rater_are_named(case: RaterCase):
    with pytest.raises(DataError, match=r"rater-b.mha and rater-b.mha are both of rater b"):
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
    assert "40 voxels of an image below -1024 HU are outside the field of view" in caplog.text
