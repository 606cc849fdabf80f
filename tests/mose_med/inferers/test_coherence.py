"""A sample is one hypothesis of the whole case; expert probabilities are blended and pooled."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, compute_importance_map

from mose_med.errors import ConfigError
from mose_med.inferers import infer_case
from mose_med.inferers.noise import case_seed
from mose_med.inferers.windows.sliding import window_starts
from mose_med.io.case.lesions import lesion_record
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
    result = infer_case(bright_voxels, noise, preprocessing=RAW, depth_mm=2, seed=4, codes="random", **where)
    seed = case_seed(4, noise.numpy()[0, ::-1, ::-1])
    codes = bright_voxels.draw_latents(1, 4, torch.Generator().manual_seed(seed))[0, ..., 0]
    looked = result.dense("expert_probs").any(axis=-1)
    for k in range(2):
        for s, mask in enumerate(np.moveaxis(result.dense(f"expert-{k + 1}_samples"), -1, 0)):
            expected = noise.numpy()[0] > -300 - 100 * codes[k, s].item()
            assert (mask[looked] == expected[looked]).mean() > 0.9999
            assert not mask[~looked].any()


def test_expert_probabilities_of_a_voxel_are_the_weighted_mean_of_its_windows(gated, noise):
    result = infer_case(gated, noise, preprocessing=RAW, region="full", overlap=0.5)
    importance = compute_importance_map((16, 16), mode="gaussian", sigma_scale=0.125, dtype=torch.float32).numpy()
    seen = noise.numpy()[0, ::-1, ::-1, 5]
    total, weight = np.zeros((60, 50)), np.zeros((60, 50))
    for i, j in product(window_starts(0, 60, 16, 0.5), window_starts(0, 50, 16, 0.5)):
        here = (slice(i, i + 16), slice(j, j + 16))
        total[here] += importance * (seen[here] > 0).mean()
        weight[here] += importance
    first = result.dense("expert_probs")[::-1, ::-1, 5, 0]
    np.testing.assert_allclose(first, total / weight, atol=2e-3)


def test_expert_probabilities_of_a_lesion_are_the_mean_over_its_component(gated, noise):
    noise[...] = -1000
    noise[0, 14:30, 18:22, 4:7] = 500
    result = infer_case(gated, noise, preprocessing=RAW, nodules=[(18, 20, 5), (26, 20, 5)], depth_mm=1)
    for lesion in result.lesions:
        own = result.alone(lesion.number)
        probs = own.dense("expert_probs")[own.dense("consensus").astype(bool)]
        np.testing.assert_allclose(lesion.expert_probs, probs.mean(axis=0), atol=1e-4)
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


@pytest.mark.parametrize("orientation", [(1, 1), (-1, 1)])
def test_a_nodule_two_centimetres_away_changes_nothing_of_a_lesion(gated, noise, orientation):
    noise[...] = -900
    for x in (20, 40):
        noise[0, x - 3 : x + 4, 22:28, 4:8] = 400
    noise.affine = torch.diag(torch.tensor([*orientation, 1.0, 1.0], dtype=torch.float64))
    first, second = ([x * orientation[0], 25.0 * orientation[1], 5.5] for x in (20, 40))
    wide = Preprocessing(standardise=False, roi_size=(32, 32))
    alone, other, both = (
        infer_case(gated, noise, preprocessing=wide, nodules=places, depth_mm=3, num_standard=3)
        for places in ([first], [second], [first, second])
    )
    for of_list, own in zip(both.lesions, (*alone.lesions, *other.lesions), strict=True):
        record = lesion_record(of_list._replace(number=1))
        assert json.dumps(record) == json.dumps(lesion_record(own))
    for number, own in enumerate((alone, other), start=1):
        for name in own.names:
            np.testing.assert_array_equal(both.alone(number).dense(name), own.dense(name))


def test_dense_maps_take_what_regions_share_from_the_nearest_position(gated, noise):
    alone, other, both = (
        infer_case(gated, noise, preprocessing=RAW, nodules=places, depth_mm=1)
        for places in ([(20, 20, 5)], [(30, 20, 5)], [(20, 20, 5), (30, 20, 5)])
    )
    for name in both.names:
        np.testing.assert_array_equal(both.dense(name)[:26], alone.dense(name)[:26])
        np.testing.assert_array_equal(both.dense(name)[26:], other.dense(name)[26:])
    with pytest.raises(ConfigError, match="number must be that of one of 2 lesions, got 3"):
        both.alone(3)


def test_a_crop_is_the_part_of_the_dense_map(bright_voxels, noise):
    result = infer_case(bright_voxels, noise, preprocessing=RAW, nodules=[(12, 12, 4)], depth_mm=2, num_standard=3)
    box = result.regions[0].box
    for name in result.names:
        np.testing.assert_array_equal(result.crop(name, box), result.dense(name)[box.slices])
        slabs = np.concatenate([slab.ravel(order="F") for slab in result.slabs(name)])
        np.testing.assert_array_equal(slabs, result.dense(name).ravel(order="F"))
