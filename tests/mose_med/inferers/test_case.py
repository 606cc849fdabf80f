from __future__ import annotations

import threading
import time
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.errors import ConfigError, DataError
from mose_med.inferers import case as case_module
from mose_med.inferers import infer_case, nodule_windows
from mose_med.inferers.noise import case_seed
from mose_med.inferers.sampling import RegionSampler
from mose_med.io import read_ct
from mose_med.networks import MoSE
from mose_med.networks.priors import quadrature_deviates
from mose_med.preprocessing import Preprocessing

AFFINE = np.array([[-0.7, -0.6 * 0.05 / 0.7, 0, 12], [0.05, -0.6, 0, 20], [0, 0, 2, -100], [0, 0, 0, 1]])
CODES = ["".join(code) for axes in permutations(("LR", "PA", "IS")) for code in product(*axes)]


def at(*index: float) -> list[float]:
    return (AFFINE @ [*index, 1])[:3].tolist()


@pytest.fixture
def image() -> MetaTensor:
    values = torch.randn(1, 30, 28, 9, generator=torch.Generator().manual_seed(0)) * 300 - 600
    return MetaTensor(values, affine=torch.from_numpy(AFFINE))


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing(window_hu=(-1000, 400), roi_size=(16, 16))


def test_maps_are_what_the_network_says_of_the_window(infer_network, image, preprocessing):
    place, options = [at(12, 13, 4)], {"depth_mm": 2, "codes": "random"}
    result = infer_case(infer_network, image, preprocessing=preprocessing, nodules=place, **options)
    inputs, windows = nodule_windows(image, at(12, 13, 4), preprocessing, depth_mm=2)
    seed = case_seed(0, image.numpy()[0])
    latents = infer_network.draw_latents(1, 4, torch.Generator().manual_seed(seed))[0]
    with torch.inference_mode():
        logits, expert_probs = infer_network(inputs, latents=latents)
    foreground = logits.softmax(dim=3)[:, :, :, 1].movedim(0, -1).numpy()
    assert windows[0] == (3, (4, 5))
    here = (slice(4, 20), slice(5, 21), slice(3, 6))
    for k in range(2):
        mean = result.dense(f"expert-{k + 1}_foreground_probability")
        np.testing.assert_allclose(mean[here], foreground[k].mean(axis=0), atol=1e-3)
        masks = result.dense(f"expert-{k + 1}_samples")[here]
        np.testing.assert_array_equal(np.moveaxis(masks, -1, 0), foreground[k] > 0.5)
        assert np.count_nonzero(mean) == mean[here].size
    probs = result.dense("expert_probs")[here]
    np.testing.assert_allclose(probs, np.broadcast_to(expert_probs.numpy()[None, None], probs.shape), atol=1e-3)
    marginal = np.einsum("dk,ksijd->ijd", expert_probs.numpy(), foreground) / 4
    np.testing.assert_allclose(result.dense("probability")[here], marginal, atol=2e-3)


def test_entropy_is_that_of_the_marginal_and_exceeds_its_part(infer_network, image, preprocessing):
    result = infer_case(infer_network, image, preprocessing=preprocessing, nodules=[at(12, 13, 4)])
    p = result.dense("probability").astype(np.float64)
    inside = p > 0
    expected = -(p[inside] * np.log(p[inside]) + (1 - p[inside]) * np.log(1 - p[inside]))
    np.testing.assert_allclose(result.dense("entropy")[inside], expected, atol=1e-5)
    between = result.dense("entropy_between_experts")
    assert (between >= 0).all()
    assert (between <= result.dense("entropy") + 1e-6).all()
    assert not result.dense("entropy")[~inside].any()
    np.testing.assert_array_equal(result.dense("consensus"), p > 0.5)


def test_same_seed_same_samples_and_another_seed_others(infer_network, image, preprocessing):
    with torch.no_grad():
        infer_network.priors.log_std.fill_(1.0)
    place = [at(12, 13, 4)]
    first, again, other = (
        infer_case(infer_network, image, preprocessing=preprocessing, nodules=place, seed=seed, codes="random")
        for seed in (3, 3, 4)
    )
    name = "expert-1_foreground_probability"
    np.testing.assert_array_equal(first.dense(name), again.dense(name))
    assert (first.dense(name) != other.dense(name)).any()


