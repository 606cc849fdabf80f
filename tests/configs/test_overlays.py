"""Every overlay alone, and every pair of them, on every bundle: references resolve, the parts can be built."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Identityd, ScaleIntensityd

from configs.assemble import ROOT, bundles
from mose_med.errors import ConfigError, MoseError
from mose_med.samples import RaterMasks
from pipelines.train.config import config_files, overlay_names
from pipelines.train.trial_step import try_step

LATENT = ("hierarchical_probabilistic_unet", "hu_variability", "phiseg", "probabilistic_unet")
UNETS = ("deterministic_unet", "mc_dropout")
OTHERS = ("calibrated_adversarial_refinement", "stochastic_segmentation_network")
LOSSES = ("ablation_pairwise", "standard_form", *LATENT, *UNETS, *OTHERS)
#: Pairs of overlays that each bring an object of their own, and its name.
CONTRADICTING = {
    **{frozenset(pair): "loss" for pair in combinations(LOSSES, 2)},
    frozenset({"cosine", "linear"}): "lr_scheduler",
}
CHEAP = ("loss", "annealing_handler", "train::inferer", "train::prepare_batch", "guard", "time_limit")


@pytest.fixture(autouse=True)
def _files_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConfigParser, "load_config_file", lambda path: deepcopy(_content(path)))


@cache
def _content(path: str, read=ConfigParser.load_config_file) -> dict[str, Any]:
    return read(path)


def parsed(bundle: str, *overlays: str, **values: Any) -> ConfigParser:
    """A bundle's training with overlays, every reference checked to lead somewhere."""
    files = config_files(bundle, overlays, tracking=False)
    parser = ConfigParser(ConfigParser.load_config_files([str(path) for path in files]))
    parser.update({"device_name": "cpu"} | values)
    parser.parse()
    items = parser.ref_resolver.items
    for item in items.values():
        for name in parser.ref_resolver.find_refs_in_config(item.get_config(), item.get_id()):
            assert name in items, f"{item.get_id()} refers to {name}"
    return parser


@pytest.mark.parametrize("bundle", bundles())
@pytest.mark.parametrize("overlay", overlay_names("lidc"))
def test_an_overlay_builds_what_it_changes(bundle: str, overlay: str):
    parser = parsed(bundle, overlay)
    built = [parser.get_parsed_content(name) for name in CHEAP if overlay != "multi_gpu_train" or "prepare" not in name]
    assert all(part is not None for part in built)


@pytest.mark.parametrize("bundle", bundles())
@pytest.mark.parametrize("first", overlay_names("lidc"))
def test_every_pair_is_parsed(bundle: str, first: str):
    for second in overlay_names(bundle):
        contradicting = CONTRADICTING.get(frozenset({first, second}))
        if contradicting is not None:
            message = f"overlays {first} and {second} each define {contradicting}: choose one"
            with pytest.raises(ConfigError, match=message):
                parsed(bundle, first, second)
        elif second != first:
            parsed(bundle, first, second)


@pytest.mark.parametrize("bundle", bundles())
@pytest.mark.parametrize("overlay", sorted(path.stem for path in (ROOT / "overlays").glob("*.yaml")))
def test_an_overlay_gives_settings_of_a_network_that_exists(bundle: str, overlay: str):
    parser = parsed(bundle, overlay, **{"network::channels": [8, 8, 8, 8]})
    if overlay != "backbone_deeplabv3plus":  # ResNet-101 is too large for a test of a setting
        parser.get_parsed_content("network_def")


#: Overlays for all bundles, but the ResNet-101, which is too large for a test of a setting.
SMALL = sorted(path.stem for path in (ROOT / "overlays").glob("*.yaml") if path.stem != "backbone_deeplabv3plus")
#: Overlays that a bundle cannot be trained with, and what is said before it begins; docs/training.md names them.
REFUSED = {
    ("lidc_small", "standard_form"): r"gamma must be >= 1 \(one over 1 samples\), got 0.5",
    ("cityscapes", "standard_form"): r"gamma must be >= 1 \(one over 1 samples\), got 0.03125",
    ("cityscapes", "energy_distance"): "energy must be 0 with ignore_index=0, got 0.7",
    **{
        ("cityscapes", overlay): r"gamma must be >= 0.0625 \(one over 16 samples\), got 0.03125"
        for overlay in ("experts_1", "experts_2", "experts_8")
    },
    (
        "cityscapes",
        "calibrated_adversarial_refinement",
    ): r"the discriminator takes windows of \(32, 32\), got \(32, 64\)",
    ("cityscapes", "demo"): r"gamma must be >= 0.125 \(one over 8 samples\), got 0.03125",
}


