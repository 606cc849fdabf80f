"""Quantiles of volumes use more samples than a case keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.inferers import case as case_module
from mose_med.inferers import infer_case
from mose_med.inferers.boxes import Box
from mose_med.inferers.lesions.further_samples import FurtherSamples
from mose_med.inferers.lesions.measuring import LesionSource
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

AFFINE = torch.diag(torch.tensor([-0.8, -0.8, 1.5, 1.0], dtype=torch.float64))


@pytest.fixture
def cones() -> MetaTensor:
    """Two balls that are brighter towards their middles, so that their size depends on the code."""
    i, j, k = np.meshgrid(np.arange(48), np.arange(40), np.arange(20), indexing="ij")
    values = np.full(i.shape, -1000.0)
    for x, y, z in ((12, 14, 6), (34, 22, 13)):
        radius = np.sqrt((0.8 * (i - x)) ** 2 + (0.8 * (j - y)) ** 2 + (1.5 * (k - z)) ** 2)
        values = np.maximum(values, 0 - 100 * radius)
    return MetaTensor(torch.from_numpy(values)[None].float(), affine=AFFINE)


def places(image: MetaTensor) -> np.ndarray:
    return np.array([(image.affine.numpy() @ [*index, 1])[:3] for index in ((12, 14, 6), (34, 22, 13))])


@pytest.fixture
def network(bright_voxels: MoSE) -> MoSE:
    with torch.no_grad():
        bright_voxels.priors.log_std.fill_(0.3)
    return bright_voxels


@pytest.mark.parametrize("spacing_mm", [None, 0.9])
@pytest.mark.parametrize("search", [False, True])
def test_quantiles_are_those_of_25_samples_per_expert(network, cones, search: bool, spacing_mm):
    where = {"region": "full"} if search else {"nodules": places(cones)}
    preprocessing = Preprocessing(standardise=False, roi_size=(16, 16), spacing_mm=spacing_mm)
    few, many = (
        infer_case(network, cones, preprocessing=preprocessing, samples_per_expert=s, **where) for s in (4, 25)
    )
    for lesion, expected in zip(few.lesions, many.lesions, strict=True):
        found, wanted = lesion.volume_ml, expected.volume_ml
        assert (found.p05, found.p50, found.p95) == (wanted.p05, wanted.p50, wanted.p95)
        assert found.p95 > found.samples.max()
        assert (found.samples.size, found.quantile_samples, wanted.quantile_samples) == (8, 50, 50)


def test_random_codes_and_deterministic_experts_have_no_further_samples(network, cones, raw_preprocessing):
    options = {"preprocessing": raw_preprocessing, "nodules": places(cones)}
    drawn = infer_case(network, cones, codes="random", **options)
    network.priors.log_std = None
    fixed = infer_case(network, cones, **options)
    assert {lesion.volume_ml.quantile_samples for lesion in (*drawn.lesions, *fixed.lesions)} == {8}


def test_what_is_not_cheap_is_not_drawn(network, cones, raw_preprocessing, monkeypatch):
    class OnceOnly(FurtherSamples):
        def __post_init__(self) -> None:
            super().__post_init__()
            self._left = 2 * self._left // 3

    monkeypatch.setattr(case_module, "FurtherSamples", OnceOnly)
    found = infer_case(network, cones, preprocessing=raw_preprocessing, region="full").lesions
    assert [lesion.volume_ml.quantile_samples for lesion in found] == [50, 8]


def test_a_part_of_the_windows_is_decoded_as_the_whole_is(infer_network, monkeypatch):
    noise = torch.randn(1, 40, 40, 6, generator=torch.Generator().manual_seed(0)) * 300 - 600
    sources: list[FurtherSamples] = []

    class Kept(FurtherSamples):
        def around(self, near: Box, class_index: int = 0) -> LesionSource | None:
            sources.append(self)
            return super().around(near, class_index)

    monkeypatch.setattr(case_module, "FurtherSamples", Kept)
    options = {"preprocessing": Preprocessing(roi_size=(32, 32)), "nodules": [(15.2, 15.2, 3.0)], "depth_mm": 3}
    image = MetaTensor(noise, affine=AFFINE * torch.tensor([-1, -1, 1, 1]).diag())
    infer_case(infer_network, image, **options)
    whole = infer_case(infer_network, image, samples_per_expert=25, **options).regions[0]
    near = Box((12, 9, 2), (20, 18, 4))
    part = replace(sources[0]).around(near).region
    assert part.box == near
    inside = near.slices_in(whole.box)
    np.testing.assert_array_equal(part.sample_bits, whole.sample_bits[inside])
    np.testing.assert_allclose(part.expert_means, whole.expert_means[inside], atol=1e-3)
