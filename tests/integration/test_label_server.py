"""The real server of MONAI Label, in an environment that the app's own script makes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from monai.data import MetaTensor

from mose_med.io import read_ct
from pipelines.cli import invoke
from tests.conftest import SHARED_DATA

pytestmark = pytest.mark.slow
_START_S, _TRAIN_S, _SETTLE_S = 1200.0, 3000.0, 60.0
#: Of which the split by hash makes all three parts.
IMAGES = [f"image-{number}" for number in range(8)]
NODULE = (22, 30, 8)


class Server:
    """A server over a datastore."""

    def __init__(self, app: Path, studies: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._output = app.parent / "server.log"
        command = [app / "start.sh", studies, "--port", port, "--conf", "device", "cpu"]
        environment = {"MOSE_MED_LABEL_ENV": str(app.parent / "env"), **os.environ, "MOSE_MED_PYTHON": sys.executable}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*map(str, command)], stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            said = self._output.read_text(errors="replace")
            if "Uvicorn running" in said:
                return
            if self._process.poll() is not None:
                if "No matching distribution" in said or "Failed to establish" in said:
                    pytest.skip("needs a package index, to install MONAI Label")
                pytest.fail(said[-3000:])
            time.sleep(0.5)
        pytest.fail(f"the server did not start: {self._output.read_text(errors='replace')[-3000:]}")

    def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = requests.request(method, f"{self.url}/{path}", timeout=_START_S, **options)
        told = answer.text + self._output.read_text(errors="replace")[-3000:]
        assert answer.status_code == 200, told
        return answer.json()

    def infer(self, model: str, image: str, **params: object) -> dict[str, Any]:
        self.wait_for(image)
        form = {"params": (None, json.dumps(params))}
        return self.ask("POST", f"infer/{model}?image={image}&output=json", files=form)

    def save(self, image: str, rater: str, label: Path) -> None:
        form = {"params": (None, json.dumps({"client_id": rater})), "label": (label.name, label.read_bytes())}
        self.ask("PUT", f"datastore/label?image={image}", files=form)

    def wait_for(self, image: str) -> None:
        """Wait until the store has an image: it watches its folder, and is slow on a busy machine."""
        end = time.monotonic() + _SETTLE_S
        while "path" not in self.ask("GET", f"datastore/image/info?image={image}"):
            assert time.monotonic() < end, f"the store does not see {image}"
            time.sleep(1)

    def tags(self, complete: dict[str, int]) -> bool:
        """Whether the store counts so many labels by tag, once it has seen the files: it watches its folder."""
        end = time.monotonic() + _SETTLE_S
        while self.ask("GET", "info/")["datastore"]["label_tags"] != complete:
            if time.monotonic() > end:
                return False
            time.sleep(1)
        return True

    def train(self, **params: object) -> dict[str, Any]:
        """Train, wait for the end, and return the task."""
        self.ask("POST", "train/mose", json=params)
        deadline = time.monotonic() + _TRAIN_S
        while time.monotonic() < deadline:
            (task, *_) = self.ask("GET", "train/?all=true")
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(2)
        raise AssertionError("the training did not end")

    def end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where app, environment and studies are."""
    root = tmp_path_factory.mktemp("label")
    (root / "studies").mkdir()
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """The server with the weights that are shipped."""
    assert invoke(["export", "label-app", str(folder / "app"), "--quiet"]) == 0
    server = Server(folder / "app", folder / "studies")
    yield server
    server.end()


@pytest.fixture
def images(chest: MetaTensor, folder: Path) -> None:
    """A datastore of chests, and the labels of two raters."""
    affine = np.asarray(chest.affine)
    for seed, name in enumerate(IMAGES):
        noise = np.random.default_rng(seed).integers(-20, 20, chest.shape[1:])
        nib.save(nib.Nifti1Image((chest[0].numpy() + noise).astype(np.int16), affine), folder / f"{name}.nii.gz")
        (folder / f"{name}.nii.gz").rename(folder / "studies" / f"{name}.nii.gz")
    for rater, size in (("anna", 2), ("bert", 3)):
        mask = np.zeros(chest.shape[1:], np.uint8)
        mask[tuple(slice(place - size, place + size) for place in NODULE)] = 1
        nib.save(nib.Nifti1Image(mask, affine), folder / f"{rater}.nii.gz")


def test_annotators_are_served_helped_and_learnt_from(server: Server, images, folder: Path):
    info = server.ask("GET", "info/")
    assert (list(info["models"]), info["labels"]) == (["mose_nodule", "mose_lungs"], ["nodule"])
    assert (
        {"lesion_entropy", "between_experts", "volume_spread"}
        == set(info["scoring"])
        == {*info["strategies"]} - {"random"}
    )
    told = server.infer("mose_nodule", IMAGES[0], foreground=[NODULE], result="sample", expert=2)
    assert (told["label_names"], len(told["expert_probs"])) == ({"nodule": 1}, 16)
    assert {"volume_ml", "p_empty"} <= told.keys()
    for name in IMAGES:
        server.wait_for(name)
    assert server.ask("POST", "scoring/lesion_entropy?run_sync=true", json={})["scored"] == len(IMAGES)
    first = server.ask("POST", "activelearning/lesion_entropy", json={"client_id": "anna"})
    assert first["lesion_entropy"] == max(
        server.ask("GET", f"datastore/image/info?image={name}")["lesion_entropy"] for name in IMAGES
    )
    server.save(first["id"], "anna", folder / "anna.nii.gz")
    assert server.ask("POST", "activelearning/lesion_entropy", json={"client_id": "anna"})["id"] != first["id"]
    assert server.ask("POST", "activelearning/lesion_entropy", json={"client_id": "bert"})["id"] == first["id"]
    for name in IMAGES:
        for rater in ("anna", "bert"):
            server.save(name, rater, folder / f"{rater}.nii.gz")
    assert server.tags(complete={"final": len(IMAGES), "anna": len(IMAGES), "bert": len(IMAGES)})
    task = server.train(max_epochs=1, device="cpu", promote="force")
    assert task["status"] == "DONE", task
    assert (folder / "app" / "model" / "champion.zip").is_file()
    after = server.infer("mose_nodule", IMAGES[0], foreground=[NODULE])
    assert after["weights_sha256"] != told["weights_sha256"]


@pytest.mark.real
@pytest.mark.skipif(not (SHARED_DATA / "ct_chest_dicom.zip").is_file(), reason="needs the chest series")
def test_a_real_chest_is_searched(server: Server, folder: Path):
    with zipfile.ZipFile(SHARED_DATA / "ct_chest_dicom.zip") as archive:
        archive.extractall(folder / "chest")
    image = read_ct(folder / "chest")
    slices = image[0, ..., 28:34].numpy().astype(np.int16)
    nib.save(nib.Nifti1Image(slices, np.asarray(image.affine)), folder / "chest.nii.gz")
    (folder / "chest.nii.gz").rename(folder / "studies" / "chest.nii.gz")
    told = server.infer("mose_lungs", "chest")
    assert told["lesions"]
    assert all(0.0 <= lesion["p_empty"] <= 1.0 for lesion in told["lesions"])
