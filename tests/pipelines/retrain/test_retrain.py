from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mose_med.checkpoint import read_checkpoint
from mose_med.errors import ConfigError, DataError
from mose_med.weights.files import weights_file
from pipelines.cli import invoke
from pipelines.models.actions import register_bundle
from pipelines.models.registry import PROMOTED_OVER, Registry
from pipelines.retrain.run import RetrainOptions, retrain
from tests.fixtures.mlflow import MlflowServer, store_contents

OVERLAY = {
    "batch_size": 3,
    "max_epochs": 3,
    "learning_rate": 0.01,
    "final_learning_rate": 0.001,
    "batch_norm_momentum": 0.5,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def options(
    site_datalist: Path, mlflow_folder: Callable[[str], Path], tiny_bundle: Path, tmp_path: Path
) -> RetrainOptions:
    """Retraining of an untrained champion on the site's data."""
    store = str(mlflow_folder("registry"))
    register_bundle(Registry("lung", store), tiny_bundle, champion=False)
    (tmp_path / "quick.json").write_text(json.dumps(OVERLAY))
    shared = {"configs": (str(tmp_path / "quick.json"),), "device": "cpu", "quiet": True}
    return RetrainOptions(site_datalist, tmp_path / "out", "lung", store, num_samples=4, **shared)


def test_a_better_challenger_is_registered_with_its_lineage_and_promoted(options: RetrainOptions, tiny_datalist: Path):
    options = replace(options, old_datalist=tiny_datalist, ece_margin=100.0, max_epochs=12)
    result = retrain(options)
    registry = Registry("lung", options.tracking_uri)
    version = registry.champion()
    assert (result.version, result.champion, result.promoted, version.number) == (2, 1, True, 2)
    assert (version.tags["parent_version"], version.tags[PROMOTED_OVER]) == ("1", "1")
    assert {"datalist_sha256", "old_datalist_sha256", "held_out_sha256", "git_commit"} <= set(version.tags)
    assert result.comparison["ged"]["interval"][1] < 0
    assert (result.comparison["patients"], result.forgetting["patients"]) == (6, 2)
    assert json.loads(version.tags["forgetting"]) == result.forgetting
    report = (options.output_dir / "report.md").read_text()
    assert "Promoted: GED changes by" in report
    assert "## Forgetting" in report
    merged = json.loads((options.output_dir / "dataset.json").read_text())
    assert {entry["patient_id"] for entry in merged["training"]} == {"S-training-0", "S-training-1", "P-1", "P-2"}
    for folder in (Path(str(options.tracking_uri)), options.output_dir / "training"):
        said = store_contents(folder)
        words = (tiny_datalist.parent, options.datalist.parent, "S-test-0", "S-training-0", "P-1_nodule", "P-5_nodule")
        assert b"forgetting" in said
        assert [word for word in words if str(word).encode() in said] == []
    assert retrain(options) == result  # the same command again is done, although the champion is another one now


def test_overwrite_with_the_same_options_retrains(options: RetrainOptions, monkeypatch: pytest.MonkeyPatch):
    first = retrain(replace(options, promote="never"))
    monkeypatch.setattr("pipelines.retrain.run._Retraining.run", lambda *_: "retrained")
    assert retrain(replace(options, promote="never")) == first
    assert retrain(replace(options, promote="never", overwrite=True)) == "retrained"
    assert not (options.output_dir / "training").exists()
    assert (options.output_dir / "champion.json").is_file()


def test_the_challenger_starts_from_the_champion(options: RetrainOptions, tiny_checkpoint: Path):
    frozen = {"max_epochs": 1, "learning_rate": 1e-9, "final_learning_rate": 1e-9, "weight_decay": 0.0}
    Path(options.configs[0]).write_text(json.dumps(OVERLAY | frozen))
    result = retrain(options)
    with weights_file(options.output_dir / "training" / "bundle.zip") as path:
        found = read_checkpoint(path).model["priors.mean"]
    assert found.allclose(read_checkpoint(tiny_checkpoint).model["priors.mean"], atol=1e-6)
    assert not result.promoted
    assert Registry("lung", options.tracking_uri).champion().number == 1


def test_old_data_that_are_not_merged_are_scored_and_not_learnt_from(options: RetrainOptions, tiny_datalist: Path):
    result = retrain(replace(options, old_datalist=tiny_datalist, merge=False, promote="never", max_epochs=1))
    learnt_from = json.loads((options.output_dir / "dataset.json").read_text())["training"]
    assert {entry["patient_id"] for entry in learnt_from} == {"S-training-0", "S-training-1"}
    assert result.forgetting["data"] == "test part of tiny"
    assert Registry("lung", options.tracking_uri).version(2).tags["merged_with_old"] == "False"


def test_two_retrainings_at_once_do_not_both_promote_blindly(options: RetrainOptions, monkeypatch: pytest.MonkeyPatch):
    """While the first compares with version 1, a second one is promoted: the first is compared with that."""
    import pipelines.retrain.run as module

    compared: list[int] = []
    comparing = module._Retraining._compare

    def overtaken(self, champion, challenger):
        compared.append(champion.number)
        if len(compared) == 1:
            retrain(replace(options, output_dir=options.output_dir.with_name("second"), seed=1, promote="force"))
        return comparing(self, champion, challenger)

    monkeypatch.setattr(module._Retraining, "_compare", overtaken)
    first = retrain(replace(options, promote="force"))
    assert compared == [1, 1, 3]
    assert (first.version, first.champion, first.promoted) == (2, 3, True)
    assert Registry("lung", options.tracking_uri).version(2).tags[PROMOTED_OVER] == "3"


def test_a_store_that_is_lost_after_the_training_loses_nothing(
    options: RetrainOptions, monkeypatch: pytest.MonkeyPatch
):
    def lost(*_: object) -> None:
        raise DataError("MLflow store of model lung cannot be used: the line is dead")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "register", lost)
        with pytest.raises(DataError, match="the line is dead"):
            retrain(options)
    last = options.output_dir / "training" / "last.pt"
    trained = last.stat().st_mtime_ns
    assert retrain(options).version == 2
    assert last.stat().st_mtime_ns == trained


