from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mose_med.inferers import lung_mask
from mose_med.inferers.windows.cutting import oriented_volume
from mose_med.io import read_ct


@pytest.mark.real
def test_lungs_of_a_real_chest_are_of_a_persons_size(shared_data: Path):
    volume = oriented_volume(read_ct(shared_data / "ct_chest_dicom.zip"), "LPS")
    mask = lung_mask(volume.values, volume.affine)
    litres = mask.sum() * abs(np.linalg.det(volume.affine)) / 1e6
    assert 3 < litres < 6
    left, right = mask[:256].mean(), mask[256:].mean()
    assert 0.5 < left / right < 2
    assert np.median(volume.values[mask]) < -700
