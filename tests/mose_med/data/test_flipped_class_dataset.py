from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd

from mose_med.data import CITYSCAPES_FLIPS, DatalistEntry, FlippedClassDataset, mode_probabilities
from mose_med.data.pictures import CITYSCAPES_MEAN, CITYSCAPES_STD
from mose_med.errors import ConfigError, DataError

ROWS, COLS = 4, 6


@pytest.fixture
def entry(tmp_path: Path) -> DatalistEntry:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (COLS, ROWS, 1, 4)).astype(np.uint8)
    label = rng.integers(0, 20, (COLS, ROWS, 1, 1)).astype(np.uint8)
    for name, array in (("image", picture), ("label", label)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii")
    weights = tuple(mode_probabilities(CITYSCAPES_FLIPS).tolist())
    return DatalistEntry(tmp_path / "image.nii", tmp_path / "label.nii", 0, None, weights, 32, "frame", "city", "")


def test_item_has_all_modes_and_their_probabilities(entry: DatalistEntry):
    item = FlippedClassDataset([entry])[0]
    label = np.asarray(nib.load(entry.label).dataobj)[:, :, 0, 0].T
    assert item["label"].shape == (32, ROWS, COLS)
    assert item["label"].dtype == torch.uint8
    np.testing.assert_array_equal(item["label"][0], label)
    assert item["rater_weights"].shape == (32,)
    torch.testing.assert_close(item["rater_weights"].sum(), torch.tensor(1.0))


def test_colours_are_standardised_and_the_prediction_is_not(entry: DatalistEntry):
    item = FlippedClassDataset([entry])[0]
    stored = np.asarray(nib.load(entry.image).dataobj)[:, :, 0].transpose(2, 1, 0).astype(float)
    assert item["image"].shape == (4, ROWS, COLS)
    expected = (stored[0] / 255 - CITYSCAPES_MEAN[0]) / CITYSCAPES_STD[0]
    np.testing.assert_allclose(item["image"][0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(item["image"][3], stored[3])


def test_transform_moves_all_modes_together(entry: DatalistEntry):
    transform = Compose([RandFlipd(("image", "label"), prob=1.0, spatial_axis=1)])
    plain, moved = FlippedClassDataset([entry])[0], FlippedClassDataset([entry], transform=transform)[0]
    torch.testing.assert_close(torch.as_tensor(moved["label"]), plain["label"].flip(2))


def test_weights_of_other_flips_are_refused(entry: DatalistEntry):
    with pytest.raises(ConfigError, match="frame has other weights than 1 flips of these classes give"):
        FlippedClassDataset([entry], CITYSCAPES_FLIPS[:1])
    with pytest.raises(ConfigError, match="data must have at least one entry"):
        FlippedClassDataset([])


def test_label_of_another_size_is_named(entry: DatalistEntry, tmp_path: Path):
    nib.save(nib.Nifti1Image(np.zeros((COLS, 3, 1, 1), dtype=np.uint8), np.eye(4)), tmp_path / "small.nii")
    with pytest.raises(DataError, match=r"small.nii must hold one label map of \(4, 6\), got shape \(6, 3, 1\)"):
        FlippedClassDataset([replace(entry, label=tmp_path / "small.nii")])[0]
