from __future__ import annotations

import pytest
import torch

from mose_med.errors import ConfigError
from mose_med.networks import MoSE
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


def test_dropout_takes_whole_channels_of_the_centre_and_scales_the_others():
    torch.manual_seed(0)
    plain, dropping = UNet(2, 1, (4, 6, 8, 32)).eval(), UNet(2, 1, (4, 6, 8, 32), dropout=0.25).eval()
    dropping.load_state_dict(plain.state_dict())
    image = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(dropping(image).dense_feature, plain(image).dense_feature, rtol=0, atol=0)

    dropping.dropout.train()
    found, whole = dropping(image).global_feature, plain(image).global_feature
    gone = (found == 0).all(dim=(2, 3)) & (whole > 0).any(dim=(2, 3))
    assert 0 < gone.sum() < gone.numel()
    # The level before loses channels too: what is left differs from the plain map by more than the factor.
    assert not torch.allclose(found[~gone], whole[~gone] / 0.75)


def test_dropout_leaves_the_finest_levels_alone():
    torch.manual_seed(0)
    network = UNet(2, 1, (4, 6, 8, 32), gating_level=1, dropout=0.9).eval()
    image = torch.randn(1, 1, 16, 16)
    expected = network(image).global_feature
    network.dropout.train()
    torch.testing.assert_close(network(image).global_feature, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_probability(dropout: float):
    with pytest.raises(ConfigError, match=rf"dropout must be in \[0, 1\), got {dropout}"):
        MoSE(channels=(4, 8), dropout=dropout)