def test_quadrature_points_are_the_samples_of_every_seed(bright_voxels, image, raw_preprocessing):
    with torch.no_grad():
        bright_voxels.priors.log_std.fill_(0.5)
    one, other = (
        infer_case(
            bright_voxels, image, preprocessing=raw_preprocessing, nodules=[at(12, 13, 4)], seed=seed, num_standard=5
        )
        for seed in (3, 4)
    )
    codes, here = bright_voxels.priors.at(quadrature_deviates(4, 1))[1, :, 0].tolist(), (slice(4, 20), slice(5, 21))
    for result in (one, other):
        for s, code in enumerate(codes):
            expected = image.numpy()[0][here] > -300 - 100 * code
            np.testing.assert_array_equal(result.dense("expert-2_samples")[here][..., s], expected)
    assert (one.dense("samples") != other.dense("samples")).any()


def test_batch_size_and_the_callers_random_state_are_irrelevant(infer_network, image, preprocessing):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    results = [
        infer_case(infer_network, image, preprocessing=preprocessing, nodules=[at(12, 13, 4)], sw_batch_size=size)
        for size in (1, 16)
    ]
    torch.testing.assert_close(torch.get_rng_state(), state)
    one, other = (result.dense("probability") for result in results)
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_positions_whose_windows_overlap_keep_regions_of_their_own(bright_voxels, image, raw_preprocessing):
    positions = [at(10, 10, 4), at(16, 12, 4)]
    near = infer_case(bright_voxels, image, preprocessing=raw_preprocessing, nodules=positions, depth_mm=0)
    assert [region.box for region in near.regions] == [((2, 2, 4), (18, 18, 5)), ((8, 4, 4), (24, 20, 5))]
    looked = near.dense("expert_probs").sum(axis=-1)
    np.testing.assert_allclose(looked[2:18, 2:18, 4], 1, atol=1e-3)
    np.testing.assert_allclose(looked[8:24, 4:20, 4], 1, atol=1e-3)
    np.testing.assert_array_equal(looked[2:8, 18:20, 4], 0)


def test_regions_apart_stay_apart_and_lesions_keep_the_order_of_the_list(bright_voxels, image, raw_preprocessing):
    small = Preprocessing(standardise=False, roi_size=(8, 8))
    positions = [at(24, 22, 4), at(5, 5, 4), at(23, 21, 4)]
    result = infer_case(bright_voxels, image, preprocessing=small, nodules=positions, depth_mm=2)
    assert len(result.regions) == 3
    assert [lesion.number for lesion in result.lesions] == [1, 2, 3]
    assert not result.regions[0].box.overlaps(result.regions[1].box)
    np.testing.assert_allclose([lesion.position_mm for lesion in result.lesions], positions)


@pytest.mark.parametrize("code", CODES)
def test_all_48_orientations_give_the_same_lesion_in_mm(bright_voxels, raw_preprocessing, tmp_path: Path, code: str):
    values = np.full((24, 22, 9), -900, dtype=np.float32)
    values[10:14, 8:11, 3:6] = 0
    volume = nib.Nifti1Image(values, AFFINE)
    steps = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(code))
    nib.save(volume.as_reoriented(steps), tmp_path / "ct.nii")
    image = read_ct(tmp_path / "ct.nii")
    result = infer_case(bright_voxels, image, preprocessing=raw_preprocessing, nodules=[at(11, 9, 4)])
    (lesion,) = result.lesions
    np.testing.assert_allclose(lesion.centroid_mm, at(11.5, 9, 4), atol=1e-4)
    np.testing.assert_allclose(lesion.volume_ml.mean, 36 * abs(np.linalg.det(AFFINE)) / 1000, rtol=1e-5)
    np.testing.assert_array_equal(result.dense("consensus"), image.numpy()[0] == 0)
    np.testing.assert_array_equal(result.dense("expert-2_samples")[..., 3], image.numpy()[0] == 0)


