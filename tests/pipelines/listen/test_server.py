"""The node as dcmtk's echoscu and storescu see it."""

from __future__ import annotations

import logging
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mose_med.errors import ConfigError
from tests.fixtures.dicom_node import LIMITS


@pytest.fixture
def slices(write_ct_series: Callable[..., list[Path]], ball_hu: np.ndarray, tmp_path: Path) -> list[Path]:
    """Three slices of a study."""
    return write_ct_series(tmp_path / "ct", ball_hu[:3])


def received(folder: Path) -> list[Path]:
    return sorted(folder.glob("queue/*/new/*.dcm"))


def test_an_echo_is_answered(serve, system_tool):
    command = [system_tool("echoscu"), "-aet", "SCANNER", "-aec", "MOSE", "127.0.0.1", str(serve("SCANNER"))]
    assert subprocess.run(command, check=False).returncode == 0


def test_objects_are_kept_as_they_were_sent(serve, send, slices: list[Path], tmp_path: Path):
    assert send(serve("SCANNER"), *slices).returncode == 0
    kept = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in received(tmp_path)}
    assert len(kept) == 3
    for path in slices:
        sent = pydicom.dcmread(path)
        assert kept[sent.SOPInstanceUID].to_json() == sent.to_json()


def test_a_stranger_is_refused_unless_everybody_may_send(serve, send, slices, tmp_path: Path, caplog):
    with caplog.at_level(logging.WARNING, "pipelines"):
        refused = send(serve("SCANNER"), *slices, title="STRANGER")
    assert "Calling AE Title Not Recognized" in refused.stderr
    assert [record.getMessage() for record in caplog.records] == ["an association of 'STRANGER' was refused"]
    assert received(tmp_path) == []
    assert send(serve(), *slices, title="STRANGER").returncode == 0


def test_an_object_beyond_the_limit_ends_the_association(serve, send, slices, tmp_path: Path, caplog):
    port = serve("SCANNER", limits=LIMITS._replace(object_bytes=1000))
    with caplog.at_level(logging.WARNING, "pipelines"):
        send(port, *slices)
    assert "an association was ended: an object has more than 1000 bytes" in caplog.text
    assert received(tmp_path) == []


def test_a_full_queue_is_told_to_the_sender(serve, send, slices, tmp_path: Path):
    sent = send(serve("SCANNER", limits=LIMITS._replace(study_objects=2)), *slices, options=("-v", "-nh"))
    assert "Refused: OutOfResources" in sent.stdout + sent.stderr
    assert len(received(tmp_path)) == 2


def test_other_objects_than_ct_are_not_taken(serve, send, slices, edit_dicom, tmp_path: Path):
    for path in slices:
        edit_dicom(path, SOPClassUID=pydicom.uid.MRImageStorage)
        dataset = pydicom.dcmread(path)
        dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        dataset.save_as(path)
    assert send(serve("SCANNER"), *slices).returncode != 0
    assert received(tmp_path) == []


def test_no_log_tells_whose_a_study_is(serve, send, slices, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "pipelines"):
        send(serve("SCANNER", limits=LIMITS._replace(study_objects=2)), *slices)
    assert caplog.records
    assert "zyxwvut" not in caplog.text.lower()
    assert "19010203" not in caplog.text


def test_a_port_that_is_taken_is_one_line(pynetdicom, tmp_path: Path):
    from pipelines.listen.server import serving
    from tests.pipelines.listen.test_inbox import GENEROUS, Completion, Inbox, Spool

    inbox = Inbox(Spool(tmp_path / "queue"), Completion(1.0), GENEROUS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        message = f"cannot listen on port {address[1]} of 127.0.0.1"
        with pytest.raises(ConfigError, match=message), serving(inbox, "MOSE", address, ()):
            pass


def _has_loopback_6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_loopback_6(), reason="needs an IPv6 loopback address")
def test_objects_come_over_ipv6(pynetdicom, slices: list[Path], tmp_path: Path):
    from pipelines.listen.peer import Peer
    from pipelines.listen.server import serving
    from tests.pipelines.listen.test_inbox import GENEROUS, Completion, Inbox, Spool

    inbox = Inbox(Spool(tmp_path / "queue"), Completion(1.0), GENEROUS)
    with serving(inbox, "MOSE", ("::1", 0), ()) as port:
        Peer("MOSE", "::1", port, "SCANNER").store(slices)
    assert len(received(tmp_path)) == 3


@pytest.mark.parametrize("options", [(), ("+xa",)], ids=["uncompressed alone", "all"])
def test_a_peer_gets_objects_in_a_form_that_it_takes(pynetdicom, other_node, slices, tmp_path: Path, options):
    from pipelines.listen.peer import Peer

    compressed = pydicom.dcmread(slices[0])
    compressed.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    compressed.save_as(slices[0])
    with other_node(tmp_path / "peer", *options) as port:
        Peer("PEER", "127.0.0.1", port, "MOSE").store(slices)
    got = [pydicom.dcmread(path) for path in sorted((tmp_path / "peer").iterdir())]
    assert len(got) == 3
    (first,) = [dataset for dataset in got if compressed.SOPInstanceUID == dataset.SOPInstanceUID]
    np.testing.assert_array_equal(first.pixel_array, compressed.pixel_array)
    assert first.file_meta.TransferSyntaxUID.is_compressed == bool(options)


# pynetdicom leaves the socket of a connection that was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_a_peer_that_is_not_there_is_told(pynetdicom, slices):
    from mose_med.errors import DataError
    from pipelines.listen.peer import Peer

    with pytest.raises(DataError, match=r"PEER@127\.0\.0\.1:9 cannot be reached: check its address"):
        Peer("PEER", "127.0.0.1", 9, "MOSE").store(slices)
