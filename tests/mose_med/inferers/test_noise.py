"""Noise of a case: the same wherever a voxel is shown."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from mose_med.inferers import infer_case
from mose_med.inferers.noise import CaseFields, draw_case_noise
from mose_med.inferers.windows.cutting import Window
from mose_med.networks import MoSE, NoiseField
from mose_med.preprocessing import Preprocessing
from tests.fixtures.second_network import TinyNetwork

VOXELS = NoiseField("voxels", channels=2)
MAPS = NoiseField("maps", channels=1, stride=4, through_slices=True)


def fields(seed: int = 0, *declared: NoiseField) -> CaseFields:
    return CaseFields(declared or (VOXELS, MAPS), seed, (("compact 0 0", "compact 0 1"),))


def test_windows_that_overlap_agree():
    one, other = (fields().at([Window(3, start)], (80, 72)) for start in ((-8, 52), (12, 60)))
    assert torch.equal(one[0][..., 20:, 8:], other[0][..., :60, :64])
    assert torch.equal(one[1][..., 5:, 2:], other[1][..., :15, :16])


def test_a_field_through_slices_is_the_same_in_each():
    voxels, maps = fields().at([Window(3, (0, 0)), Window(4, (0, 0))], (16, 16))
    assert torch.equal(maps[0], maps[1])
    assert not torch.isclose(voxels[0], voxels[1]).any()


def test_samples_channels_fields_and_seeds_have_numbers_of_their_own():
    window = [Window(0, (0, 0))]
    (voxels, _), (other, _) = fields(0).at(window, (32, 32)), fields(1).at(window, (32, 32))
    (renamed,) = fields(0, NoiseField("others", channels=2)).at(window, (32, 32))
    planes = torch.cat([voxels.flatten(0, 3), other.flatten(0, 3), renamed.flatten(0, 3)]).flatten(1)
    assert (torch.corrcoef(planes) - torch.eye(len(planes))).abs().max() < 0.15


def test_fields_are_standard_normal_and_of_the_declared_shape():
    voxels, maps = fields().at([Window(0, (5, 5))], (128, 126))
    assert voxels.shape == (1, 1, 2, 2, 128, 126)
    assert maps.shape == (1, 1, 2, 1, 32, 32)
    assert abs(float(voxels.mean())) < 0.02
    assert abs(float(voxels.std()) - 1) < 0.02


def test_the_compact_form_does_not_depend_on_the_number_of_standard_samples():
    network = MoSE(channels=(4, 8), num_experts=2)
    alone, besides = (draw_case_noise(network, 3, number, 5, "random") for number in (0, 4))
    assert torch.equal(alone.deviates, besides.deviates[:, :3])
    assert alone.fields.streams == tuple(streams[:3] for streams in besides.fields.streams)


def test_a_network_with_fields_says_the_same_in_windows_and_in_one():
    torch.manual_seed(0)
    network, image = TinyNetwork().eval(), MetaTensor(torch.randn(1, 24, 24, 3), affine=torch.eye(4))
    plain = {"region": "full", "samples_per_expert": 2, "lesion_threshold": 0.4, "min_lesion_ml": 0.001}
    whole, parts = (
        infer_case(network, image, preprocessing=Preprocessing(standardise=False, roi_size=size), **plain)
        for size in ((24, 24), (16, 16))
    )
    inside = (slice(1, 7), slice(1, 7))  # beyond a window's edge the convolution sees no neighbours
    masks = [result.dense("sample_masks")[inside] for result in (whole, parts)]
    np.testing.assert_array_equal(*masks)