@pytest.mark.usefixtures("few_retries")
def test_a_retraining_against_a_server(options: RetrainOptions, mlflow_server: MlflowServer, tiny_bundle: Path):
    register_bundle(Registry("served", mlflow_server.uri), tiny_bundle, champion=False)
    result = retrain(replace(options, model="served", tracking_uri=mlflow_server.uri, promote="never"))
    version = Registry("served", mlflow_server.uri).version(2)
    assert (result.promoted, version.tags["decision"]) == (False, "not promoted: as requested by --promote never")


def refused(options: RetrainOptions, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        retrain(options)
    assert not options.output_dir.exists()


def changed(datalist: Path, name: str, **change: object) -> Path:
    path = datalist.with_name(f"{name}.json")
    path.write_text(json.dumps(json.loads(datalist.read_text()) | change))
    return path


def test_input_that_does_not_fit_is_named_and_writes_nothing(options: RetrainOptions, tiny_datalist: Path):
    content = json.loads(options.datalist.read_text())
    refused(replace(options, model="liver"), "there is no model liver, known models are lung")
    fewer = [{**entry, "rater_weights": [0.5, 0.5], "raters_present": 2} for entry in content["training"]]
    other = changed(options.datalist, "two", num_raters=2, training=fewer, validation=fewer[:1], test=[])
    refused(
        replace(options, datalist=other, held_out=options.datalist),
        "datalist site has num_raters 2, version 1 was trained with 4: prepare the data the same way",
    )
    cysts = changed(options.datalist, "cysts", classes=["background", "cyst"])
    refused(replace(options, datalist=cysts), r"has classes \['background', 'cyst'\], version 1 was trained with")
    leaky = changed(options.datalist, "leaky", training=content["training"] + content["test"][:1])
    refused(replace(options, datalist=leaky), "patient S-test-0 of the held-out test part of site is in the training")
    leaky = changed(options.datalist, "old_test", training=json.loads(tiny_datalist.read_text())["test"])
    refused(
        replace(options, datalist=leaky, old_datalist=tiny_datalist),
        "patient P-5 and 1 more of the held-out test part of tiny is in the training part of site",
    )
    with pytest.raises(ConfigError, match=r"margin must be > 0, got -1\.0"):
        replace(options, margin=-1.0)


def test_several_processes_are_refused(options: RetrainOptions, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    refused(options, "retrain must run in one process, torchrun has started 2: run it without torchrun")


def test_the_command_ends_with_one_line(options: RetrainOptions, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    command = ["retrain", "--datalist", str(options.datalist), "--output-dir", str(tmp_path / "no"), "--quiet"]
    assert invoke([*command, "--model", "lung", "--tracking-uri", str(tmp_path / "empty")]) == 2
    assert "there is no store in" in " ".join(capfd.readouterr().err.split())


def test_overlays_and_data_that_changed_under_their_names_are_seen(options: RetrainOptions, tmp_path: Path):
    data = shutil.copytree(options.datalist.parent, tmp_path / "site")
    options = replace(options, datalist=data / "dataset.json", max_epochs=1, promote="never")
    first = retrain(options)
    overlay = Path(options.configs[0])
    overlay.write_text(json.dumps(OVERLAY | {"learning_rate": 0.02}))
    with pytest.raises(ConfigError, match="was made with configs_sha256="):
        retrain(options)
    overlay.write_text(json.dumps(OVERLAY))
    assert retrain(options) == first
    image = next((data / "nodules").glob("S-test-0*[0-9].nii"))
    image.write_bytes(image.read_bytes()[:-1] + b"0")
    with pytest.raises(ConfigError, match=r"was made from other files: (held-out )?nodules/S-test-0.* has changed"):
        retrain(options)
