"""Parameters of the published networks, counted from their layers."""

from __future__ import annotations

from torch import nn

from mose_med.baselines.hierarchical_probabilistic_unet import HierarchicalProbabilisticUNet
from mose_med.baselines.hu_variability import HuVariability
from mose_med.baselines.phiseg import PHiSeg
from mose_med.baselines.probabilistic_unet import ProbabilisticUNet


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_probabilistic_unet_has_the_published_size():
    network = ProbabilisticUNet()
    assert count(network.encoder, network.decoder) == 9_230_880
    assert (count(network.prior), count(network.posterior), count(network.combine)) == (4_355_532, 4_356_108, 3_426)
    assert count(network) == 17_945_946


def test_hu_variability_has_the_size_of_its_trunk():
    assert count(HuVariability()) == 17_945_946


def test_hierarchical_probabilistic_unet_has_the_published_size_but_for_the_level_that_nothing_uses():
    network = HierarchicalProbabilisticUNet()
    unused = count(network.prior.decoder[-1])
    assert count(network.prior) == 10_692_800
    assert count(network.posterior) + unused == 10_693_064
    assert count(network.stitching, network.classify) == 491_366
    assert count(network) + unused == 21_877_230


def test_phiseg_has_the_published_size_but_for_the_maps_that_nothing_uses():
    network = PHiSeg()
    # Two 3x3 layers of 64 channels with scale and shift, for each finer level but the next.
    unused = (3 + 2 + 1) * 2 * (64 * 64 * 9 + 2 * 64)
    assert count(network.prior) + unused == 6_425_716
    assert count(network.posterior) + unused == 6_426_292
    assert count(network.likelihood) == 5_854_986
    assert count(network) + 2 * unused == 18_706_994


def test_the_published_hierarchical_latents_lie_at_1_2_4_and_8_cells_of_128_voxels():
    network = HierarchicalProbabilisticUNet()
    assert network.noise_dim == 1
    assert [(field.channels, 128 // field.stride) for field in network.noise_fields] == [(1, 2), (1, 4), (1, 8)]


def test_the_published_phiseg_latents_lie_at_2_to_32_cells_of_128_voxels():
    fields = PHiSeg().noise_fields
    assert [(field.channels, 128 // field.stride) for field in fields] == [(2, 2), (2, 4), (2, 8), (2, 16), (2, 32)]
