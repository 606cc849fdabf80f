from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless, SegmentationStorage
from requests.auth import HTTPBasicAuth

from mose_med.errors import ConfigError, DataError
from mose_med.io import read_ct
from mose_med.io.dicom.web import Archive
from tests.fixtures.dicom_case import DicomCase
from tests.fixtures.orthanc import PASSWORD, USER, Orthanc

STUDY = "1.2.826.0.1.3680043.8.498.19010203"
AUTH = HTTPBasicAuth(USER, PASSWORD)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where series are retrieved to."""
    (tmp_path / "retrieved").mkdir()
    return tmp_path / "retrieved"


def test_a_study_comes_back_as_it_was_put_in_and_objects_are_stored(
    orthanc: Orthanc, dicom_case: DicomCase, folder: Path
):
    orthanc.upload(dicom_case.study.iterdir())
    archive = Archive(orthanc.url, auth=AUTH)
    assert archive.retrieve_ct(STUDY, folder) == 13
    np.testing.assert_array_equal(read_ct(folder).numpy(), read_ct(dicom_case.study).numpy())
    archive.store([dicom_case.folder / name for name in dicom_case.written.files])
    assert orthanc.modalities() == ["CT", "SEG", "SEG", "SR"]
    stored = pydicom.dcmread(dicom_case.folder / "seg.dcm")
    (folder / "back.dcm").write_bytes(orthanc.instance(stored.SOPInstanceUID))
    assert pydicom.dcmread(folder / "back.dcm") == stored


def test_instances_come_in_the_transfer_syntax_they_have(
    orthanc: Orthanc, write_ct_series: Callable[..., list[Path]], ball_hu: np.ndarray, tmp_path: Path, folder: Path
):
    for path in write_ct_series(tmp_path / "study", ball_hu[:4]):
        dataset = pydicom.dcmread(path)
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.save_as(path)
    orthanc.upload((tmp_path / "study").iterdir())
    Archive(orthanc.url, auth=AUTH).retrieve_ct(STUDY, folder)
    assert {pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in folder.iterdir()} == {JPEGLSLossless}
    np.testing.assert_array_equal(read_ct(folder)[0, :, :, 3].T, ball_hu[3])


def test_one_series_may_be_named(orthanc: Orthanc, write_ct_series, ball_hu, tmp_path: Path, folder: Path):
    first = write_ct_series(tmp_path / "first", ball_hu[:4])
    orthanc.upload([*first, *write_ct_series(tmp_path / "second", ball_hu[:3])])
    archive, uid = Archive(orthanc.url, auth=AUTH), pydicom.dcmread(first[0]).SeriesInstanceUID
    assert archive.retrieve_ct(STUDY, folder, uid) == 4
    with pytest.raises(ConfigError, match=r"http://127.0.0.1:\d+/dicom-web has no such series in the study"):
        archive.retrieve_ct(STUDY, folder, "1.2.3")


def test_what_the_archive_does_not_have_is_told(
    orthanc: Orthanc, write_ct_series, ball_hu, tmp_path: Path, folder: Path
):
    orthanc.upload(write_ct_series(tmp_path / "mr", ball_hu[:3], Modality="MR"))
    archive = Archive(orthanc.url, auth=AUTH)
    with pytest.raises(DataError, match="has no such study: check --study"):
        archive.retrieve_ct("1.2.3", folder)
    with pytest.raises(DataError, match=r"no CT series in the study at .*: Modality must be CT, got MR"):
        archive.retrieve_ct(STUDY, folder)
    with pytest.raises(DataError, match=r"has nothing there when asked for the series of a study .HTTP 404"):
        Archive(f"{orthanc.base}/elsewhere", auth=AUTH).retrieve_ct(STUDY, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("auth", [HTTPBasicAuth(USER, "wrong"), HTTPBasicAuth("nobody", PASSWORD)])
def test_wrong_credentials_are_told(orthanc: Orthanc, folder: Path, auth):
    with pytest.raises(DataError, match=r"refuses these credentials .HTTP 401.: set MOSE_MED") as told:
        Archive(orthanc.url, auth=auth).retrieve_ct(STUDY, folder)
    assert PASSWORD not in str(told.value)


def test_an_archive_that_does_not_answer_is_told(folder: Path):
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/web cannot be reached .ConnectionError.: check the URL"):
        Archive("http://127.0.0.1:9/web/", auth=AUTH).retrieve_ct(STUDY, folder)


def test_a_certificate_is_verified(orthanc_tls: Orthanc, write_ct_series, ball_hu, tmp_path: Path, folder: Path):
    orthanc_tls.upload(write_ct_series(tmp_path / "study", ball_hu[:3]))
    with pytest.raises(DataError, match="has no certificate that can be trusted: name its --ca-bundle"):
        Archive(orthanc_tls.url, auth=AUTH).retrieve_ct(STUDY, folder)
    trusting = Archive(orthanc_tls.url, auth=AUTH, ca_bundle=orthanc_tls.certificate)
    assert trusting.retrieve_ct(STUDY, folder) == 3


def test_a_series_that_comes_in_part_is_refused(
    orthanc: Orthanc, write_ct_series, ball_hu, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    orthanc.upload(write_ct_series(tmp_path / "study", ball_hu[:4]))
    archive = Archive(orthanc.url, auth=AUTH)
    whole = archive._client.iter_series
    monkeypatch.setattr(archive._client, "iter_series", lambda *a, **k: list(whole(*a, **k))[1:])
    with pytest.raises(DataError, match="sent 3 of 4 images of a series: try again"):
        archive.retrieve_ct(STUDY, folder)


def test_an_object_that_is_not_kept_is_told(orthanc: Orthanc, dicom_case: DicomCase, monkeypatch: pytest.MonkeyPatch):
    archive = Archive(orthanc.url, auth=AUTH)
    item, answer = pydicom.Dataset(), pydicom.Dataset()
    item.ReferencedSOPClassUID, item.FailureReason = SegmentationStorage, 0x0110
    answer.FailedSOPSequence = [item]
    monkeypatch.setattr(archive._client, "store_instances", lambda datasets: answer)
    with pytest.raises(DataError, match=r"did not store seg.dcm .failure reason 272"):
        archive.store([dicom_case.folder / "seg.dcm"])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://reader:secret@host/web", "dicomweb must be a URL without user and password"),
        ("ftp://host/web", "dicomweb must be a URL such as https://host/dicom-web, got 'ftp://host/web'"),
        ("host/web", "dicomweb must be a URL such as https://host/dicom-web, got 'host/web'"),
    ],
)
def test_urls_that_do_not_fit_are_refused(url, message):
    with pytest.raises(ConfigError, match=message) as told:
        Archive(url)
    assert "secret" not in str(told.value)


def test_an_unencrypted_archive_elsewhere_is_warned_of(caplog: pytest.LogCaptureFixture):
    Archive("http://127.0.0.1:8042/web")
    assert caplog.text == ""
    Archive("http://pacs.example/web")
    assert "http://pacs.example/web is not encrypted" in caplog.text


@pytest.mark.parametrize(("study", "series"), [("no uid", None), ("1.2", "*"), ("1" * 65, None)])
def test_what_is_no_uid_is_refused(study, series, folder: Path):
    with pytest.raises(ConfigError, match=r"(study|series) must be a UID, digits and dots, got '"):
        Archive("http://127.0.0.1:9/web").retrieve_ct(study, folder, series)


def test_a_missing_ca_bundle_is_refused():
    with pytest.raises(ConfigError, match=r"ca_bundle absent.pem does not exist"):
        Archive("https://host/web", ca_bundle=Path("absent.pem"))
