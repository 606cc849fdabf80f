from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mose_med.errors import ConfigError
from mose_med.networks import MoSE
from mose_med.networks.backbones.deeplab import DeepLabV3Plus


class OneLayer(nn.Module):
    """A backbone that pads nothing and pools its own global feature."""

    global_channels = 6
    dense_channels = 6
    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 6, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        dense = self.layer(image)
        return dense.mean(dim=(2, 3)), dense


@pytest.mark.parametrize("spatial", [(32, 48), (16, 16, 32)])
def test_deeplab_has_stride_sixteen_and_a_dense_feature_at_full_size(spatial: tuple[int, ...]):
    backbone = DeepLabV3Plus(len(spatial), 1, 12, layers=(1, 1, 1, 3)).eval()
    features = backbone(torch.randn(1, 1, *spatial))
    assert features.global_feature.shape == (1, 256, *(side // 16 for side in spatial))
    assert features.dense_feature.shape == (1, 12, *spatial)


def test_deeplab_dilates_its_last_stage():
    stage = DeepLabV3Plus(2, 1, 12, layers=(1, 1, 1, 3)).stages[3]
    assert [block.conv2.dilation for block in stage] == [(2, 2), (4, 4), (8, 8)]
    assert {module.stride for module in stage.modules() if isinstance(module, nn.Conv2d)} == {(1, 1)}


def test_network_on_deeplab_trains():
    torch.manual_seed(0)
    network = MoSE(channels=(12, 16), backbone="deeplabv3plus", num_experts=2)
    samples = network(torch.randn(1, 1, 33, 20), samples_per_expert=2)
    (samples.logits.square().mean() + samples.expert_probs.square().sum()).backward()
    assert samples.logits.shape == (1, 2, 2, 2, 33, 20)
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_any_module_can_be_the_backbone():
    samples = MoSE(backbone=OneLayer(), num_experts=3)(torch.randn(2, 1, 7, 5))
    assert samples.logits.shape == (2, 3, 4, 2, 7, 5)
    assert samples.expert_probs.shape == (2, 3)


def test_backbone_without_widths_is_named():
    with pytest.raises(ConfigError, match="backbone Conv2d must have the attribute global_channels"):
        MoSE(backbone=nn.Conv2d(1, 6, 3))


def test_levels_belong_to_the_unet():
    with pytest.raises(ConfigError, match=r"gating_level and noise_level apply only to backbone='unet', got \(0, -1\)"):
        MoSE(backbone="deeplabv3plus", gating_level=0)
