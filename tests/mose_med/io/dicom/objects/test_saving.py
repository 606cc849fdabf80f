"""Large objects are deflated as a whole, which readers undo; what is sent is not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import pydicom
import pytest
import SimpleITK
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from mose_med.io.dicom.objects import saving
from mose_med.io.dicom.objects.object_files import read_object
from tests.fixtures.dicom_case import DicomCase

LARGE = ("seg.dcm", "probability_map.dcm", "report_sr.dcm")


@pytest.fixture
def write(ball_study: Path, infer_dicom_case, write_dicom_objects, monkeypatch) -> Callable[[str, int], DicomCase]:
    """Function that writes the objects of a case where more than so many bytes of frames, or of a report, are large."""

    def written(name: str, large_bytes: int) -> DicomCase:
        monkeypatch.setattr(saving, "LARGE_BYTES", large_bytes)
        monkeypatch.setattr(saving, "LARGE_REPORT_BYTES", large_bytes)
        kinds = ("seg", "fractional", "sr", "parametric-map", "rtstruct")
        return write_dicom_objects(ball_study, infer_dicom_case(ball_study, (14, 11, 6)), name=name, kinds=kinds)

    return written


@pytest.fixture
def plain(write: Callable[[str, int], DicomCase]) -> Path:
    """Folder of a case whose objects are all small."""
    return write("plain", 1 << 20).folder


@pytest.fixture
def deflated(write: Callable[[str, int], DicomCase]) -> Path:
    """The same, where all are large."""
    return write("deflated", 0).folder


def syntax(path: Path) -> str:
    return pydicom.dcmread(path).file_meta.TransferSyntaxUID


def test_large_objects_are_deflated_and_hold_the_same(plain: Path, deflated: Path):
    for name in LARGE:
        assert (syntax(plain / name), syntax(deflated / name)) == (
            ExplicitVRLittleEndian,
            DeflatedExplicitVRLittleEndian,
        )
        assert pydicom.dcmread(deflated / name) == pydicom.dcmread(plain / name)
        assert (deflated / name).stat().st_size < 0.8 * (plain / name).stat().st_size
        assert (deflated / name).stat().st_size % 2 == 0


def test_structures_and_compressed_frames_stay_as_they_are(plain: Path, deflated: Path):
    for name in ("probability_seg.dcm", "rtstruct.dcm"):
        assert (deflated / name).read_bytes() == (plain / name).read_bytes()


def test_other_readers_inflate_a_large_segmentation(plain: Path, deflated: Path):
    images = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(folder / "seg.dcm")) for folder in (plain, deflated)]
    assert (images[0] == images[1]).all()
    assert hd.seg.segread(deflated / "seg.dcm").number_of_segments == 4


def test_other_readers_inflate_a_large_report(plain: Path, deflated: Path, system_tool: Callable[[str], str]):
    reports = [folder / "report_sr.dcm" for folder in (plain, deflated)]
    texts = [subprocess.check_output([system_tool("dsrdump"), report], text=True) for report in reports]
    assert texts[0] == texts[1]
    assert "Imaging Measurement Report" in texts[0]
    assert hd.sr.srread(reports[1]).content == hd.sr.srread(reports[0]).content
    assert read_object(reports[1]) == read_object(reports[0])


def test_dciodvfy_finds_no_error_in_what_another_program_inflated(deflated: Path, system_tool: Callable[[str], str]):
    for name in LARGE:
        subprocess.run([system_tool("dcmconv"), "+te", deflated / name, deflated / "inflated.dcm"], check=True)
        command = [system_tool("dciodvfy"), "-new", deflated / "inflated.dcm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "Error" not in result.stderr
        assert result.stderr


def test_what_is_sent_is_inflated(plain: Path, deflated: Path):
    for name in LARGE:
        sent = saving.read_to_send(deflated / name)
        assert sent.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert sent == pydicom.dcmread(plain / name)
