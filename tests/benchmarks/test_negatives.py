from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data import MetaTensor

from benchmarks.quality import negatives
from benchmarks.quality.negatives import windows
from benchmarks.quality.search import Ball
from mose_med.geometry import index_to_mm
from mose_med.inferers.windows.cutting import oriented_volume


def test_windows_lie_around_the_lungs_and_hold_no_part_of_a_nodule(chest: MetaTensor, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(negatives, "SIZE", 16)
    monkeypatch.setattr(negatives, "read_ct", lambda study: chest)
    nodule = Ball(index_to_mm(chest.affine.numpy(), np.array([22.0, 30.0, 8.0])), 3.0, 4)
    entries = windows("P 1", Path("study"), [nodule], 30, tmp_path)
    assert len({entry["image"] for entry in entries}) == 30
    volume = oriented_volume(chest, "LPS")
    for entry in entries:
        image, raters = nib.load(tmp_path / entry["image"]), nib.load(tmp_path / entry["label"])
        assert image.shape == (16, 16, 1)
        assert raters.shape == (16, 16, 1, 4)
        assert not raters.get_fdata().any()
        start = np.linalg.solve(volume.affine, image.affine)[:3, 3].round().astype(int)
        i, j, k = start
        np.testing.assert_array_equal(image.get_fdata()[..., 0], volume.values[i : i + 16, j : j + 16, k])
        places = index_to_mm(image.affine, np.stack(np.indices(image.shape), axis=-1).astype(float))
        assert np.linalg.norm(places - nodule.centre_mm, axis=-1).min() > nodule.radius_mm


def test_without_room_there_are_fewer(chest: MetaTensor, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(negatives, "read_ct", lambda study: chest)
    everywhere = Ball(np.zeros(3), 1e4, 1)
    assert windows("P", Path("study"), [everywhere], 5, tmp_path) == []
