from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from ignite.handlers import Checkpoint as IgniteCheckpoint
from monai.bundle import ConfigParser, ckpt_export

from mose_med.api.model import load_model
from mose_med.checkpoint import build_network, read_checkpoint
from mose_med.errors import ConfigError, DataError
from mose_med.networks import MarginalMoSE, MoSE
from mose_med.weights.files import weights_file, weights_sha256
from pipelines.cli import invoke
from pipelines.evaluate.run import EvaluateOptions, evaluate
from pipelines.export.bundle import ExportBundleOptions, export_bundle
from pipelines.export.configs import config_texts

#: Run with PyTorch as the only package: no site folder, so that nothing installed there as a link is found either.
TORCH_ALONE = """
import hashlib, sys, warnings
sys.path.append({packages!r})
for name in ("mose_med", "pipelines", "configs", "monai", "ignite", "nibabel", "scipy", "mlflow"):
    sys.modules[name] = None
warnings.simplefilter("ignore")
for line in open("SHA256SUMS"):
    digest, name = line.rstrip().split("  ")
    assert hashlib.sha256(open(name, "rb").read()).hexdigest() == digest, name
card = open("docs/README.md").read()
exec(card.split("```python")[1].split("```")[0])
assert masks.shape == (1, 2, 8, 32, 32) and probability.shape == (1, 2, 32, 32), masks.shape
given = torch.load("../given.pt")
with torch.inference_mode():
    samples = model.samples_from(given["image"], given["deviates"])
    torch.save({{"probability": model(given["image"]), "logits": samples[0], "gating": samples[1]}}, "../found.pt")
"""