@pytest.mark.parametrize("spacing_mm", [0.4, 0.65, 1.0])
def test_windows_of_another_spacing_give_the_same_lesion(bright_voxels, spacing_mm: float):
    i, j, k = np.meshgrid(np.arange(50), np.arange(44), np.arange(9), indexing="ij")
    ball = ((i - 24) * 0.7) ** 2 + ((j - 20) * 0.6) ** 2 + ((k - 4) * 2.0) ** 2 <= 6**2
    image = MetaTensor(torch.from_numpy(np.where(ball, 0, -600)[None]).float(), affine=torch.from_numpy(AFFINE))
    (own, other) = (
        infer_case(
            bright_voxels,
            image,
            preprocessing=Preprocessing(standardise=False, roi_size=(48, 48), spacing_mm=mm),
            nodules=[at(24, 20, 4)],
        )
        for mm in (None, spacing_mm)
    )
    np.testing.assert_allclose(other.lesions[0].centroid_mm, own.lesions[0].centroid_mm, atol=0.05)
    np.testing.assert_allclose(other.lesions[0].volume_ml.mean, own.lesions[0].volume_ml.mean, rtol=0.06)
    np.testing.assert_allclose(other.dense("expert_probs").sum(axis=-1).max(), 1, atol=1e-3)
    looked = other.dense("expert_probs").any(axis=-1)[..., 4].sum() * 0.7 * 0.6
    np.testing.assert_allclose(looked, min(48 * spacing_mm, 35) * min(48 * spacing_mm, 26.4), rtol=0.1)


@pytest.mark.parametrize(("precision", "reduced"), [("fp32", False), ("bf16", True)])
def test_the_network_computes_in_the_precision_that_is_asked_for(
    infer_network, image, preprocessing, precision: str, reduced: bool
):
    found: list[bool] = []
    infer_network.backbone.register_forward_pre_hook(lambda *_: found.append(torch.is_autocast_enabled("cpu")))
    places = [at(12, 13, 4), at(14, 13, 5)]
    infer_case(infer_network, image, preprocessing=preprocessing, nodules=places, precision=precision)
    assert set(found) == {reduced}


def test_the_next_region_is_sampled_while_lesions_are_measured(bright_voxels, image, raw_preprocessing, monkeypatch):
    begun, second, sample, measure = [], threading.Event(), RegionSampler.regions, case_module.find_lesions

    def begin(*arguments: Any) -> Any:
        begun.append(arguments)
        if len(begun) == 2:
            second.set()
        return sample(*arguments)

    def measure_after_the_second_began(*arguments: Any, **named: Any) -> Any:
        assert second.wait(timeout=20)
        return measure(*arguments, **named)

    monkeypatch.setattr(RegionSampler, "regions", begin)
    monkeypatch.setattr(case_module, "find_lesions", measure_after_the_second_began)
    places = [at(12, 13, 4), at(14, 13, 5)]
    result = infer_case(bright_voxels, image, preprocessing=raw_preprocessing, nodules=places)
    assert [lesion.number for lesion in result.lesions] == [1, 2]


def test_an_error_of_measuring_waits_for_the_region_that_is_sampled(
    bright_voxels, image, raw_preprocessing, monkeypatch
):
    begun, ended, second, sample = [], [], threading.Event(), RegionSampler.regions

    def slow_after_the_first(*arguments: Any) -> Any:
        begun.append(arguments)
        if len(begun) == 2:
            second.set()
            time.sleep(0.2)
        ended.append(sample(*arguments))
        return ended[-1]

    def fail(*_: Any, **__: Any) -> Any:
        second.wait(timeout=20)
        raise DataError("cannot be measured")

    monkeypatch.setattr(RegionSampler, "regions", slow_after_the_first)
    monkeypatch.setattr(case_module, "find_lesions", fail)
    places = [at(12, 13, 4), at(14, 13, 5), at(9, 10, 3)]
    with pytest.raises(DataError, match="cannot be measured") as error:
        infer_case(bright_voxels, image, preprocessing=raw_preprocessing, nodules=places)
    assert len(begun) == len(ended) == 2
    assert error.traceback  # as long as it is kept, nothing that its frames hold ends by itself


