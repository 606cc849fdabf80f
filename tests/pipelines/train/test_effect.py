from __future__ import annotations

import logging
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from pipelines.train.config import bundle_names, config_files, overlay_names, setting_names
from pipelines.train.effect import without_effect


def found(bundle: str, *overlays: str, names: tuple[str, ...] = (), tracking: bool = False) -> list[str]:
    """Settings without effect, of some names or of all that the overlays set."""
    files = config_files(bundle, overlays, tracking=tracking)
    parser = ConfigParser(ConfigParser.load_config_files([str(path) for path in files]))
    parser.parse()
    added = [ConfigParser.load_config_file(str(path)) for path in files[1:]]
    return without_effect(parser, names or [name for content in added for name in setting_names(content)])


@pytest.mark.parametrize("bundle", bundle_names())
@pytest.mark.parametrize("overlay", overlay_names("lidc"))
def test_every_overlay_alone_has_effect(bundle: str, overlay: str):
    assert found(bundle, overlay, tracking=overlay == "mlflow") == []


@pytest.mark.parametrize(
    ("overlays", "without"),
    [
        (("phiseg", "energy_distance"), ["annealing::energy"]),
        (("ablation_pairwise", "soft_gradient"), ["annealing::merge_iou"]),
        (("ablation_pairwise", "one_label"), ["beta"]),
        (("deterministic_unet", "dropout"), ["network::dropout"]),
        (("phiseg", "experts_8"), ["network::num_experts", "network::samples_per_expert", "val_samples_per_expert"]),
        (("standard_form", "energy_distance"), []),
        (("standard_form", "experts_8", "amp", "ema"), []),
    ],
)
def test_a_setting_that_another_network_or_loss_does_not_have_is_without_effect(overlays, without: list[str]):
    assert found("lidc", *overlays) == without


def test_what_is_tracked_is_not_used_for_that():
    assert found("lidc", "ablation_pairwise", names=("energy", "run_name", "cost"), tracking=True) == ["energy"]


def test_a_target_that_is_an_expression_is_taken_as_used(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "+annealing:\n  own:\n    _target_: mose_med.handlers.Annealing\n    target: $@loss\n    attribute: gamma\n"
        "    schedule: '@gamma_schedule'\n"
    )
    assert found("lidc", str(own)) == []


def test_it_is_said(tiny_overlay: Path, tiny_datalist: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    from pipelines.train.run import TrainOptions, train

    options = TrainOptions(
        tiny_datalist,
        tmp_path / "run",
        configs=(str(tiny_overlay), "ablation_pairwise"),
        settings=("beta=5",),
        max_epochs=1,
        device="cpu",
        tracking=False,
        quiet=True,
    )
    with caplog.at_level(logging.WARNING):
        train(options)
    (said,) = (message for message in caplog.messages if "without effect" in message)
    assert "beta" in said.split(": ")[1].split(", ")
