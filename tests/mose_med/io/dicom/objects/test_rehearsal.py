"""Headers of which no DICOM object can be made are named before inference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mose_med.errors import DataError
from mose_med.io.dicom.source import ObstacleError, read_source_series
from tests.fixtures.dicom_case import DicomCase


@pytest.fixture
def files(tmp_path: Path, write_ct_series: Callable[..., list[Path]]) -> list[Path]:
    """Files of a small series, in the order of slices."""
    return write_ct_series(tmp_path / "study", np.zeros((4, 6, 5)))


@pytest.mark.parametrize("value", ["ISO_IR 999", ["", "ISO 2022 IR 999"], "Zyxwvut"])
def test_an_unknown_character_set_is_named(files: list[Path], edit_dicom, value):
    for path in files:
        edit_dicom(path, SpecificCharacterSet=value)
    message = "image 004 has a SpecificCharacterSet that DICOM does not define: leave out --dicom-seg and"
    with pytest.raises(DataError, match=message) as caught:
        read_source_series(files[0].parent)
    assert "Zyxwvut" not in str(caught.value)


@pytest.mark.parametrize("number", [0, 2])
def test_a_class_of_no_standard_is_named_with_its_file(files: list[Path], edit_dicom, number: int):
    edit_dicom(files[number], SOPClassUID="1.2.3.4.5")
    with pytest.raises(
        ObstacleError, match=f"image 00{4 - number} has a SOPClassUID that is not valid in a DICO"
    ) as caught:
        read_source_series(files[0].parent)
    assert caught.value.fault == "a slice has a SOPClassUID that is not valid in a DICOM object"


def test_an_element_that_makes_the_objects_fail_is_found(files: list[Path], monkeypatch: pytest.MonkeyPatch):
    from mose_med.io.dicom.objects import rehearsal as dicom_rehearsal

    make = dicom_rehearsal.binary_frames

    def picky(present, objects):
        if objects.source.header.get("InstitutionName"):
            raise ValueError("Zyxwvut")
        return make(present, objects)

    monkeypatch.setattr(dicom_rehearsal, "binary_frames", picky)
    with pytest.raises(DataError, match="image 004 has a InstitutionName that is not valid in a DICOM object"):
        read_source_series(files[0].parent)


@pytest.mark.parametrize("value", [["", "ISO 2022 IR 87"], "ISO 2022 IR 100", ["ISO_IR 100", "ISO 2022 IR 87"]])
def test_text_of_several_character_sets_is_written_as_utf_8(
    ball_study: Path, infer_dicom_case, write_dicom_objects, edit_dicom, value
):
    for path in ball_study.iterdir():
        edit_dicom(path, SpecificCharacterSet=value, PatientName="Yamada^Tarou")
    case: DicomCase = write_dicom_objects(ball_study, infer_dicom_case(ball_study, (14, 11, 6)))
    for name in case.written.files:
        dataset = pydicom.dcmread(case.folder / name)
        assert (dataset.SpecificCharacterSet, str(dataset.PatientName)) == ("ISO_IR 192", "Yamada^Tarou")
