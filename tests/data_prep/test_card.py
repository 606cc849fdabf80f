from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.card import write_card
from data_prep.datalist import write_datalist, write_run
from mose_med.data.class_flips import ClassFlip, flipped_labels, mode_probabilities


def write_small(folder: Path, masks: np.ndarray, weights: list[float]) -> None:
    """A datalist of one slice with these masks (i, j, R)."""
    paths = write_run(
        folder, "n", np.zeros((*masks.shape[:2], 1), np.int16), masks[:, :, None], np.diag([2, 2, 3, 1.0])
    )
    present = int(masks.any(axis=(0, 1)).sum())
    entry = {**paths, "slice": 0, "z_mm": 0.0, "rater_weights": weights, "raters_present": present}
    entry |= {"nodule_id": "n", "patient_id": "p", "series_uid": "s", "features": {"malignancy": [5, 3, None]}}
    parts = {"training": [entry], "validation": [], "test": []}
    write_datalist(folder, name="d", source="c", classes=("b", "n"), num_raters=3, parts=parts, nodules=[])


@pytest.fixture
def masks() -> np.ndarray:
    """First rater 4 pixels, second the 2 of them on the left, third nothing."""
    masks = np.zeros((8, 8, 3), dtype=np.uint8)
    masks[:2, :2, 0] = masks[:1, :2, 1] = 1
    return masks


def test_agreement_is_the_mean_of_pairs(tmp_path: Path, masks: np.ndarray):
    write_small(tmp_path, masks, [1 / 3] * 3)
    card = write_card(tmp_path, counts={}, options={}, licences=["CC"])
    assert card["agreement"]["raters_who_outlined"] == {"iou": 0.5, "dice": 0.6667, "slices": 1}
    assert card["agreement"]["all_raters"] == {"iou": 0.1667, "dice": 0.2222, "slices": 1}


def test_raters_of_no_weight_are_not_compared(tmp_path: Path, masks: np.ndarray):
    write_small(tmp_path, masks, [0.5, 0.5, 0.0])
    assert write_card(tmp_path, counts={}, options={}, licences=[])["agreement"]["all_raters"]["iou"] == 0.5


def test_card_tells_sizes_features_and_licences(tmp_path: Path, masks: np.ndarray):
    write_small(tmp_path, masks, [1 / 3] * 3)
    card = write_card(tmp_path, counts={"slices": 1}, options={"seed": 0}, licences=["CC BY 3.0"])
    assert card["parts"]["training"] == {"patients": 1, "series": 1, "objects": 1, "slices": 1}
    assert card["sizes"]["area_mm2"]["median"] == 12.0
    assert card["features"] == {"malignancy": {"3": 1, "5": 1}}
    assert json.loads((tmp_path / "card.json").read_text()) == card
    text = (tmp_path / "card.md").read_text()
    assert "- CC BY 3.0" in text
    assert "| raters who outlined | 0.500 | 0.667 | 1 |" in text
    assert "montage" not in text


def test_agreement_of_modes_is_that_of_two_draws(tmp_path: Path):
    """Against every pair of the four modes, by its probability; class 3 is not on the slice."""
    flips = (ClassFlip(1, 4, 0.25), ClassFlip(2, 5, 0.5), ClassFlip(3, 6, 0.1))
    label = np.repeat(np.array([0, 1, 2, 2], dtype=np.uint8), 4).reshape(4, 4)
    paths = write_run(tmp_path, "n", np.zeros((4, 4, 1), np.int16), label[:, :, None, None], np.eye(4))
    entry = {**paths, "slice": 0, "z_mm": None, "rater_weights": mode_probabilities(flips).tolist()}
    entry |= {"raters_present": 8, "nodule_id": "n", "patient_id": "p", "series_uid": ""}
    about = {"name": "d", "source": "c", "classes": tuple("b123456"), "num_raters": 8, "nodules": None}
    write_datalist(tmp_path, parts={"training": [entry]}, flips=flips, **about)
    card = write_card(tmp_path, counts={}, options={}, licences=[])
    modes, weights = flipped_labels(label, flips), mode_probabilities(flips)
    same = [[np.mean([a[1, 0] == b[1, 0], a[2, 0] == b[2, 0]]) for a in modes] for b in modes]
    expected = float(weights @ same @ weights)
    assert card["agreement"] == {
        "two_random_modes": {"iou": round(expected, 4), "dice": round(expected, 4), "slices": 1}
    }
    assert card["share_of_pixels"]["2"] == 0.5
    assert "8 modes of independent flips: 1 0.25, 2 0.5, 3 0.1" in (tmp_path / "card.md").read_text()
