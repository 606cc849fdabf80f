from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from mose_med.io.dicom.files import open_files
from mose_med.io.dicom.headers import SliceHeader, ct_headers

WriteSlice = Callable[..., np.ndarray]


def headers(folder: Path) -> list[SliceHeader]:
    with open_files(folder) as files:
        return ct_headers(files)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_header_does_not_depend_on_the_encoding(tmp_path: Path, write_ct_slice: WriteSlice, syntax: str):
    for number in (1, 2):
        write_ct_slice(tmp_path / f"{number}.dcm", z_mm=number * 2.5, number=number)
    image = pydicom.dcmread(tmp_path / "2.dcm")
    image.file_meta.TransferSyntaxUID = syntax
    image.save_as(tmp_path / "2.dcm", implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    one, two = headers(tmp_path)
    assert (one.position, two.position) == ((-10.0, -20.0, 2.5), (-10.0, -20.0, 5.0))
    assert two._replace(file=one.file, position=one.position, instance_number=1) == one


def test_same_bytes_of_two_character_sets_are_two_texts(tmp_path: Path, write_ct_slice: WriteSlice):
    for name, character_set in (("1.dcm", "ISO_IR 100"), ("2.dcm", "ISO_IR 144")):
        write_ct_slice(tmp_path / name, z_mm=0.0, SpecificCharacterSet=character_set, SeriesDescription="Plain")
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(b"Plain", b"Pl\xe4in"))
    assert [header.series_description for header in headers(tmp_path)] == ["Pläin", "Plфin"]


@pytest.mark.parametrize(
    ("keyword", "odd", "field", "expected"),
    [
        ("InstanceNumber", b"x1", "instance_number", 0),
        ("ImagePositionPatient", b"1\\2\\here", "position", None),
        ("PixelSpacing", b"0.5\\inf", "pixel_spacing", None),
    ],
)
def test_values_that_are_no_numbers_are_taken_as_missing(
    tmp_path: Path, write_ct_slice: WriteSlice, keyword: str, odd: bytes, field: str, expected: object
):
    write_ct_slice(tmp_path / "1.dcm", z_mm=0.0)
    image = pydicom.dcmread(tmp_path / "1.dcm")
    with pydicom.config.disable_value_validation():
        image[keyword] = pydicom.dataelem.RawDataElement(
            image[keyword].tag, image[keyword].VR, len(odd), odd, 0, False, True
        )
        image.save_as(tmp_path / "1.dcm")
    (header,) = headers(tmp_path)
    assert getattr(header, field) == expected
