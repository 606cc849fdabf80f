from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.inferers import infer_case
from mose_med.inferers.noise import case_seed
from mose_med.io import read_ct

AFFINE = np.diag([-0.7, -0.6, 2.0, 1.0])


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, (20, 18, 4)).astype(np.int16)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_the_type_that_values_are_stored_in_does_not_matter(values, dtype):
    stored = np.asfortranarray(values.astype(dtype)) + (0 if dtype in (np.int16, np.int32) else dtype(1e-4))
    assert case_seed(3, stored) == case_seed(3, values)


def test_seed_voxels_and_shape_matter(values):
    changed = values.copy()
    changed[5, 5, 2] += 1
    others = [case_seed(4, values), case_seed(3, changed), case_seed(3, values.reshape(18, 20, 4))]
    assert len({case_seed(3, values), *others}) == 4
    assert max(others) < 2**64


def test_values_beyond_16_bits_are_cut_off(values):
    high = values.astype(np.float64)
    high[0, 0, 0] = 1e9
    values[0, 0, 0] = 32767
    assert case_seed(0, high) == case_seed(0, values)


def samples(network, image: MetaTensor, preprocessing) -> np.ndarray:
    nodules = [(image.affine.numpy() @ [10, 9, 2, 1])[:3]]
    with torch.no_grad():
        network.priors.log_std.fill_(0.5)
    (lesion,) = infer_case(network, image, preprocessing=preprocessing, nodules=nodules, codes="random").lesions
    return lesion.volume_ml.samples


def test_cases_of_a_run_have_codes_of_their_own(bright_voxels, raw_preprocessing, values):
    values[0, 0, 0] = -1000
    image, other = (MetaTensor(torch.from_numpy(v)[None].float(), affine=AFFINE) for v in (values, values.copy()))
    other[0, 0, 0, 0] = -999
    first, second = (samples(bright_voxels, one, raw_preprocessing) for one in (image, other))
    assert (first != second).any()


@pytest.mark.parametrize("code", ["RAS", "SPL", "AIR"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
def test_formats_and_orientations_of_a_study_have_the_same_samples(
    bright_voxels, raw_preprocessing, values, tmp_path: Path, code: str, suffix: str
):
    import SimpleITK

    volume = nib.Nifti1Image(values, AFFINE)
    turn = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(code))
    nib.save(volume, tmp_path / "ct.nii")
    nib.save(volume.as_reoriented(turn), tmp_path / "turned.nii")
    SimpleITK.WriteImage(SimpleITK.ReadImage(tmp_path / "turned.nii"), tmp_path / f"other{suffix}")
    found = [read_ct(tmp_path / name) for name in ("ct.nii", f"other{suffix}")]
    index = np.round(np.linalg.inv(found[1].affine.numpy()) @ AFFINE @ [10, 9, 2, 1])[:3]
    assert found[1].numpy()[0][tuple(index.astype(int))] == values[10, 9, 2]
    place = [(AFFINE @ [10, 9, 2, 1])[:3]]
    first, second = (
        infer_case(bright_voxels, one, preprocessing=raw_preprocessing, nodules=place, codes="random").lesions[0]
        for one in found
    )
    np.testing.assert_array_equal(first.volume_ml.samples, second.volume_ml.samples)


def test_the_seed_is_of_all_channels():
    first, second = np.zeros((2, 3, 2)), np.ones((2, 3, 2))
    seeds = {case_seed(0, first), case_seed(0, first, second), case_seed(0, first, 2 * second)}
    assert len(seeds) == 3
