from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, compute_importance_map

from mose_med.inferers import infer_case
from mose_med.inferers.boxes import Box
from mose_med.inferers.windows.blending import BlendedSlice, Prediction, blended_slices, interpolated_slice
from mose_med.inferers.windows.cutting import Window, oriented_volume
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from mose_med.resampling import interpolated_back
from mose_med.samples import ExpertSamples

BOX = Box((0, 0, 0), (12, 10, 1))
SIZE = (8, 6)
STARTS = ((0, 0), (4, 0), (0, 4), (4, 4))


def predictions(seed: int, sharpness: float) -> list[Prediction]:
    """Windows that overlap, each with random samples (3, 2) and random expert probabilities, some of them 0."""
    rng = np.random.default_rng(seed)
    result = []
    for start in STARTS:
        probs = rng.dirichlet(np.full(3, sharpness)) * (rng.random(3) < 0.8)
        probs = np.array([0, 1, 0]) if not probs.any() else probs / probs.sum()
        foreground = rng.random((3, 2, *SIZE)).astype(np.float32)
        result.append(Prediction(Window(0, start), foreground, probs.astype(np.float32)))
    return result


def blended_marginal(windows: list[Prediction], values: list[np.ndarray]) -> np.ndarray:
    """Mean of what the windows say, with Gaussian weights; the slow way."""
    importance = compute_importance_map(SIZE, mode="gaussian", sigma_scale=0.125, dtype=torch.float32).numpy()
    total, weight = np.zeros(BOX.shape[:2]), np.zeros(BOX.shape[:2])
    for window, value in zip(windows, values, strict=True):
        (i, j), (height, width) = window.window.start, SIZE
        total[i : i + height, j : j + width] += importance * value
        weight[i : i + height, j : j + width] += importance
    return total / weight


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), sharpness=st.floats(0.05, 5.0))
def test_the_marginal_of_the_blend_is_the_blend_of_the_marginals(seed: int, sharpness: float):
    windows = predictions(seed, sharpness)
    (blend,) = blended_slices(iter(windows), BOX)
    means = blend.foreground.mean(axis=1).astype(np.float16).astype(np.float32)
    probs = blend.expert_probs.astype(np.float16).astype(np.float32)
    marginals = [np.einsum("k,kij->ij", one.expert_probs, one.foreground.mean(axis=1)) for one in windows]
    expected = blended_marginal(windows, marginals)
    np.testing.assert_allclose((probs * means).sum(axis=0) / probs.sum(axis=0), expected, atol=2e-3)


def test_an_expert_that_no_window_gives_a_chance_keeps_the_plain_mean():
    windows = [one._replace(expert_probs=np.array([0, 1, 0], np.float32)) for one in predictions(3, 1.0)]
    (blend,) = blended_slices(iter(windows), BOX)
    expected = blended_marginal(windows, [one.foreground[0].mean(axis=0) for one in windows])
    np.testing.assert_allclose(blend.foreground[0].mean(axis=0), expected, atol=1e-5)
    np.testing.assert_allclose(blend.expert_probs[0], 0, atol=1e-6)


class HalvesDiffer(MoSE):
    """A window sure of the first expert, which sees all, where it is bright; else of the second, which sees none."""

    def forward(self, image, samples_per_expert=None, generator=None, latents=None):
        sure = (image.mean(dim=(1, 2, 3)) > 0).float()
        foreground = (40 * torch.stack([sure, sure], dim=1) - 20)[:, :, None, None, None]
        foreground = foreground.expand(-1, -1, latents.shape[1], *image.shape[2:])
        return ExpertSamples(
            torch.stack([torch.zeros_like(foreground), foreground], dim=3), torch.stack([sure, 1 - sure], dim=1)
        )


@pytest.mark.parametrize("spacing_mm", [None, 0.8])
def test_windows_that_are_both_sure_of_nothing_or_all_add_up_to_their_share(spacing_mm: float | None):
    values = torch.where(torch.arange(48)[:, None, None] < 24, 500.0, -500.0).expand(48, 16, 2)[None].clone()
    network = HalvesDiffer(channels=(4, 8), num_experts=2).eval()
    preprocessing = Preprocessing(standardise=False, roi_size=(16, 16), spacing_mm=spacing_mm)
    image = MetaTensor(values, affine=torch.eye(4))
    result = infer_case(network, image, preprocessing=preprocessing, region="full", overlap=0.5)
    np.testing.assert_allclose(result.dense("probability"), result.dense("expert_probs")[..., 0], atol=2e-3)
    within = result.dense("entropy") - result.dense("entropy_between_experts")
    np.testing.assert_allclose(within, 0, atol=1e-2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), wanted=st.floats(0.5, 1.8))
def test_the_marginal_comes_back_from_another_spacing_as_if_it_were_brought_back_itself(seed: int, wanted: float):
    image = MetaTensor(torch.zeros(1, 12, 10, 1), affine=torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])))
    volume = oriented_volume(image, "LPS", wanted)
    box = Box((0, 0, 0), (volume.grid.shape[0], volume.grid.shape[1], 1))
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(3, 0.2), size=box.shape[:2]).transpose(2, 0, 1).astype(np.float32)
    foreground = rng.random((3, 2, *box.shape[:2])).astype(np.float32)
    place = (volume.grid, (0, 0), (0, 0), (12, 10))
    back = interpolated_slice(BlendedSlice(0, foreground, probs), *place)
    marginal = np.einsum("kij,kij->ij", probs, foreground.mean(axis=1))
    expected = interpolated_back(marginal[None], *place)[0]
    np.testing.assert_allclose((back.foreground.mean(axis=1) * back.expert_probs).sum(axis=0), expected, atol=1e-5)
