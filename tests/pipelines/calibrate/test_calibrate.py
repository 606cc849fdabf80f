from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mose_med.checkpoint import Checkpoint, build_network, read_checkpoint, write_checkpoint
from mose_med.errors import ConfigError
from mose_med.files.run_lock import alone_in
from mose_med.networks import MoSE
from mose_med.weights.files import weights_file
from pipelines.calibrate.grid import TEMPERATURES
from pipelines.calibrate.result import Calibration
from pipelines.calibrate.run import CalibrateOptions, calibrate, undo_calibration
from pipelines.cli import invoke
from pipelines.evaluate.run import COMPACT, EvaluateOptions, evaluate
from pipelines.export.bundle import ExportBundleOptions, export_bundle


@pytest.fixture(scope="module")
def options(tiny_datalist: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrateOptions:
    """Of a training's checkpoint, with an average of the weights and an optimizer."""
    folder = tmp_path_factory.mktemp("calibration")
    found = read_checkpoint(tiny_checkpoint)
    average = {name: value * 1.01 if value.is_floating_point() else value for name, value in found.model.items()}
    trained = replace(found, ema=average, optimizer={"step": torch.tensor(3)}, epoch=7, metrics={"ged": 0.5})
    write_checkpoint(folder / "best.pt", trained)
    settings = {"folds": 2, "num_samples": 8, "device": "cpu", "quiet": True}
    return CalibrateOptions(tiny_datalist, folder / "best.pt", folder / "calibrated.pt", **settings)


@pytest.fixture(scope="module")
def calibration(options: CalibrateOptions) -> Calibration:
    return calibrate(options)


def changed(options: CalibrateOptions, folder: Path, change: Callable[[MoSE], None]) -> CalibrateOptions:
    """The same of another network."""
    found = read_checkpoint(options.checkpoint)
    network = build_network(found)
    with torch.no_grad():
        change(network)
    write_checkpoint(folder / "changed.pt", Checkpoint(network.state_dict(), found.config))
    return replace(options, checkpoint=folder / "changed.pt", output_file=folder / "out.pt")


@pytest.mark.parametrize("codes", ["quadrature", "random"])
@pytest.mark.parametrize("stage", ["before", "after"])
def test_scores_are_those_of_an_evaluation(options: CalibrateOptions, tmp_path: Path, stage: str, codes: str):
    found = calibrate(replace(options, output_file=tmp_path / "out.pt", codes=codes))
    weights = options.checkpoint if stage == "before" else tmp_path / "out.pt"
    settings = {"part": "validation", "num_samples": (8,), "codes": codes, "device": "cpu", "quiet": True}
    settings["precision"] = "fp32"  # as calibrate computes, whatever a trial would choose
    row = evaluate(EvaluateOptions(options.datalist, weights, tmp_path / "out", **settings)).row(COMPACT)
    scores = getattr(found, stage)
    assert found.codes == codes
    assert scores.ged == pytest.approx(row.ged.mean, abs=1e-5)
    assert scores.matched_iou == pytest.approx(row.matched_iou.mean, abs=1e-5)
    assert scores.ece_percent == pytest.approx(row.ece_percent.mean, abs=1e-3)


def test_what_is_minimised_gets_no_worse(calibration: Calibration):
    assert calibration.after.nll < calibration.before.nll
    assert calibration.after.ged <= calibration.before.ged


def test_the_file_keeps_all_else(options: CalibrateOptions, calibration: Calibration):
    before, after = read_checkpoint(options.checkpoint), read_checkpoint(options.output_file)
    assert (after.epoch, after.metrics, after.config) == (before.epoch, before.metrics, before.config)
    assert after.optimizer == before.optimizer
    assert after.calibration is not None
    assert after.calibration["temperatures"] == calibration.temperatures._asdict()
    for weights in (after.model, after.ema):
        assert weights is not None
        assert float(weights["head.temperature.value"]) == pytest.approx(calibration.temperatures.logits)


def test_files_come_beside(options: CalibrateOptions, calibration: Calibration):
    content = json.loads(options.output_file.with_suffix(".calibration.json").read_text(encoding="utf-8"))
    assert {name: content[name] for name in ("images", "patients", "part")} == {
        "images": 6,
        "patients": 2,
        "part": "validation",
    }
    assert len(content["by_fold"]) == 2
    assert content["cross_fitted"] == vars(calibration.cross_fitted)
    assert set(content["reliability"]) == {"before", "after", "cross_fitted"}
    assert options.output_file.with_suffix(".reliability.png").read_bytes().startswith(b"\x89PNG")


def test_undoing_gives_the_very_weights_back(options: CalibrateOptions, calibration: Calibration, tmp_path: Path):
    undo_calibration(options.output_file, tmp_path / "undone.pt")
    undone, first = read_checkpoint(tmp_path / "undone.pt"), read_checkpoint(options.checkpoint)
    assert undone.calibration is None
    for found, expected in ((undone.model, first.model), (undone.ema, first.ema)):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_calibrating_twice_is_calibrating_once(options: CalibrateOptions, calibration: Calibration, tmp_path: Path):
    again = calibrate(replace(options, checkpoint=options.output_file, output_file=tmp_path / "again.pt"))
    assert again.temperatures == calibration.temperatures
    assert again.before == calibration.before


def test_a_classifier_twice_as_sure_gets_twice_the_temperature(options: CalibrateOptions, tmp_path: Path):
    found = []
    for factor in (16.0, 32.0):

        def sharpen(network: MoSE, factor: float = factor) -> None:
            network.head.classify.weight.mul_(factor)
            network.head.classify.bias.mul_(factor)

        (tmp_path / str(factor)).mkdir()
        found.append(calibrate(changed(options, tmp_path / str(factor), sharpen)))
    assert TEMPERATURES[0] < found[0].temperatures.logits < TEMPERATURES[-1] / 2.0
    assert found[1].temperatures.logits == pytest.approx(2.0 * found[0].temperatures.logits)
    assert found[1].after.nll == pytest.approx(found[0].after.nll, abs=1e-4)


def test_a_temperature_at_the_end_of_the_range_is_told(
    options: CalibrateOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def blunt(network: MoSE) -> None:
        network.head.classify.weight.mul_(1e-3)
        network.head.classify.bias.mul_(1e-3)

    found = calibrate(changed(options, tmp_path, blunt))
    assert found.temperatures.logits == TEMPERATURES[0]
    assert "the temperature of the logits, 0.0625, is at the limit of its range" in caplog.text


def test_no_result_depends_on_the_batch_size(options: CalibrateOptions, calibration: Calibration, tmp_path: Path):
    again = calibrate(replace(options, batch_size=4, output_file=tmp_path / "out.pt"))
    assert again.by_fold == calibration.by_fold
    assert again.cross_fitted.nll == pytest.approx(calibration.cross_fitted.nll, abs=1e-5)


def test_a_calibration_that_does_not_carry_over_is_told(
    options: CalibrateOptions, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(Calibration, "helps", False)
    calibrate(replace(options, output_file=tmp_path / "out.pt"))
    assert "not expected to help; --undo removes it" in caplog.messages[-1]
    assert (tmp_path / "out.pt").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 3}, "folds must be from 2 to the 2 patients of the part, got 3"),
        ({"folds": 1}, "folds must be >= 2, got 1"),
        ({"num_samples": 0}, "num_samples must be >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"codes": "sobol"}, "codes must be quadrature or random, got 'sobol'"),
        ({"part": "tests"}, "part must be one of training, validation, test, got 'tests'"),
        ({"output_file": Path("out.zip")}, r"output file must end in \.pt, got out\.zip"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: CalibrateOptions, tmp_path: Path, change: dict[str, object], message: str
):
    with pytest.raises(ConfigError, match=message):
        calibrate(replace(options, **({"output_file": tmp_path / "out.pt"} | change)))
    assert not list(tmp_path.iterdir())


def test_two_at_once_do_not_write_one_file(options: CalibrateOptions, tmp_path: Path):
    wanted = replace(options, output_file=tmp_path / "out.pt")
    with alone_in(wanted.output_file, beside=True):
        for command in (lambda: calibrate(wanted), lambda: undo_calibration(options.checkpoint, wanted.output_file)):
            with pytest.raises(ConfigError, match=r"output file .*out\.pt is in use by a run on .* \(process \d+\)"):
                command()
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_replaced_unasked(options: CalibrateOptions, calibration: Calibration):
    with pytest.raises(ConfigError, match=r"calibrated\.pt exists: name another output file or add --overwrite"):
        calibrate(options)
    with pytest.raises(ConfigError, match="exists"):
        undo_calibration(options.output_file, options.output_file)


@pytest.mark.parametrize("name", ["out.calibration.json", "out.reliability.png"])
def test_a_report_is_not_replaced_unasked(options: CalibrateOptions, tmp_path: Path, name: str):
    (tmp_path / name).write_text("mine")
    wanted = replace(options, output_file=tmp_path / "out.pt")
    for command in (lambda: calibrate(wanted), lambda: undo_calibration(options.checkpoint, wanted.output_file)):
        with pytest.raises(ConfigError, match=rf"{name} exists: name another output file or add --overwrite"):
            command()
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["out.pt", "out.calibration.json", "out.reliability.png"])
def test_a_folder_in_the_way_is_named_before_the_fit(
    options: CalibrateOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    (tmp_path / name).mkdir()
    monkeypatch.setattr("pipelines.calibrate.run._fitted", None)
    with pytest.raises(ConfigError, match=rf"output file .*{name} is a folder: name another"):
        calibrate(replace(options, output_file=tmp_path / "out.pt", overwrite=True))


def test_undoing_in_place_removes_the_reports(options: CalibrateOptions, calibration: Calibration, tmp_path: Path):
    for file in options.output_file.parent.glob("calibrated.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    undo_calibration(tmp_path / "calibrated.pt", tmp_path / "calibrated.pt", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["calibrated.pt"]
    assert read_checkpoint(tmp_path / "calibrated.pt").calibration is None


def test_the_help_promises_no_bundle(capsys: pytest.CaptureFixture[str]):
    assert invoke(["calibrate", "--help"]) == 0
    assert ".zip" not in capsys.readouterr().out


@pytest.mark.parametrize(("extra", "found"), [([], "neither"), (["--undo", "--datalist", "d.json"], "both")])
def test_the_command_fits_or_undoes(
    options: CalibrateOptions, capsys: pytest.CaptureFixture[str], extra: list[str], found: str
):
    arguments = ["--checkpoint", str(options.checkpoint), "--output-file", "out.pt", *extra]
    assert invoke(["calibrate", *arguments]) == 2
    assert f"give either --datalist to fit on, or --undo, got {found}" in capsys.readouterr().err


def test_the_command_writes_and_undoes(options: CalibrateOptions, tmp_path: Path):
    first, second = (str(tmp_path / name) for name in ("first.pt", "second.pt"))
    fitting = ["--datalist", str(options.datalist), "--folds", "2", "--num-samples", "4", "--quiet"]
    assert invoke(["calibrate", "--checkpoint", str(options.checkpoint), "--output-file", first, *fitting]) == 0
    assert invoke(["calibrate", "--checkpoint", first, "--output-file", second, "--undo", "--quiet"]) == 0
    assert set(read_checkpoint(second).model) == set(read_checkpoint(options.checkpoint).model)


def test_pictures_are_calibrated_by_their_flipped_classes(tiny_pictures: Path, tmp_path: Path):
    from mose_med.checkpoint import ModelConfig
    from mose_med.data import load_datalist
    from mose_med.preprocessing import Preprocessing

    torch.manual_seed(0)
    network = {"channels": (4, 8), "num_experts": 2, "in_channels": 4, "out_channels": 25}
    config = ModelConfig(network, Preprocessing(roi_size=(16, 16)), load_datalist(tiny_pictures).classes, 32)
    write_checkpoint(tmp_path / "model.pt", Checkpoint(MoSE(**network).state_dict(), config))
    settings = {"part": "training", "folds": 2, "num_samples": 4, "device": "cpu", "quiet": True}
    found = calibrate(CalibrateOptions(tiny_pictures, tmp_path / "model.pt", tmp_path / "out.pt", **settings))
    assert found.after.nll <= found.before.nll


def test_an_exported_bundle_is_calibrated(options: CalibrateOptions, calibration: Calibration, tmp_path: Path):
    bundle = export_bundle(ExportBundleOptions(options.output_file, tmp_path / "bundle.zip"))
    with weights_file(bundle) as path:
        found = read_checkpoint(path)
    assert found.calibration == read_checkpoint(options.output_file).calibration
    assert float(found.model["head.temperature.value"]) == pytest.approx(calibration.temperatures.logits)
    with zipfile.ZipFile(bundle) as archive:
        scripted = torch.jit.load(io.BytesIO(archive.read("bundle/models/model.ts")))
        card = archive.read("bundle/docs/README.md").decode()
    assert float(scripted.head.temperature.value) == pytest.approx(calibration.temperatures.logits)
    assert "| calibration | temperature of the gating" in card
