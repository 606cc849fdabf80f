"""A name planted in every identifying tag, folder and file of a study is found in no result but where it belongs.

It belongs in ``private/`` and, as DICOM requires, in DICOM objects. The terminal may name paths; log files may not.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_dict

from mose_med.io import read_ct
from pipelines.cli import invoke

NAME = "ZyxwvutPlanted"
DATE = "19010203"
UID = "1.2.826.0.1.3680043.8.498.19010203"
PLANTED = (b"zyxwvut", DATE.encode(), UID.encode())
#: Groups of patient, study, series, acquisition, procedure and request.
GROUPS = (0x0008, 0x0010, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040)
TEXTS = {"PN": f"{NAME}^Q", **dict.fromkeys(("LO", "SH", "LT", "ST", "UC", "UT", "AE"), NAME)}
#: Without these a file is no slice of a CT.
NEEDED = {"SOPClassUID", "SOPInstanceUID"}
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{200,}={0,2}")


def plant(path: Path) -> None:
    """Put the name, the date and UIDs into every tag of a file that can hold them."""
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(path)
        for keyword, tag in keyword_dict.items():
            vr, vm, _, retired, _ = DicomDictionary[tag]
            if tag >> 16 not in GROUPS or retired or keyword in NEEDED or not vm.startswith("1"):
                continue
            if vr in TEXTS:
                setattr(dataset, keyword, TEXTS[vr])
            elif vr == "DA":
                setattr(dataset, keyword, DATE)
            elif vr == "UI":
                setattr(dataset, keyword, f"{UID}.{tag}")
        number = int(re.sub(r"\D", "", path.name))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{UID}.9.{number}"
        dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def study(tmp_path: Path, write_ct_series: Callable[..., list[Path]], ball_hu: np.ndarray) -> Path:
    """The ball in a folder that has the name, of files that have it."""
    folder = tmp_path / NAME / f"{NAME} {DATE}"
    for path in write_ct_series(folder, np.where(ball_hu == 0, -300, ball_hu)):
        plant(path)
        path.rename(path.with_name(f"{NAME} {path.name}"))
    return folder


@pytest.fixture
def run(tmp_path: Path, study: Path, bright_checkpoint: Path) -> Callable[..., int]:
    """Function that infers with all outputs and a log file, and returns the exit code."""
    centre = np.asarray(read_ct(study).affine) @ [14, 11, 6, 1]
    nodules = tmp_path / "nodules.csv"
    nodules.write_text("nodule_id,x_ras_mm,y_ras_mm,z_ras_mm\nball,{},{},{}\n".format(*centre[:3]))

    def infer(*more: object) -> int:
        always = ["--output-dir", tmp_path / "out", "--checkpoint", bright_checkpoint, "--log-file", tmp_path / "log"]
        return invoke([str(word) for word in ("infer", *more, *always, "--form", "standard", "--report")])

    return infer


def contents(path: Path) -> bytes:
    """Bytes of a file in small letters, what is compressed or embedded in it included."""
    raw = path.read_bytes()
    pieces = [raw, *(base64.b64decode(text + b"=" * (-len(text) % 4)) for text in _BASE64.findall(raw))]
    return b"".join(piece + (gzip.decompress(piece) if piece[:2] == b"\x1f\x8b" else b"") for piece in pieces).lower()


def leaks(tmp_path: Path) -> list[str]:
    """Files, outside ``private/`` and of no DICOM object, that hold what was planted, in content or name."""
    found = []
    for path in [*(tmp_path / "out").rglob("*"), tmp_path / "log"]:
        name = str(path.relative_to(tmp_path)).encode().lower()
        if path.is_dir() or "private" in path.parts:
            continue
        text = name + (b"" if path.suffix == ".dcm" else contents(path))
        found += [f"{path.name}: {planted!r}" for planted in PLANTED if planted in text]
    return found


def told_by(path: Path) -> set[str]:
    """Elements of an object that hold what was planted, UIDs aside."""
    plain = [element for element in pydicom.dcmread(path).iterall() if element.VR not in ("SQ", "UI")]
    return {element.keyword for element in plain if any(word in str(element.value) for word in (NAME, DATE))}


def test_every_identifying_tag_was_planted(study: Path):
    dataset = pydicom.dcmread(next(study.iterdir()))
    for keyword in ("PatientName", "PatientID", "PatientAddress", "OtherPatientNames", "ReferringPhysicianName"):
        assert NAME in str(dataset[keyword].value)
    for keyword in ("InstitutionName", "InstitutionAddress", "AccessionNumber", "StudyID", "PatientComments"):
        assert NAME in str(dataset[keyword].value)
    assert dataset.PatientBirthDate == DATE
    assert len(dataset) > 250


def test_no_output_tells_whose_the_study_is(study: Path, run, tmp_path: Path):
    assert run(study, "--dicom-seg", "--nodules", tmp_path / "nodules.csv") == 0
    assert leaks(tmp_path) == []
    (case,) = (tmp_path / "out").glob("case-*")
    assert {"report.html", "seg.dcm", "report_sr.dcm", "samples.nii.gz"} <= {path.name for path in case.iterdir()}


def test_every_object_tells_no_more_of_the_patient_than_a_segmentation(study: Path, run, tmp_path: Path):
    assert run(study, "--dicom", "all", "--nodules", tmp_path / "nodules.csv") == 0
    (case,) = (tmp_path / "out").glob("case-*")
    told = {path.name: told_by(path) for path in case.glob("*.dcm")}
    assert len(told) == 8
    assert all(keywords <= told["seg.dcm"] | {"StructureSetDate"} for keywords in told.values())


def test_it_is_told_where_it_belongs(study: Path, run, tmp_path: Path):
    run(study, "--dicom-seg", "--nodules", tmp_path / "nodules.csv")
    private = tmp_path / "out" / "private"
    assert private.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in private.iterdir()} == {0o600}
    assert NAME in (private / "case_map.csv").read_text()
    (segmentation,) = (tmp_path / "out").glob("case-*/seg.dcm")
    assert str(pydicom.dcmread(segmentation).PatientName) == f"{NAME}^Q"


def test_what_is_kept_on_request_is_found_by_this_search(study: Path, run, tmp_path: Path):
    run(study, "--keep-identity", "--nodules", tmp_path / "nodules.csv")
    assert {leak.partition(":")[0] for leak in leaks(tmp_path)} == {"provenance.json", "summary.csv"}


def test_what_is_corrected_is_logged_without_names(study: Path, run, tmp_path: Path):
    sorted(study.iterdir())[9].unlink()
    assert run(study, "--slice-spacing", "resample", "--nodules", tmp_path / "nodules.csv") == 0
    assert "corrected: " in (tmp_path / "log").read_text()
    assert leaks(tmp_path) == []


@pytest.mark.parametrize("fault", ["cut short", "gap", "no position"])
def test_a_study_that_fails_is_told_on_the_terminal_alone(study: Path, run, tmp_path: Path, edit_dicom, fault, capfd):
    spoil(sorted(study.iterdir())[6], fault, edit_dicom)
    assert run(study, "--nodules", tmp_path / "nodules.csv") == 2
    assert NAME in capfd.readouterr().err
    assert leaks(tmp_path) == []


@pytest.mark.parametrize(
    "fault", ["cut short", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("gap", "no position"))]
)
def test_a_failed_case_of_a_cohort_is_told_without_names(study: Path, run, tmp_path: Path, edit_dicom, fault):
    spoil(sorted(study.iterdir())[6], fault, edit_dicom)
    assert run("--input-dir", tmp_path / NAME, "--region", "full", "--workers", "1") == 1
    assert len((tmp_path / "out" / "failed.csv").read_text().splitlines()) == 2
    assert leaks(tmp_path) == []


def spoil(path: Path, fault: str, edit_dicom: Callable[..., None]) -> None:
    if fault == "gap":
        path.unlink()
    elif fault == "cut short":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        edit_dicom(path, ImagePositionPatient=None)
