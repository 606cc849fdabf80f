"""An exported bundle, unpacked, through MONAI's own command: inference, evaluation, and its overlays."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, verify_metadata, verify_net_in_out

from mose_med.checkpoint import build_network, read_checkpoint
from mose_med.data import MultiRaterDataset, load_datalist
from mose_med.networks import MarginalMoSE
from pipelines.export.configs import config_texts
from pipelines.train.config import compose, config_files
from tests.fixtures.cityscapes_training import TrainedPictures

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["slices", "pictures"])
def archive(request: pytest.FixtureRequest) -> Path:
    if request.param == "slices":
        return request.getfixturevalue("tiny_bundle")
    return request.getfixturevalue("trained_pictures").training / "bundle.zip"


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    return folder / archive.stem


def run(bundle: Path, datalist: Path, *names: str, **values: object) -> None:
    """``python -m monai.bundle run``, in the bundle's folder."""
    files = str([f"configs/{name}.yaml" for name in names])
    options = [f"--{name}={value}" for name, value in {"datalist": datalist, "device_name": "cpu", **values}.items()]
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", f"--config_file={files}", *options]
    paths = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=bundle, env=paths, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]


def test_it_infers_with_its_own_weights(tiny_bundle: Path, tiny_datalist: Path, tmp_path: Path):
    bundle = unpacked(tiny_bundle, tmp_path)
    run(bundle, tiny_datalist, "inference")
    found = nib.load(bundle / "predictions" / "P-5_nodule-1_probability.nii.gz").get_fdata()[..., 1]
    checkpoint = read_checkpoint(bundle / "models" / "model.pt")
    network = MarginalMoSE(**checkpoint.config.network).eval()
    network.load_state_dict(build_network(checkpoint).state_dict())
    slices = MultiRaterDataset(load_datalist(tiny_datalist).part("test"), checkpoint.config.preprocessing)
    with torch.inference_mode():
        expected = network(torch.stack([slices[index]["image"] for index in range(3)]))[:, 1]
    np.testing.assert_allclose(found, expected.permute(1, 2, 0), atol=1e-4)


def test_it_evaluates_with_its_own_weights(tiny_bundle: Path, tiny_datalist: Path, tmp_path: Path):
    bundle = unpacked(tiny_bundle, tmp_path)
    run(bundle, tiny_datalist, "train", "evaluate", part="validation")
    text = (bundle / "evaluation" / "metrics.csv").read_text()
    assert all(name in text for name in ("val_ged", "matched_iou", "ece_percent", "entropy_nats"))


@pytest.mark.slow
def test_pictures_are_inferred_and_evaluated(trained_pictures: TrainedPictures, tmp_path: Path):
    bundle = unpacked(trained_pictures.training / "bundle.zip", tmp_path)
    run(bundle, trained_pictures.datalist, "inference")
    (path,) = (bundle / "predictions").glob("*_classes.nii.gz")
    assert nib.load(path).shape == (64, 32, 1, 1)
    run(bundle, trained_pictures.datalist, "train", "evaluate")
    assert "val_ged" in (bundle / "evaluation" / "metrics.csv").read_text()


def test_every_file_is_in_the_list_of_sha256(archive: Path):
    with zipfile.ZipFile(archive) as content:
        root, _, _ = content.namelist()[0].partition("/")
        listed = dict(reversed(line.split("  ")) for line in content.read(f"{root}/SHA256SUMS").decode().splitlines())
        found = {name.removeprefix(f"{root}/"): content.read(name) for name in content.namelist()}
    del found["SHA256SUMS"]
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    assert {"configs/inference.yaml", "configs/evaluate.yaml", "configs/overlays/ema.yaml", "LICENSE"} <= set(listed)


def test_monai_verifies_it(archive: Path, tmp_path: Path):
    bundle, schema = unpacked(archive, tmp_path), ROOT / "configs" / "metadata.schema.json"
    metadata, inference = str(bundle / "configs" / "metadata.json"), str(bundle / "configs" / "inference.yaml")
    digest = hashlib.sha256(schema.read_bytes()).hexdigest()
    verify_metadata(metadata, filepath=str(schema), hash_val=digest, hash_type="sha256")
    verify_net_in_out("network_def", meta_file=metadata, config_file=inference, device="cpu", device_name="cpu")


def test_every_overlay_inside_fits_the_training_inside(archive: Path, tmp_path: Path):
    configs = unpacked(archive, tmp_path) / "configs"
    overlays = [configs / "mlflow.yaml", *sorted((configs / "overlays").glob("*.yaml"))]
    assert len(overlays) > 16
    for overlay in overlays:
        parser = ConfigParser(ConfigParser.load_config_files([str(configs / "train.yaml"), str(overlay)]))
        parser["device_name"] = "cpu"
        assert parser.get_parsed_content("loss") is not None


def test_the_card_of_pictures_runs_and_leads_nowhere_outside(
    trained_pictures: TrainedPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bundle = unpacked(trained_pictures.training / "bundle.zip", tmp_path)
    card = (bundle / "docs" / "README.md").read_text()
    assert "](../" not in card
    monkeypatch.chdir(bundle)
    found: dict[str, torch.Tensor] = {}
    exec(card.split("```python")[1].split("```")[0], found)
    assert (found["masks"].shape, found["probability"].shape) == ((1, 10, 8, 16, 16), (1, 25, 16, 16))


def test_what_several_processes_and_tracking_add_is_taken_out_again(tiny_checkpoint: Path):
    model = read_checkpoint(tiny_checkpoint).config
    texts = [
        config_texts("lidc", model, compose(config_files("lidc", ("demo",), tracking=more, several_processes=more), {}))
        for more in (False, True)
    ]
    assert yaml.safe_load(texts[0]["train.yaml"]) == yaml.safe_load(texts[1]["train.yaml"])
