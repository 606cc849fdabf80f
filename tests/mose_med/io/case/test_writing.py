from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.case_contents.maps import STEP
from mose_med.inferers import CaseDistribution, infer_case
from mose_med.io.case.writing import write_case

AFFINE = np.array([[0.0, 0.6, 0.1, 12.0], [-0.7, 0.0, 0.0, 20.0], [0.0, 0.1, 2.0, -100.0], [0, 0, 0, 1]])


POSITION = (AFFINE @ [9, 9, 30, 1])[:3]


@pytest.fixture
def result(bright_voxels, raw_preprocessing) -> CaseDistribution:
    """A case of noise with one listed position."""
    values = 300 * torch.randn(1, 20, 22, 40, generator=torch.Generator().manual_seed(0)) - 300
    image = MetaTensor(values, affine=torch.from_numpy(AFFINE))
    return infer_case(bright_voxels, image, preprocessing=raw_preprocessing, nodules=[POSITION], num_standard=8)


def test_files_hold_the_dense_maps_on_the_input_grid(result: CaseDistribution, tmp_path: Path):
    write_case(tmp_path, result.named(["left"]), threads=2, maps="full")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.nii.gz" for name in result.names} | {"lesions.json"}
    for name in result.names:
        volume, form = nib.load(tmp_path / f"{name}.nii.gz"), result.format(name)
        assert volume.shape == form.shape
        assert volume.get_data_dtype() == form.dtype
        np.testing.assert_array_equal(volume.affine, AFFINE.astype(np.float32))
        np.testing.assert_array_equal(np.asanyarray(volume.dataobj), result.dense(name))
        assert result.dense(name).any()
    (lesion,) = json.loads((tmp_path / "lesions.json").read_text())["lesions"]
    assert lesion["nodule_id"] == "left"
    np.testing.assert_allclose(lesion["position_mm"]["ras"], POSITION, atol=1e-6)
    np.testing.assert_allclose(lesion["position_mm"]["lps"], POSITION * [-1, -1, 1], atol=1e-6)
    assert len(lesion["volume_ml"]["by_expert"]) == len(lesion["expert_probs"]) == 2


def test_probabilities_and_entropies_are_whole_numbers_of_steps_and_masks_what_they_are(result, tmp_path: Path):
    write_case(tmp_path, result)
    for name in result.names:
        volume, dense = nib.load(tmp_path / f"{name}.nii.gz"), result.dense(name)
        scaled = dense.dtype == np.float32
        assert volume.get_data_dtype() == (np.int16 if scaled else np.uint8)
        assert np.abs(volume.get_fdata() - dense).max() <= (STEP / 2 if scaled else 0)
        assert volume.get_fdata().any()
