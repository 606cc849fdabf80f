"""Headers with which nothing can be read, and files whose names say something else than their content."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.errors import DataError
from mose_med.io import read_ct

VALUES = np.arange(7 * 6 * 5, dtype=np.int16).reshape(7, 6, 5)


def content(version: type = nib.Nifti1Image, **fields: object) -> bytes:
    """A file whose header has these fields, of which nibabel's writer would let few pass."""
    image = version(VALUES, np.diag([-0.7, -0.7, 2.5, 1]))
    whole = bytearray(image.to_bytes())
    header = type(image.header)(bytes(whole[: image.header.sizeof_hdr]), check=False)
    for name, value in fields.items():
        header[name] = value
    whole[: header.sizeof_hdr] = header.binaryblock
    return bytes(whole)


def dim(*lengths: int) -> list[int]:
    return [*lengths, *[1] * (8 - len(lengths))]


FAULTS = [
    ({"datatype": 0}, "must name a known type of values, got datatype 0"),
    ({"datatype": 1}, "must name a known type of values, got datatype 1"),
    ({"datatype": 999}, "must name a known type of values, got datatype 999"),
    ({"vox_offset": 0}, "must have a vox_offset >= 352, where values begin, got 0"),
    ({"vox_offset": 348}, "must have a vox_offset >= 352, where values begin, got 348"),
    ({"vox_offset": -16}, "must have a vox_offset >= 352, where values begin, got -16"),
    ({"vox_offset": np.nan}, "must have a vox_offset >= 352, where values begin, got nan"),
    ({"vox_offset": 400}, r"it (holds \d+ bytes of voxels, its header says 420|is too small)"),
    ({"vox_offset": 1e9}, r"it (holds 0 bytes of voxels, its header says 420|is too small)"),
    ({"dim": dim(8, 7, 6, 5)}, "must have 1 to 7 dimensions, got 8"),
    ({"dim": dim(0, 7, 6, 5)}, "must have 1 to 7 dimensions, got 0"),
    ({"dim": dim(3, -7, 6, 5)}, r"must have sizes >= 1, got \(-7, 6, 5\)"),
    ({"dim": dim(3, 7, 0, 5)}, r"must have sizes >= 1, got \(7, 0, 5\)"),
    ({"dim": dim(3, 32767, 32767, 32767)}, "it (holds|is too small)"),
    ({"scl_slope": 1, "scl_inter": np.nan}, "must scale by finite numbers, got slope 1, intercept nan"),
    ({"scl_slope": np.inf, "scl_inter": 0}, "must scale by finite numbers, got slope inf, intercept 0"),
    ({"magic": b"ni1"}, "it is the header of a pair of files"),
    ({"magic": b""}, "its header does not say that it is NIfTI"),
]


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize(("fields", "message"), FAULTS)
def test_what_is_wrong_in_a_header_is_named(tmp_path: Path, capfd, name: str, fields: dict, message: str):
    written = content(**fields)
    (tmp_path / name).write_bytes(gzip.compress(written) if name.endswith("gz") else written)
    with pytest.raises(DataError, match=rf"{name} cannot be read as NIfTI: [^\n]*{message}[^\n]*$"):
        read_ct(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_nifti_2_needs_a_later_offset(tmp_path: Path):
    (tmp_path / "ct.nii").write_bytes(content(nib.Nifti2Image, vox_offset=540))
    with pytest.raises(DataError, match="must have a vox_offset >= 544"):
        read_ct(tmp_path / "ct.nii")


@pytest.mark.parametrize("bad", [{"pixdim": [0, -0.7, -0.7, -2.5, 0, 0, 0, 0]}, {"bitpix": 8}, {"xyzt_units": 7}])
def test_what_does_not_matter_is_passed_over(tmp_path: Path, capfd, bad: dict):
    (tmp_path / "ct.nii").write_bytes(content(**bad))
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii").numpy()[0], VALUES)
    assert capfd.readouterr().err == ""


def test_files_are_read_by_their_content(tmp_path: Path):
    (tmp_path / "plain.nii.gz").write_bytes(content())
    (tmp_path / "packed.nii").write_bytes(gzip.compress(content()))
    for name in ("plain.nii.gz", "packed.nii"):
        np.testing.assert_array_equal(read_ct(tmp_path / name).numpy()[0], VALUES)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"NRRD0004\ntype: short\n", "it is an NRRD file: let its name end in .nrrd"),
        (b"ObjectType = Image\nNDims = 3\n", "it is a MetaImage file: let its name end in .mha"),
        (bytes(128) + b"DICM", "it is a DICOM file: let its name end in .dcm"),
        (b"PK\x03\x04", "it is a zip archive: unpack it"),
        (b"<!DOCTYPE html>", "it is a web page or XML"),
        (bz2.compress(b"x"), "it is compressed by bzip2: unpack it"),
        (b"what is this, and why?", "it does not begin as one"),
    ],
)
def test_other_content_is_named(tmp_path: Path, packed, begin: bytes, said: str):
    (tmp_path / "ct.nii.gz").write_bytes(packed(begin.ljust(600, b"\0")))
    with pytest.raises(DataError, match=rf"ct\.nii\.gz cannot be read as NIfTI: {said}"):
        read_ct(tmp_path / "ct.nii.gz")


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha", "ct", "ct.nrrd.gz"])
@pytest.mark.parametrize(
    ("pack", "said"),
    [(bytes, "it is a NIfTI file: let its name end in .nii"), (gzip.compress, "it is gzipped: unpack it")],
)
def test_nifti_of_another_name_is_named(tmp_path: Path, name: str, pack, said: str):
    (tmp_path / name).write_bytes(pack(content()))
    with pytest.raises(DataError, match=rf"{name} cannot be read: {said}"):
        read_ct(tmp_path / name)