def test_training_mode_is_left_as_it_was(image, preprocessing):
    network = MoSE(channels=(4, 8), num_experts=2).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    infer_case(network, image, preprocessing=preprocessing, nodules=[at(12, 13, 4)], depth_mm=0)
    assert network.training
    torch.testing.assert_close(dict(network.state_dict()), before)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_network_keeps_the_memory_format_it_came_in(memory_format, image, preprocessing):
    network = MoSE(channels=(4, 8), num_experts=2).to(memory_format=memory_format)
    before = [(parameter.data_ptr(), parameter.stride()) for parameter in network.parameters()]
    infer_case(network, image, preprocessing=preprocessing, nodules=[at(12, 13, 4)], depth_mm=0)
    assert [(parameter.data_ptr(), parameter.stride()) for parameter in network.parameters()] == before


def test_a_part_that_was_frozen_stays_frozen(image, preprocessing):
    network = MoSE(channels=(4, 8), num_experts=2).train()
    network.backbone.eval()
    infer_case(network, image, preprocessing=preprocessing, nodules=[at(12, 13, 4)], depth_mm=0)
    assert network.training
    assert not any(module.training for module in network.backbone.modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples_per_expert": 0}, "samples_per_expert must be >= 1, got 0"),
        ({"codes": "sobol"}, "codes must be 'quadrature' or 'random', got 'sobol'"),
        ({"sw_batch_size": 0}, "sw_batch_size must be >= 1, got 0"),
        ({"num_standard": -1}, "num_standard must be >= 0, got -1"),
        ({"reach_mm": float("nan")}, "reach_mm must be >= 0, got nan"),
        ({"depth_mm": -1.0}, "depth_mm must be >= 0, got -1"),
        ({"overlap": 1.0}, "overlap must be >= 0 and < 1, got 1.0"),
        ({"overlap": -0.1}, "overlap must be >= 0 and < 1, got -0.1"),
        ({"lesion_threshold": 0.0}, "lesion_threshold must be > 0 and < 1, got 0.0"),
        ({"min_lesion_ml": -1.0}, "min_lesion_ml must be >= 0, got -1.0"),
        ({"region": "liver"}, "region must be 'nodules', 'lungs' or 'full', got 'liver'"),
        ({"region": "nodules", "nodules": None}, "nodules must be given with region 'nodules', got None: or search"),
        ({"region": "full"}, "nodules apply only to region 'nodules', got region 'full': give one of them"),
        ({"lungs": np.ones((30, 28, 9), bool)}, "lungs, a mask, applies only to region 'lungs', got region 'nodules'"),
    ],
)
def test_bad_arguments_are_named(infer_network, image, preprocessing, arguments, message):
    with pytest.raises(ConfigError, match=message):
        infer_case(infer_network, image, **{"preprocessing": preprocessing, "nodules": [at(12, 13, 4)]} | arguments)


def test_networks_for_something_else_are_refused(image, preprocessing):
    network = MoSE(channels=(4, 8), in_channels=3)
    with pytest.raises(ConfigError, match="in_channels of the network must be 1 for slices of CT, got 3"):
        infer_case(network, image, preprocessing=preprocessing, nodules=[at(12, 13, 4)])


def test_a_nodule_outside_the_image_is_refused(infer_network, image, preprocessing):
    with pytest.raises(DataError, match=r"nodule 1 at .* lies outside the image"):
        infer_case(infer_network, image, preprocessing=preprocessing, nodules=[at(12, 13, 40)])


def test_unknown_maps_are_refused(infer_network, image, preprocessing):
    result = infer_case(infer_network, image, preprocessing=preprocessing, nodules=[at(12, 13, 4)], depth_mm=0)
    with pytest.raises(ConfigError, match=r"name must be one of expert-1_samples, .*, got 'heat'"):
        result.dense("heat")
