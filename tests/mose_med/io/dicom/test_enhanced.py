"""Enhanced CT against single-frame CT of the same slices, converted by highdicom, and against ITK."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import EnhancedCTImageStorage, generate_uid

from mose_med.errors import DataError, GeometryError
from mose_med.io import list_series, read_ct
from mose_med.io.dicom.enhanced import with_frames
from mose_med.io.dicom.files import open_files
from mose_med.io.dicom.headers import ct_headers
from mose_med.io.dicom.read import slice_hu

#: Slice of each frame.
ORDER = (3, 0, 5, 1, 4, 2)
#: What highdicom's conversion asks of a slice besides what the fixture writes.
TAGS = {
    "PatientSex": "O",
    "StudyDate": "20200101",
    "StudyTime": "120000",
    "SeriesNumber": 1,
    "Manufacturer": "maker",
    "ContentDate": "20200101",
    "ContentTime": "120000",
    "AcquisitionDate": "20200101",
    "AcquisitionTime": "120000",
    "SliceThickness": 2.0,
    "KVP": 120,
    "RescaleType": "HU",
    "BurnedInAnnotation": "NO",
}


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, size=(6, 7, 5))


def shuffle(image: pydicom.Dataset) -> None:
    """Order the frames of an image so that they run neither up nor down."""
    groups, size = image.PerFrameFunctionalGroupsSequence, image.Rows * image.Columns * 2
    place = {float(item.PlanePositionSequence[0].ImagePositionPatient[2]): k for k, item in enumerate(groups)}
    order = [place[z] for z in np.asarray(sorted(place))[list(ORDER)]]
    image.PixelData = b"".join(image.PixelData[k * size : (k + 1) * size] for k in order)
    image.PerFrameFunctionalGroupsSequence = pydicom.Sequence([groups[k] for k in order])


@pytest.fixture
def enhanced(tmp_path: Path, write_ct_series, edit_dicom, stored) -> Callable[..., tuple[Path, Path]]:
    """Function that writes the same slices as single frames and as one file; it returns both folders."""

    def write(edit: Callable[[pydicom.Dataset], None] = lambda image: None, **tags: object) -> tuple[Path, Path]:
        paths = write_ct_series(tmp_path / "single", stored, **TAGS, **tags)
        edit_dicom(paths[2], RescaleIntercept=-100)
        datasets = [pydicom.dcmread(path) for path in paths]
        image = highdicom.legacy.LegacyConvertedEnhancedCTImage(datasets, generate_uid(), 2, generate_uid(), 1)
        shuffle(image)
        edit(image)
        (tmp_path / "many").mkdir()
        image.save_as(tmp_path / "many" / "frames.dcm")
        return tmp_path / "single", tmp_path / "many"

    return write


def test_frames_make_the_volume_of_their_slices(enhanced):
    single, many = map(read_ct, enhanced(orientation=(0.96, 0.28, 0, -0.28, 0.96, 0)))
    np.testing.assert_array_equal(many.numpy(), single.numpy())
    np.testing.assert_allclose(np.asarray(many.affine), np.asarray(single.affine), atol=1e-6)
    assert many.shape == (1, 5, 7, 6)


def test_the_file_alone_is_an_input(enhanced):
    _, many = enhanced()
    np.testing.assert_array_equal(read_ct(many / "frames.dcm").numpy(), read_ct(many).numpy())


def test_a_file_that_is_stored_twice_is_read_once(enhanced, caplog):
    single, many = enhanced()
    shutil.copy(many / "frames.dcm", many / "again.dcm")
    np.testing.assert_array_equal(read_ct(many).numpy(), read_ct(single).numpy())
    assert "6 slices are stored twice: one of each is read" in caplog.text


def test_the_class_of_new_scanners_is_read_too(enhanced):
    def rename(image: pydicom.Dataset) -> None:
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage

    single, many = map(read_ct, enhanced(rename))
    np.testing.assert_array_equal(many.numpy(), single.numpy())


def test_padding_is_masked_in_every_frame(enhanced, stored):
    padding = int(stored[4, 3, 2])
    _, many = enhanced(lambda image: image.add_new("PixelPaddingValue", "SS", padding))
    assert read_ct(many).numpy()[0, 2, 3, 4] == -1024


def test_one_frame_is_read_by_itself(enhanced, stored):
    _, many = enhanced()
    with open_files(many) as files:
        headers = with_frames(ct_headers(files))
        assert [header.name for header in headers[:2]] == ["frames.dcm frame 1", "frames.dcm frame 2"]
        np.testing.assert_array_equal(slice_hu(headers[2]), stored[5])


def test_the_list_counts_frames_and_knows_their_kernel(enhanced):
    def name_kernel(image: pydicom.Dataset) -> None:
        item = pydicom.Dataset()
        item.ConvolutionKernel = "LUNG"
        image.SharedFunctionalGroupsSequence[0].CTReconstructionSequence = [item]

    _, many = enhanced(name_kernel)
    (summary,) = list_series(many)
    assert (summary.slices, summary.kernel, summary.fault) == (6, "LUNG", "")


def test_itk_sees_the_same_frames(enhanced, stored):
    _, many = enhanced()
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(many / "frames.dcm")))
    np.testing.assert_array_equal(image[1], stored[0])


def _without_position(image: pydicom.Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence


def _without_groups(image: pydicom.Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[3]


def _without_rescaling(image: pydicom.Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[3].PixelValueTransformationSequence


def _cut(image: pydicom.Dataset) -> None:
    image.PixelData = image.PixelData[:-70]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_position, "frames.dcm frame 4 has no usable ImagePositionPatient"),
        (_without_groups, "frames.dcm must give the position of each of its 6 frames, got 5"),
        (_without_rescaling, "frames.dcm frame 4 has no RescaleSlope and RescaleIntercept, but other"),
        (_cut, "pixel data of frames.dcm .* cannot be decoded"),
    ],
)
def test_faulty_frames_are_named(enhanced, spoil, message: str):
    _, many = enhanced(spoil)
    with pytest.raises((DataError, GeometryError), match=message):
        read_ct(many)


def test_frames_that_miss_a_place_are_named(enhanced):
    def move(image: pydicom.Dataset) -> None:
        image.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0].ImagePositionPatient = [-10, -20, 100]

    _, many = enhanced(move)
    with pytest.raises(GeometryError, match=r"missing between frames.dcm frame 5 and frames.dcm frame 3"):
        read_ct(many)
