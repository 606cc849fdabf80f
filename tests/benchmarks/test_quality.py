from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import configs
from benchmarks.quality.model_card import draw_experts, expert_habits, slice_geds
from benchmarks.quality.nodules import prepare_nodules, training_variant
from benchmarks.quality.recipes import PROTOCOL_S, TABLES, Recipe
from benchmarks.quality.rows import mean_scores, table
from mose_med.data import MultiRaterDataset, load_datalist
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from pipelines.train.config import compose, config_files


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Four nodules of as many patients, three to train on; rows and columns differ."""
    random = np.random.default_rng(0)
    masks = np.zeros((4, 4, 71, 71), dtype=np.uint8)
    masks[:, :3, 30:40, 33:36] = 1
    np.savez(
        tmp_path / "nodules.npz",
        image_hu=random.integers(-1000, 400, (4, 71, 71)).astype(np.int16),
        mask=masks,
        split=np.array(["train", "train", "train", "val"]),
        patient_id=np.array([f"P-{number}" for number in range(4)]),
        series_uid=np.array([f"1.{number}" for number in range(4)]),
        nodule_id=np.arange(4),
        pixel_spacing=np.full(4, 0.7),
        slice_thickness=np.full(4, 2.0),
        z_mm=np.arange(4.0),
    )
    return tmp_path / "nodules.npz"


def test_the_archive_becomes_windows_with_columns_first(archive: Path, tmp_path: Path):
    datalist = load_datalist(prepare_nodules(archive, tmp_path / "data"))
    assert [len(datalist.parts[part]) for part in ("training", "validation", "test")] == [3, 1, 0]
    item = MultiRaterDataset(datalist.part("validation"), Preprocessing(standardise=False, roi_size=(64, 64)))[0]
    content = np.load(archive)
    np.testing.assert_array_equal(item["image"][0].numpy(), content["image_hu"][3, 3:67, 3:67].T)
    np.testing.assert_array_equal(item["label"][0].numpy(), content["mask"][3, 0, 3:67, 3:67].T)
    assert datalist.part("validation")[0].raters_present == 3


def test_an_archive_is_prepared_once(archive: Path, tmp_path: Path):
    first = prepare_nodules(archive, tmp_path / "data")
    archive.unlink()
    assert prepare_nodules(archive, tmp_path / "data") == first


def test_a_variant_trains_on_fewer_patients_or_one_rater_and_is_validated_as_before(archive: Path, tmp_path: Path):
    whole = prepare_nodules(archive, tmp_path / "data")
    assert training_variant(whole) == whole
    small, smaller = (load_datalist(training_variant(whole, share=share)) for share in (0.5, 0.25))
    patients = [{entry.patient_id for entry in data.part("training")} for data in (small, smaller)]
    assert (len(patients[0]), len(patients[1]), patients[1] < patients[0]) == (2, 1, True)
    one = load_datalist(training_variant(whole, labels="one"))
    assert [sorted(entry.rater_weights) for entry in one.part("training")] == [[0.0, 0.0, 0.0, 1.0]] * 3
    for data in (small, one):
        assert data.part("validation") == load_datalist(whole).part("validation")


@pytest.mark.parametrize("recipe", [recipe for rows in TABLES.values() for recipe in rows], ids=lambda row: row.name)
def test_every_row_is_a_training_of_the_bundle(recipe: Recipe, tmp_path: Path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({**PROTOCOL_S, **recipe.settings}))
    config = compose(
        config_files(
            "lidc_small", (*recipe.overlays, str(settings), *([recipe.model] if recipe.model else [])), tracking=False
        ),
        {},
    )
    assert config["max_epochs"] == recipe.settings.get("max_epochs", 14)
    samples = config["network"]["num_experts"] * config["val_samples_per_expert"]
    assert samples in ((4,) if "ablation_deterministic" in recipe.overlays else (10, 12, 16))


def test_scores_of_seeds_are_averaged_and_shown():
    scores = [{"compact 16 GED": ged, "effective_experts": 2.0} for ged in (0.2, 0.4)]
    found = mean_scores(scores)
    assert found["compact 16 GED"]["mean"] == pytest.approx(0.3)
    assert "| a row | 0.3000 ± 0.1414 |" in table([{"row": "a row", **found}])


def test_the_card_shows_what_every_expert_draws(archive: Path, tmp_path: Path):
    datalist = load_datalist(prepare_nodules(archive, tmp_path / "data"))
    dataset = MultiRaterDataset(datalist.part("training"), Preprocessing(roi_size=(64, 64)))
    torch.manual_seed(0)
    network = MoSE(channels=(4, 8), num_experts=3, samples_per_expert=1).eval()
    with torch.inference_mode():
        habits = expert_habits(network, dataset)
    assert habits.probs.shape == habits.areas.shape == habits.perimeters.shape == (3, 3)
    np.testing.assert_allclose(habits.probs.sum(axis=1), 1.0, rtol=1e-5)
    draw_experts(tmp_path / "experts.png", habits, "source")
    assert (tmp_path / "experts.png").stat().st_size > 1000


def test_worst_slices_are_those_of_the_fewest_samples(tmp_path: Path):
    lines = ["method,num_samples,ged", "compact,16,0.1", "compact,16,0.3", "compact,48,0.9", "standard,16,0.8"]
    (tmp_path / "per_slice.csv").write_text("\n".join(lines) + "\n")
    assert slice_geds(tmp_path).tolist() == [0.1, 0.3]


@pytest.mark.parametrize("recipe", [row for rows in TABLES.values() for row in rows], ids=lambda recipe: recipe.name)
def test_no_setting_undoes_an_overlay_of_its_row(recipe: Recipe):
    """Settings come after the overlays: a row would say what it does not do."""
    settings = {**PROTOCOL_S, **recipe.settings}
    for name in recipe.overlays:
        overlay = yaml.safe_load((Path(configs.__file__).parent / "overlays" / f"{name}.yaml").read_text("utf-8"))
        assert {key: settings[key] for key in overlay.keys() & settings} == {
            key: overlay[key] for key in overlay.keys() & settings
        }
