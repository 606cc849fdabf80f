from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import mose_med
from mose_med.errors import ConfigError
from pipelines.models.actions import register_bundle
from pipelines.models.registry import Registry


def same(one: mose_med.Model, other: mose_med.Model) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.config == other.config


def test_the_shipped_weights_are_taken_where_none_are_named():
    model = mose_med.load_model(device="cpu")
    assert model.classes == ("background", "nodule")
    assert not model.network.training


def test_bundles_and_checkpoints_hold_the_same_model(tiny_checkpoint: Path, tiny_bundle: Path, tmp_path: Path):
    import zipfile

    with zipfile.ZipFile(tiny_bundle) as archive:
        archive.extractall(tmp_path)
    (folder,) = [path.parents[1] for path in tmp_path.rglob("models/model.pt")]
    model = mose_med.load_model(str(tiny_checkpoint), "cpu")
    assert same(model, mose_med.load_model(tiny_bundle, "cpu"))
    assert same(model, mose_med.load_model(folder, "cpu"))


def test_a_registered_model_is_loaded_by_alias_and_by_number(
    mlflow_folder: Callable[[str], Path], tiny_checkpoint: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    store = mlflow_folder("registry")
    register_bundle(Registry("lung", str(store)), tiny_bundle, champion=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    model = mose_med.load_model(tiny_checkpoint, "cpu")
    assert same(model, mose_med.load_model("models:/lung@champion", "cpu", tracking_uri=store))
    assert same(model, mose_med.load_model("models:/lung/1", "cpu", tracking_uri=str(store)))
    with pytest.raises(ConfigError, match="model lung has no alias staging: there are champion"):
        mose_med.load_model("models:/lung@staging", tracking_uri=store)
    with pytest.raises(ConfigError, match="model lung has no version 2: there are 1"):
        mose_med.load_model("models:/lung/2", tracking_uri=store)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("models:/lung@champion", {}, "needs a registry: pass tracking_uri"),
        ("models:/lung", {"tracking_uri": "store"}, "must be models:/name@alias or models:/name/number, got models"),
        ("absent.pt", {}, "checkpoint absent.pt does not exist"),
        ("absent.pt", {"tracking_uri": "store"}, "tracking_uri applies only to models:/name@alias, got absent.pt"),
        ("absent.pt", {"device": "gpu"}, "device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("absent.pt", {"device": 0}, "device must be auto, cpu, cuda or cuda:N, got 0"),
        ("absent.pt", {"threads": 0}, "threads must be >= 1, got 0"),
        ("absent.pt", {"threads": "2"}, "threads must be a whole number >= 1, got '2'"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_named(path: str, options: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        mose_med.load_model(path, **options)


def test_a_device_of_torch_is_a_device(infer_checkpoint: Path):
    by_name, by_device = (mose_med.load_model(infer_checkpoint, one) for one in ("cpu", torch.device("cpu")))
    assert same(by_name, by_device)