@pytest.mark.parametrize("bundle", bundles())
@pytest.mark.parametrize("overlay", SMALL)
def test_an_overlay_can_be_trained_with_from_the_first_epoch_to_the_last(bundle: str, overlay: str):
    parser = parsed(bundle, overlay, **{"network::channels": [8, 8, 8, 8], "preprocessing::roi_size": [32, 32]})
    network, loss, annealings, model = (
        parser.get_parsed_content(name) for name in ("network_def", "loss", "annealing", "network")
    )
    sides = (32, 64) if bundle == "cityscapes" else (32, 32)  # pictures keep their shape
    masks = torch.arange(4 * 32 * sides[1]).view(4, *sides) % model["out_channels"]
    dataset = [
        {"image": torch.randn(model["in_channels"], *sides), "label": masks, "rater_weights": torch.full((4,), 0.25)}
    ]
    before, state = deepcopy(network.state_dict()), torch.get_rng_state()
    refused = REFUSED.get((bundle, overlay))
    with pytest.raises(MoseError, match=refused) if refused else nullcontext():
        try_step(network, loss, annealings, dataset)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_tracking_that_is_named_is_added_once():
    files = config_files("lidc", ("mlflow", "ema"), tracking=True)
    assert [path.stem for path in files] == ["train", "mlflow", "ema"]


def test_tracked_are_the_network_and_the_rate_that_are_trained_with():
    parser = ConfigParser(
        ConfigParser.load_config_files(
            [str(path) for path in config_files("lidc", ("probabilistic_unet",), tracking=True)]
        )
    )
    parser.update({"device_name": "cpu", "network::channels": [4, 4, 6, 8]})
    parser.update({"tracking::params::data": "tiny"})
    params = parser.get_parsed_content("tracking::params")
    assert (params["network"]["name"], params["learning_rate"]) == ("probabilistic_unet", 1e-4)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_rate_that_is_a_tenth_falls_to_a_tenth(schedule: str):
    parser = parsed(
        "lidc_small", "probabilistic_unet", schedule, **{"network::channels": [4, 4, 6, 8], "max_epochs": 3}
    )
    parser.update({"learning_rate": 0.003, "final_learning_rate": 0.0003})
    parser.parse()
    optimizer, scheduler = (parser.get_parsed_content(name) for name in ("optimizer", "lr_scheduler"))
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(3e-4)
    assert rates[-1] == pytest.approx(3e-5)


@pytest.mark.parametrize("others", [(), ("demo",)])
@pytest.mark.parametrize("bundle", ["lidc", "lidc_small"])
@pytest.mark.parametrize("overlay", [*LATENT, *UNETS, *OTHERS])
def test_a_baseline_takes_a_training_step(bundle: str, overlay: str, others: tuple[str, ...]):
    sizes = {"network::channels": [4, 4, 6, 8, 8], "preprocessing::roi_size": [32, 32]}
    parser = parsed(bundle, overlay, *others, **sizes)
    network, loss, optimizer = (parser.get_parsed_content(name) for name in ("network_def", "loss", "optimizer"))
    raters = RaterMasks(torch.zeros(2, 4, 32, 32, dtype=torch.long), torch.full((2, 4), 0.25))
    value = loss(network(torch.randn(2, 1, 32, 32), target=raters), raters)
    value.backward()
    optimizer.step()
    assert value.isfinite()
    assert parser.get_parsed_content("model_config").network_name == overlay


def test_transforms_of_ones_own_take_the_places_that_the_docs_name(tmp_path: Path, tiny_datalist: Path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "train::dataset::transform: {_target_: monai.transforms.ScaleIntensityd, keys: image}\n"
        "train::prepare_batch::augmentation: {_target_: monai.transforms.Identityd, keys: image}\n"
    )
    parser = parsed("lidc", str(own), **{"datalist": str(tiny_datalist), "preprocessing::roi_size": [32, 32]})
    assert isinstance(parser.get_parsed_content("train::dataset").transform, ScaleIntensityd)
    assert isinstance(parser.get_parsed_content("train::prepare_batch").augmentation, Identityd)


def test_levels_of_table_7_are_thirds_of_the_depth():
    found = {
        name: [parsed(bundle, name).get_parsed_content("network")[level] for bundle in ("lidc", "lidc_small")]
        for name, level in (
            ("gating_third", "gating_level"),
            ("gating_two_thirds", "gating_level"),
            ("noise_third", "noise_level"),
            ("noise_two_thirds", "noise_level"),
        )
    }
    assert found == {
        "gating_third": [2, 1],
        "gating_two_thirds": [4, 2],
        "noise_third": [1, 0],
        "noise_two_thirds": [3, 1],
    }


def test_every_overlay_is_documented():
    page = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    assert [name for name in overlay_names("lidc") if f"`{name}`" not in page] == []