def test_the_bundle_works_with_pytorch_alone(tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path):
    with zipfile.ZipFile(tiny_bundle) as archive:
        archive.extractall(tmp_path)
    generator = torch.Generator().manual_seed(3)
    image, deviates = torch.randn(2, 1, 32, 32, generator=generator), torch.randn(2, 5, 1, generator=generator)
    torch.save({"image": image, "deviates": deviates}, tmp_path / "given.pt")
    packages = str(Path(torch.__file__).parents[1])
    code = TORCH_ALONE.format(packages=packages)
    command = [sys.executable, "-I", "-S", "-c", code]
    result = subprocess.run(command, cwd=tmp_path / "tiny", capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    network = build_network(read_checkpoint(tiny_checkpoint))
    codes = network.priors.mean[:, None] + network.priors.std()[:, None] * deviates
    with torch.inference_mode():
        expected = network(image, latents=codes)
    torch.testing.assert_close(found["logits"], expected.logits)
    torch.testing.assert_close(found["gating"], expected.expert_probs)
    marginal = MarginalMoSE(**read_checkpoint(tiny_checkpoint).config.network).eval()
    marginal.load_state_dict(network.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(found["probability"], marginal(image))


def test_the_same_checkpoint_gives_the_same_bytes(tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path):
    torch.jit.script(MarginalMoSE(channels=(4, 8)).eval())  # whatever else the process has scripted plays no part
    again = export_bundle(ExportBundleOptions(tiny_checkpoint, tmp_path / "tiny.zip"))
    assert again.read_bytes() == tiny_bundle.read_bytes()


def test_no_path_of_this_machine_is_inside(tiny_bundle: Path):
    root = str(Path(__file__).resolve().parents[3]).encode()
    with zipfile.ZipFile(tiny_bundle) as archive:
        for name in archive.namelist():
            assert root not in archive.read(name)
            assert str(tiny_bundle.parent).encode() not in archive.read(name)


def test_configs_and_metadata_are_those_of_the_weights(tiny_bundle: Path, tiny_checkpoint: Path):
    model = read_checkpoint(tiny_checkpoint).config
    with zipfile.ZipFile(tiny_bundle) as archive:
        config = yaml.safe_load(archive.read("tiny/configs/train.yaml"))
        metadata = json.loads(archive.read("tiny/configs/metadata.json"))
    assert config["network"] == json.loads(json.dumps(model.network))
    assert config["preprocessing"]["roi_size"] == [32, 32]
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == [32, 32]


def test_monai_builds_the_network_from_the_configs_inside(tiny_bundle: Path, tmp_path: Path):
    with zipfile.ZipFile(tiny_bundle) as archive:
        archive.extract("tiny/configs/train.yaml", tmp_path)
    parser = ConfigParser()
    parser.read_config(str(tmp_path / "tiny" / "configs" / "train.yaml"))
    parser["device_name"] = "cpu"
    with weights_file(tiny_bundle) as path:
        parser.get_parsed_content("network_def").load_state_dict(read_checkpoint(path).model)


@pytest.fixture
def unpacked(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Folder of the tiny bundle."""
    with zipfile.ZipFile(tiny_bundle) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "tiny"


def test_the_model_zoo_scripts_the_bundle_with_its_own_call(unpacked: Path, tiny_checkpoint: Path, tmp_path: Path):
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "zoo.ts"),
        ckpt_file=str(unpacked / "models" / "model.pt"),
        meta_file=str(unpacked / "configs" / "metadata.json"),
        config_file=str(unpacked / "configs" / "inference.yaml"),
    )
    network = MarginalMoSE(**read_checkpoint(tiny_checkpoint).config.network).eval()
    network.load_state_dict(read_checkpoint(tiny_checkpoint).model)
    image = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(torch.jit.load(tmp_path / "zoo.ts", "cpu")(image), network(image))


def test_ignite_loads_the_weights_without_a_key(unpacked: Path, tiny_checkpoint: Path):
    expected = read_checkpoint(tiny_checkpoint)
    network = MoSE(**expected.config.network)
    IgniteCheckpoint.load_objects({"": network}, str(unpacked / "models" / "model.pt"))
    torch.testing.assert_close(dict(network.state_dict()), dict(expected.model), rtol=0, atol=0)


def test_an_earlier_bundle_is_used_like_one_of_today(unpacked: Path, tiny_checkpoint: Path):
    of_today = load_model(unpacked, device="cpu")
    (unpacked / "models" / "model_config.json").unlink()
    (unpacked / "SHA256SUMS").unlink()
    shutil.copyfile(tiny_checkpoint, unpacked / "models" / "model.pt")
    earlier = load_model(unpacked, device="cpu")
    assert earlier.config == of_today.config
    torch.testing.assert_close(earlier.network.state_dict(), of_today.network.state_dict(), rtol=0, atol=0)


def test_another_meaning_of_the_same_weights_is_another_model(unpacked: Path):
    before = weights_sha256(unpacked)
    meaning = unpacked / "models" / "model_config.json"
    meaning.write_text(meaning.read_text().replace('"standardise": true', '"standardise": false'))
    with pytest.raises(DataError, match=r"is damaged: models/model_config\.json has a different SHA-256"):
        weights_sha256(unpacked)
    (unpacked / "SHA256SUMS").unlink()
    assert weights_sha256(unpacked) != before
    assert load_model(unpacked, device="cpu").weights_sha256 == weights_sha256(unpacked)


def test_a_bundle_of_a_bundle_is_the_same_model(unpacked: Path, tiny_bundle: Path, tmp_path: Path):
    again = export_bundle(ExportBundleOptions(unpacked / "models" / "model.pt", tmp_path / "again" / "tiny.zip"))
    with zipfile.ZipFile(again) as found, zipfile.ZipFile(tiny_bundle) as expected:
        for name in ("tiny/models/model.pt", "tiny/models/model_config.json", "tiny/models/model.ts"):
            assert found.read(name) == expected.read(name)


def test_settings_of_the_training_are_kept_but_its_places_and_tracking_are_not(tiny_checkpoint: Path):
    from pipelines.train.config import compose, config_files

    values = {"datalist": "/secret/dataset.json", "output_dir": "/secret", "device_name": "cpu"}
    trained = compose(config_files("lidc", ("demo",), tracking=True), values)
    assert "@tracking" in trained["train_handlers"]
    text = config_texts("lidc", read_checkpoint(tiny_checkpoint).config, trained)["train.yaml"]
    config = yaml.safe_load(text)
    assert (config["max_epochs"], config["datalist"], config["output_dir"]) == (12, "dataset.json", "run")
    assert "tracking" not in text
    assert "secret" not in text


@pytest.fixture
def no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchScript has tests of its own and takes seconds."""
    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")


@pytest.mark.usefixtures("no_script")
def test_the_card_and_the_json_hold_the_measured_scores(tiny_checkpoint: Path, tiny_datalist: Path, tmp_path: Path):
    scores = evaluate(EvaluateOptions(tiny_datalist, tiny_checkpoint, tmp_path / "scores", device="cpu", quiet=True))
    target = export_bundle(ExportBundleOptions(tiny_checkpoint, tmp_path / "b.zip", tmp_path / "scores"))
    with zipfile.ZipFile(target) as archive:
        card = archive.read("b/docs/README.md").decode()
        numbers = json.loads(archive.read("b/docs/evaluation.json"))
    assert f"| compact, quadrature codes | 16 | {scores.row('compact').ged.mean:.3f} |" in card
    assert hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest() in card
    assert numbers["rows"][0]["ged"]["mean"] == scores.rows[0].ged.mean


def test_without_an_evaluation_the_card_says_so(tiny_bundle: Path):
    with zipfile.ZipFile(tiny_bundle) as archive:
        assert "No scores: this bundle was exported without" in archive.read("tiny/docs/README.md").decode()


def test_the_weights_inside_are_those_of_the_checkpoint(tiny_bundle: Path, tiny_checkpoint: Path):
    with weights_file(tiny_bundle) as path:
        inside = read_checkpoint(path)
    model = read_checkpoint(tiny_checkpoint).model
    assert all(torch.equal(inside.model[name], model[name]) for name in model)
    assert (inside.optimizer, inside.rng) == (None, None)


def test_a_damaged_bundle_is_refused_by_evaluate(tiny_bundle: Path, tiny_datalist: Path, tmp_path: Path):
    broken = tmp_path / "broken.zip"
    content = bytearray(tiny_bundle.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    with pytest.raises(DataError, match=r"bundle .*broken\.zip (cannot be read|is damaged): "):
        evaluate(EvaluateOptions(tiny_datalist, broken, tmp_path / "out", quiet=True))


def test_options_that_do_not_fit_are_named(tiny_checkpoint: Path, tiny_datalist: Path, tmp_path: Path):
    options = ExportBundleOptions(tiny_checkpoint, tmp_path / "b.zip")
    for change, message in (
        ({"output_file": tmp_path / "b.tar"}, r"output file must end in \.zip, got .*b\.tar"),
        ({"bundle": "liver"}, "bundle must be one of .*lidc.*, got 'liver'"),
        ({"evaluation": tmp_path}, r"evaluation .* has no metrics\.json: name the output folder"),
        ({"checkpoint": tmp_path / "gone.pt"}, r"checkpoint .*gone\.pt does not exist"),
    ):
        with pytest.raises(ConfigError, match=message):
            export_bundle(replace(options, **change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "$__import__('os').getcwd()"},
        {"_target_": "os.getcwd"},
        {"backbone": "@datalist"},
        {"+head": "release"},
    ],
)
def test_settings_in_a_checkpoint_never_become_code(tiny_checkpoint: Path, tmp_path: Path, settings: dict[str, str]):
    content = torch.load(tiny_checkpoint, weights_only=True)
    content["config"]["network"] |= settings
    torch.save(content, tmp_path / "planted.pt")
    with pytest.raises(ConfigError, match=r"settings hold .[$_@+].*, which a config file would run as code"):
        export_bundle(ExportBundleOptions(tmp_path / "planted.pt", tmp_path / "b.zip"))
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.usefixtures("no_script")
def test_the_command_writes_once_and_replaces_on_demand(
    tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "b.zip").write_bytes(tiny_bundle.read_bytes())
    command = ["export", "bundle", "--checkpoint", str(tiny_checkpoint), "--output-file", str(tmp_path / "b.zip")]
    assert invoke(command) == 2
    assert "exists: name another output file or add --overwrite" in " ".join(capfd.readouterr().err.split())
    assert invoke([*command, "--overwrite", "--quiet"]) == 0


def test_infer_takes_the_bundle_as_its_checkpoint(tiny_bundle: Path, tiny_checkpoint: Path):
    inside, plain = (load_model(path, device="cpu", threads=None) for path in (tiny_bundle, tiny_checkpoint))
    assert inside.config == plain.config
    for name, value in plain.network.state_dict().items():
        assert torch.equal(inside.network.state_dict()[name], value)
