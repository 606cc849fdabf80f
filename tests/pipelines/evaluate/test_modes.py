from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mose_med.data.class_flips import ClassFlip, flipped_labels, mode_probabilities
from mose_med.samples import RaterMasks
from pipelines.evaluate.modes import TRUTH, ModeScores

FLIPS = (ClassFlip(1, 3, 0.25), ClassFlip(2, 4, 0.5))
CLASSES = ("void", "road", "car", "road flipped", "car flipped")


@pytest.fixture
def modes() -> RaterMasks:
    """Both classes in one picture, the road alone in another."""
    labels = np.array([[[1, 1, 2, 0]], [[1, 1, 0, 0]]], dtype=np.uint8)
    masks = torch.from_numpy(np.stack([flipped_labels(label, FLIPS) for label in labels]))
    return RaterMasks(masks, torch.tensor(mode_probabilities(FLIPS)).float().expand(2, -1))


def test_the_modes_themselves_have_their_probabilities(modes: RaterMasks, tmp_path: Path):
    scores = ModeScores(FLIPS, CLASSES)
    scores.add(TRUTH, *modes, modes)
    # Without a car, flipping it changes nothing: the first of equal modes counts.
    expected = np.mean([mode_probabilities(FLIPS), [0.75, 0.0, 0.25, 0.0]], axis=0)
    assert scores.mode_shares()[TRUTH] == pytest.approx(expected.tolist())
    assert scores.flip_shares()[TRUTH] == pytest.approx([0.25, 0.5])


def test_files_hold_every_method_beside_the_truth(modes: RaterMasks, tmp_path: Path):
    scores = ModeScores(FLIPS, CLASSES)
    scores.add(TRUTH, *modes, modes)
    never = modes.masks[:, :1]
    scores.add("never flips", never, torch.ones(2, 1), modes)
    scores.write(tmp_path, "two flips")
    content = json.loads((tmp_path / "modes.json").read_text())
    assert content["modes"][3] == {"flipped": ["road", "car"], "probability": 0.125}
    assert content["shares"]["never flips"]["modes"] == [1.0, 0.0, 0.0, 0.0]
    assert content["shares"]["never flips"]["flips"] == [0.0, 0.0]
    assert content["shares"]["never flips"]["distance"] == pytest.approx(1 - (0.375 + 0.75) / 2)
    assert content["shares"][TRUTH]["distance"] == 0.0
    assert (tmp_path / "modes.png").stat().st_size > 1000


def test_a_class_that_no_picture_has_gets_no_number(modes: RaterMasks, tmp_path: Path):
    scores = ModeScores(FLIPS, CLASSES)
    scores.add(TRUTH, modes.masks[1:], modes.weights[1:], RaterMasks(modes.masks[1:], modes.weights[1:]))
    scores.write(tmp_path, "no car")
    assert json.loads((tmp_path / "modes.json").read_text())["shares"][TRUTH]["flips"] == [0.25, None]
