"""``mose-med listen`` as a process: studies come in, results go out, and what ends it loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor

from mose_med.checkpoint import read_checkpoint, write_checkpoint
from mose_med.networks import MoSE
from tests.fixtures.orthanc import PASSWORD, USER, Orthanc

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pynetdicom")]
_LIMIT_S = 600.0


class Node:
    """The command over a folder, which it begins again with the same options."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.folder = folder
        self._always = ["--checkpoint", checkpoint, "--device", "cpu", "--port", "0", "--allow-ae-title", "SCANNER"]
        self._process: subprocess.Popen[bytes] | None = None
        self._runs = 0

    @property
    def log(self) -> Path:
        """Log file of the latest run."""
        return self.folder.parent / f"log-{self._runs}"

    @property
    def results(self) -> Path:
        """Folder of the cases."""
        return self.folder / "results"

    def begin(self, *options: object) -> int:
        """Begin, and return the port once it listens."""
        self._runs += 1
        words = ["listen", "--output-dir", self.folder, *self._always, "--log-file", self.log, *options]
        program = "from pipelines.cli import main\nif __name__ == '__main__': main()"
        command = [sys.executable, "-c", program, *map(str, words)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        return int(self.wait_for("listens on 127.0.0.1:").rpartition(":")[2])

    def wait_for(self, text: str) -> str:
        """Wait until a line of the log has a text; the line."""
        deadline = time.monotonic() + _LIMIT_S
        while time.monotonic() < deadline:
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            found = [line for line in lines if text in line]
            if found:
                return found[0]
            assert self._process is not None
            assert self._process.poll() is None, lines
            time.sleep(0.2)
        raise AssertionError(f"the log never told {text!r}: {lines}")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(_LIMIT_S)


@pytest.fixture
def marking_checkpoint(infer_network: MoSE, infer_checkpoint: Path) -> Path:
    """A network that marks all it sees, so that a search finds something."""
    with torch.no_grad():
        infer_network.head.classify.bias.copy_(torch.tensor([0.0, 50.0]))
    write_checkpoint(infer_checkpoint, replace(read_checkpoint(infer_checkpoint), model=infer_network.state_dict()))
    return infer_checkpoint


@pytest.fixture
def node(tmp_path: Path, marking_checkpoint: Path) -> Iterator[Node]:
    """A node that is not running yet."""
    node = Node(tmp_path / "node", marking_checkpoint)
    yield node
    if node._process is not None and node._process.poll() is None:
        node.end(signal.SIGKILL)


@pytest.fixture
def slices(write_ct_series: Callable[..., list[Path]], chest: MetaTensor, tmp_path: Path) -> list[Path]:
    """A chest with lungs."""
    voxels = chest[0].numpy().astype(np.int16).transpose(2, 1, 0)
    return write_ct_series(tmp_path / "ct", voxels, step_mm=5.0, PixelSpacing=[4.0, 4.0])


def logged(folder: Path) -> str:
    return "".join(path.read_text().lower() for path in folder.glob("log-*"))


def test_a_study_comes_in_and_its_objects_go_to_a_node(node: Node, send, other_node, slices, tmp_path: Path):
    with other_node(tmp_path / "peer") as peer:
        port = node.begin("--quiet-time", 2, "--send-to", f"PEER@127.0.0.1:{peer}")
        # Two associations, as some modalities have them.
        assert send(port, *slices[:9]).returncode == send(port, *slices[9:]).returncode == 0
        node.wait_for("was sent to PEER")
        assert node.end(signal.SIGTERM) == 143
    (case,) = node.results.glob("case-*/provenance.json")
    got = {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "peer").iterdir()}
    assert got == {pydicom.dcmread(path).SOPInstanceUID for path in case.parent.glob("*.dcm")} != set()
    assert (node.results / "summary.csv").is_file()
    assert "zyxwvut" not in logged(tmp_path)
    assert "19010203" not in logged(tmp_path)


def test_kill_9_loses_nothing_that_was_received(node: Node, send, slices):
    send(node.begin("--quiet-time", 3600), *slices[:9])
    assert node.end(signal.SIGKILL) == -signal.SIGKILL
    (new,) = node.folder.glob("queue/*/new")
    assert len(list(new.iterdir())) == 9
    (new / ".half.dcm.0123.tmp").write_bytes(slices[9].read_bytes()[:100])
    send(node.begin("--quiet-time", 2), *slices[9:])
    node.wait_for("is done")
    assert node.end(signal.SIGKILL) == -signal.SIGKILL
    assert len(list(node.folder.glob("queue/*/r1/*.dcm"))) == len(slices)
    assert len(list(node.results.glob("case-*/provenance.json"))) == 1


def test_kill_9_in_the_midst_of_an_inference_is_made_good(node: Node, send, slices, tmp_path: Path):
    send(node.begin("--quiet-time", 1), *slices)
    node.wait_for("a study is complete")
    node.end(signal.SIGKILL)
    node.begin("--quiet-time", 1)
    node.wait_for("is done")
    assert node.end(signal.SIGTERM) == 143
    assert len(list(node.results.glob("case-*/provenance.json"))) == 1
    assert [path for path in node.results.iterdir() if path.name.endswith(".tmp")] == []


def test_two_nodes_cannot_have_one_folder(node: Node, infer_checkpoint: Path, capfd):
    from pipelines.cli import invoke

    node.begin()
    words = ["listen", "--output-dir", node.folder, "--checkpoint", infer_checkpoint, "--any-ae-title", "--port", 0]
    assert invoke([str(word) for word in words]) == 2
    assert "is in use by a run" in capfd.readouterr().err


def test_orthanc_sends_a_study_and_gets_the_objects(
    node: Node, orthanc: Orthanc, slices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setenv("MOSE_MED_DICOMWEB_USER", USER)
    monkeypatch.setenv("MOSE_MED_DICOMWEB_PASSWORD", PASSWORD)
    orthanc.upload(slices)
    port = node.begin("--quiet-time", 2, "--dicomweb", orthanc.url, "--allow-ae-title", "ORTHANC")
    orthanc.send_all("MOSE", port)
    node.wait_for("was sent to http://127.0.0.1")
    assert node.end(signal.SIGTERM) == 143
    assert {"CT", "SEG"} <= set(orthanc.modalities())
    assert PASSWORD.lower() not in logged(tmp_path)
