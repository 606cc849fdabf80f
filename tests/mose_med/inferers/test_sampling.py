"""The marginal alone is that of the region."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mose_med.ct_image import CtImage
from mose_med.inferers.boxes import Box
from mose_med.inferers.noise import draw_case_noise
from mose_med.inferers.sampling import RegionSampler
from mose_med.inferers.windows.asked_regions import searched_region
from mose_med.inferers.windows.cutting import oriented_volume
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from mose_med.samples import ExpertSamples


class Shades(MoSE):
    """Logits of a voxel grow with its value and the code, faster for every further class; the gating varies."""

    def forward(self, image, samples_per_expert=None, generator=None, latents=None):
        shade = image[:, :, None] + latents[..., 0][None, :, :, None, None]
        logits = torch.stack([shade * number for number in range(self.out_channels)], dim=3)
        return ExpertSamples(logits, image.mean(dim=(1, 2, 3))[:, None].mul(torch.arange(3) * 20.0).softmax(dim=1))


@pytest.mark.parametrize("orientation", ["LPS", "SAR"])
@pytest.mark.parametrize("spacing_mm", [None, 1.7])
@pytest.mark.parametrize("classes", [1, 2])
def test_a_marginal_is_that_of_the_region(orientation: str, spacing_mm: float | None, classes: int):
    network = Shades(channels=(4, 8), num_experts=3, out_channels=classes + 1).eval()
    values = torch.randn(1, 40, 36, 30, generator=torch.Generator().manual_seed(0))
    image = CtImage(values * 300, torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])))
    preprocessing = Preprocessing(roi_size=(16, 16), orientation=orientation, spacing_mm=spacing_mm)
    volume = oriented_volume(image, preprocessing.orientation, preprocessing.spacing_mm)
    sampler = RegionSampler(network, volume, preprocessing, num_classes=classes)
    asked = searched_region(volume, None, preprocessing.roi_size, 0.5)
    noise = draw_case_noise(network, 2, 0, 5, "random")
    box, marginals = sampler.marginals(asked.windows, asked.box, noise, 0.125)
    regions = sampler.regions(asked.windows, asked.box, noise, sampler.storage([asked.box], noise))
    assert box == Box((0, 0, 0), (40, 36, 30))
    for marginal, region in zip(marginals, regions, strict=True):
        assert region.box == box
        np.testing.assert_allclose(marginal.astype(np.float32), region.probability(), atol=2e-3)
    assert all(marginal.astype(np.float32).std() > 0.02 for marginal in marginals)
