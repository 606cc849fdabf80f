"""A sample is one hypothesis of the whole case; expert probabilities are blended and pooled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, compute_importance_map

from mose_med.inferers import infer_case
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from mose_med.samples import ExpertSamples

RAW = Preprocessing(standardise=False, roi_size=(16, 16))


class GatedByMean(MoSE):
    """Foreground above 0 HU; the first expert is as probable as the share of a window's voxels above 0 HU."""

    def forward(self, image, samples_per_expert=None, generator=None, latents=None):
        foreground = image[:, :, None].expand(-1, *latents.shape[:2], -1, -1)
        share = (image > 0).float().mean(dim=(1, 2, 3))
        logits = torch.stack([torch.zeros_like(foreground), foreground], dim=3)
        return ExpertSamples(logits, torch.stack([share, 1 - share], dim=1))


@pytest.fixture
def gated() -> MoSE:
    return GatedByMean(channels=(4, 8), num_experts=2, latent_dim=1).eval()


@pytest.fixture
def noise() -> MetaTensor:
    values = torch.randn(1, 60, 50, 12, generator=torch.Generator().manual_seed(0)) * 300 - 300
    return MetaTensor(values, affine=torch.eye(4))


@pytest.mark.parametrize("where", [{"region": "full"}, {"nodules": [(10, 10, 2), (45, 40, 9), (48, 38, 3)]}])
def test_a_sample_has_one_code_in_all_windows_slices_and_regions(bright_voxels, noise, where):
    with torch.no_grad():
        bright_voxels.priors.log_std.fill_(0.5)
    result = infer_case(bright_voxels, noise, preprocessing=RAW, depth_mm=2, seed=4, **where)
    codes = bright_voxels.draw_latents(1, 4, torch.Generator().manual_seed(4))[0, ..., 0]
    looked = result.dense("expert_probs").any(axis=-1)
    for k in range(2):
        for s, mask in enumerate(np.moveaxis(result.dense(f"expert-{k + 1}_samples"), -1, 0)):
            expected = noise.numpy()[0] > -300 - 100 * codes[k, s].item()
            assert (mask[looked] == expected[looked]).mean() > 0.9999
            assert not mask[~looked].any()


def test_expert_probabilities_of_a_voxel_are_the_weighted_mean_of_its_windows(gated, noise):
    positions, noise.affine = [(20, 20, 5), (27, 24, 5), (24, 30, 5)], torch.diag(torch.tensor([-1.0, -1, 1, 1]))
    listed = [(-x, -y, z) for x, y, z in positions]
    result = infer_case(gated, noise, preprocessing=RAW, nodules=listed, depth_mm=0)
    importance = compute_importance_map((16, 16), mode="gaussian", sigma_scale=0.125, dtype=torch.float32).numpy()
    total, weight = np.zeros((60, 50)), np.zeros((60, 50))
    for x, y, k in positions:
        here = (slice(x - 8, x + 8), slice(y - 8, y + 8))
        total[here] += importance * (noise.numpy()[0, ..., k][here] > 0).mean()
        weight[here] += importance
    first = result.dense("expert_probs")[..., 5, 0]
    np.testing.assert_allclose(first[weight > 0], (total / np.maximum(weight, 1e-9))[weight > 0], atol=2e-3)


def test_expert_probabilities_of_a_lesion_are_the_mean_over_its_component(gated, noise):
    noise[...] = -1000
    noise[0, 14:30, 18:22, 4:7] = 500
    result = infer_case(gated, noise, preprocessing=RAW, nodules=[(18, 20, 5), (26, 20, 5)], depth_mm=1)
    component = result.dense("consensus").astype(bool)
    for lesion in result.lesions:
        np.testing.assert_allclose(lesion.expert_probs, result.dense("expert_probs")[component].mean(axis=0), atol=1e-4)
    assert result.lesions[1].same_as == 1


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)))
def test_the_order_of_the_list_is_that_of_the_lesions_and_changes_nothing_else(order: list[int]):
    network = GatedByMean(channels=(4, 8), num_experts=2, latent_dim=1).eval()
    values = torch.randn(1, 60, 50, 12, generator=torch.Generator().manual_seed(1)) * 300 - 500
    image = MetaTensor(values, affine=torch.eye(4))
    positions = np.array([(10, 10, 2), (18, 14, 3), (45, 40, 9), (48, 38, 3)], dtype=float)
    listed, permuted = (
        infer_case(network, image, preprocessing=RAW, nodules=places, depth_mm=2)
        for places in (positions, positions[order])
    )
    for name in listed.names:
        np.testing.assert_array_equal(listed.dense(name), permuted.dense(name))
    for n, original in enumerate(order):
        np.testing.assert_array_equal(permuted.lesions[n].volume_ml.samples, listed.lesions[original].volume_ml.samples)


def test_a_nodule_far_away_changes_nothing_here(bright_voxels, noise):
    alone, both = (
        infer_case(bright_voxels, noise, preprocessing=RAW, nodules=places, depth_mm=2, num_standard=3)
        for places in ([(12, 12, 4)], [(12, 12, 4), (45, 38, 9)])
    )
    box = alone.regions[0].box
    for name in alone.names:
        np.testing.assert_array_equal(alone.crop(name, box), both.crop(name, box))


def test_a_crop_is_the_part_of_the_dense_map(bright_voxels, noise):
    result = infer_case(bright_voxels, noise, preprocessing=RAW, nodules=[(12, 12, 4)], depth_mm=2, num_standard=3)
    box = result.regions[0].box
    for name in result.names:
        np.testing.assert_array_equal(result.crop(name, box), result.dense(name)[box.slices])
        slabs = np.concatenate([slab.ravel(order="F") for slab in result.slabs(name)])
        np.testing.assert_array_equal(slabs, result.dense(name).ravel(order="F"))
