from __future__ import annotations

import pytest
import torch

from mose_med.networks.backbones.unet import UNet


@pytest.mark.parametrize("channels", [(4, 6), (4, 6, 8), (3, 4, 5, 6, 7)])
def test_levels_halve_the_image(channels: tuple[int, ...]):
    network = UNet(2, 1, channels)
    features = network(torch.randn(2, 1, 2 * network.stride, network.stride))
    assert features.global_feature.shape == (2, channels[-1], 2, 1)
    assert features.dense_feature.shape == (2, channels[0], 2 * network.stride, network.stride)


def test_initial_weights_follow_the_release():
    torch.manual_seed(0)
    conv = UNet(2, 1, (64, 64)).encoder[0][1].conv
    torch.testing.assert_close(conv.weight.std(), torch.tensor((2 / (64 * 9)) ** 0.5), rtol=0.02, atol=0)
    assert 0 < conv.bias.abs().max() <= 2e-3


def test_batch_norm_follows_the_release():
    norms = [module for module in UNet(3, 1, (4, 4)).modules() if isinstance(module, torch.nn.BatchNorm3d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
