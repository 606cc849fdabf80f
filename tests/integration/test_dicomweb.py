"""``infer --dicomweb`` against a real archive: query, retrieve, infer, store back."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mose_med.io import read_ct
from pipelines.cli import invoke
from tests.fixtures.orthanc import PASSWORD, USER, Orthanc

STUDY = "1.2.826.0.1.3680043.8.498.19010203"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """User and password of the archive, in the environment."""
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))
    monkeypatch.setenv("MOSE_MED_DICOMWEB_USER", USER)
    monkeypatch.setenv("MOSE_MED_DICOMWEB_PASSWORD", PASSWORD)
    return monkeypatch


@pytest.fixture
def infer_study(
    orthanc: Orthanc, ball_study: Path, bright_checkpoint: Path, scratch: Path, credentials, tmp_path: Path
) -> Callable[..., int]:
    """Function that infers the ball, which the archive holds, with more options or others; returns the exit code."""
    orthanc.upload(ball_study.iterdir())
    centre = np.asarray(read_ct(ball_study).affine) @ [14, 11, 6, 1]
    (tmp_path / "nodules.csv").write_text("x_ras_mm,y_ras_mm,z_ras_mm\n{},{},{}\n".format(*centre[:3]))

    def infer(*more: str, url: str = orthanc.url, study: str = STUDY) -> int:
        files = ["--output-dir", tmp_path / "out", "--checkpoint", bright_checkpoint, "--log-file", tmp_path / "log"]
        command = ["infer", "--dicomweb", url, "--study", study, *files, "--nodules", tmp_path / "nodules.csv", *more]
        return invoke([str(word) for word in command])

    return infer


def written(folder: Path) -> str:
    """Everything that a run wrote as text."""
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_a_study_is_taken_from_the_archive_and_its_objects_are_stored_there(
    infer_study, orthanc: Orthanc, ball_study: Path, scratch: Path, tmp_path: Path, capfd
):
    assert infer_study() == 0
    assert orthanc.modalities() == ["CT", "SEG", "SEG", "SR"]
    (seg,) = (tmp_path / "out").glob("case-*/seg.dcm")
    stored = tmp_path / "stored.dcm"
    stored.write_bytes(orthanc.instance(pydicom.dcmread(seg).SOPInstanceUID))
    assert pydicom.dcmread(stored) == pydicom.dcmread(seg)
    assert list(scratch.iterdir()) == []
    assert PASSWORD not in written(tmp_path / "out") + (tmp_path / "log").read_text() + "".join(capfd.readouterr())


def test_the_private_map_says_where_the_study_is_from_and_nothing_else_does(infer_study, orthanc, tmp_path: Path):
    assert infer_study("--no-dicom-seg") == 0
    with (tmp_path / "out" / "private" / "case_map.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["source"], row["study_uid"]) == (f"{orthanc.url}/studies/{STUDY}", STUDY)
    public = [path for path in (tmp_path / "out").iterdir() if path.name != "private"]
    for path in [*public, tmp_path / "log"]:
        text = written(path) if path.is_dir() else path.read_text()
        assert STUDY not in text
        assert orthanc.base not in text
    assert orthanc.modalities() == ["CT"]


def test_the_same_command_stores_the_same_objects_again(infer_study, orthanc: Orthanc):
    assert (infer_study(), infer_study()) == (0, 0)
    assert orthanc.modalities() == ["CT", "SEG", "SEG", "SR"]


def test_results_stay_where_storing_fails(infer_study, orthanc: Orthanc, tmp_path: Path, credentials, capfd):
    def refuse(archive, files):
        from mose_med.errors import DataError

        raise DataError("archive is full")

    credentials.setattr("mose_med.io.dicom.web.Archive.store", refuse)
    assert infer_study() == 2
    assert "archive is full" in capfd.readouterr().err
    assert len(list((tmp_path / "out").glob("case-*/report_sr.dcm"))) == 1


def test_a_wrong_password_is_one_line_and_leaves_nothing(infer_study, credentials, tmp_path: Path, scratch, capfd):
    credentials.setenv("MOSE_MED_DICOMWEB_PASSWORD", "Wrong-Planted-Secret")
    assert infer_study("--quiet") == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "refuses these credentials (HTTP 401): set MOSE_MED_DICOMWEB_USER and MOSE_MED_DICOMWEB_PASSWORD" in line
    assert "Wrong-Planted-Secret" not in line + (tmp_path / "log").read_text()
    assert not (tmp_path / "out").exists()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study": "1.2.3"}, "has no such study: check --study"),
        ({"study": "no uid"}, "study must be a UID, digits and dots, got 'no uid'"),
        ({"url": "http://127.0.0.1:9/dicom-web"}, "http://127.0.0.1:9/dicom-web cannot be reached (ConnectionError)"),
        ({"url": "https://reader:secret@host/web"}, "dicomweb must be a URL without user and password"),
    ],
)
def test_what_cannot_be_had_is_one_line(infer_study, changes, message, tmp_path: Path, capfd):
    assert infer_study("--quiet", **changes) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert message in line
    assert "secret" not in line
    assert not (tmp_path / "out").exists()


def test_a_study_without_ct_is_one_line(infer_study, orthanc: Orthanc, write_ct_series, ball_hu, tmp_path: Path, capfd):
    orthanc.upload(write_ct_series(tmp_path / "mr", ball_hu[:3], Modality="MR", StudyInstanceUID="1.2.3.4"))
    assert infer_study("--quiet", study="1.2.3.4") == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "no CT series in the study" in line
    assert "Modality must be CT, got MR" in line


def test_credentials_may_stand_in_a_netrc(infer_study, credentials, tmp_path: Path, orthanc: Orthanc):
    for name in ("USER", "PASSWORD"):
        credentials.delenv(f"MOSE_MED_DICOMWEB_{name}")
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    credentials.setenv("NETRC", str(tmp_path / "netrc"))
    assert infer_study() == 0
    assert "SEG" in orthanc.modalities()


def test_options_of_an_archive_need_an_archive(tmp_path: Path, capfd):
    assert invoke(["infer", "ct.nii", "--study", "1.2", "--output-dir", str(tmp_path / "out")]) == 2
    assert "--study needs --dicomweb URL, got 1.2 without it" in capfd.readouterr().err
    assert invoke(["infer", "--dicomweb", "https://host", "--output-dir", str(tmp_path / "out")]) == 2
    assert "--dicomweb needs the study to infer: pass --study UID" in capfd.readouterr().err
