from __future__ import annotations

from pathlib import Path

import pytest

from mose_med.data import MultiRaterDataset, load_datalist
from mose_med.errors import ConfigError, DataError
from mose_med.preprocessing import Preprocessing


def dataset(path: Path, spacing_mm: float | None) -> MultiRaterDataset:
    return MultiRaterDataset(
        load_datalist(path).part("training"), Preprocessing(roi_size=(32, 32), spacing_mm=spacing_mm)
    )


@pytest.mark.parametrize("spacing_mm", [None, 0.7])
def test_slices_of_the_wanted_spacing_are_taken(tiny_datalist: Path, spacing_mm: float | None):
    assert dataset(tiny_datalist, spacing_mm)[0]["image"].shape == (1, 32, 32)


def test_slices_of_another_spacing_are_named(tiny_datalist: Path):
    message = r"P-1_nodule-1 have an in-plane spacing of 0\.7 x 0\.7 mm, .* spacing_mm is 0\.5: prepare them with"
    with pytest.raises(ConfigError, match=message):
        dataset(tiny_datalist, 0.5)


def test_a_missing_file_is_named(tiny_datalist: Path, tmp_path: Path):
    (tmp_path / "dataset.json").write_text(tiny_datalist.read_text())
    with pytest.raises(DataError, match=r"P-1_nodule-1\.nii does not exist"):
        dataset(tmp_path / "dataset.json", 0.7)
