from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mose_med.errors import ConfigError
from mose_med.networks import MoSE
from mose_med.networks.backbones.deeplab import DeepLabV3Plus
from mose_med.networks.backbones.segresnet import SegResNetBackbone


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


@pytest.mark.parametrize(("backbone", "channels"), [("deeplabv3plus", 12), ("segresnet", 8)])
def test_a_network_on_another_backbone_trains(backbone: str, channels: int):
    torch.manual_seed(0)
    network = MoSE(channels=(channels, 16), backbone=backbone, num_experts=2)
    samples = network(torch.randn(1, 1, 33, 20), samples_per_expert=2)
    (samples.logits.square().mean() + samples.expert_probs.square().sum()).backward()
    assert samples.logits.shape == (1, 2, 2, 2, 33, 20)
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("spatial", [(16, 40), (8, 16, 24)])
def test_segresnet_has_stride_eight_and_a_dense_feature_at_full_size(spatial: tuple[int, ...]):
    backbone = SegResNetBackbone(len(spatial), 1, 12).eval()
    features = backbone(torch.randn(2, 1, *spatial))
    assert features.global_feature.shape == (2, 8 * 12, *(side // 8 for side in spatial))
    assert features.dense_feature.shape == (2, 12, *spatial)
    assert backbone.global_channels == 8 * 12


def test_images_of_segresnet_do_not_see_the_rest_of_their_batch():
    torch.manual_seed(0)
    backbone, image = SegResNetBackbone(2, 1, 12), torch.randn(3, 1, 16, 16)
    for alone, together in zip(backbone(image[:1])[:2], backbone(image)[:2], strict=True):
        torch.testing.assert_close(alone, together[:1])


def test_any_module_can_be_the_backbone():
    samples = MoSE(backbone=OneLayer(), num_experts=3)(torch.randn(2, 1, 7, 5))
    assert samples.logits.shape == (2, 3, 4, 2, 7, 5)
    assert samples.expert_probs.shape == (2, 3)


def test_backbone_without_widths_is_named():
    with pytest.raises(ConfigError, match="backbone Conv2d must have the attribute global_channels"):
        MoSE(backbone=nn.Conv2d(1, 6, 3))


@pytest.mark.parametrize(
    ("setting", "told"), [({"gating_level": 0}, "gating_level=0"), ({"dropout": 0.1}, "dropout=0.1")]
)
@pytest.mark.parametrize("backbone", ["deeplabv3plus", "segresnet"])
def test_settings_of_the_unet_belong_to_it(backbone: str, setting: dict[str, float], told: str):
    with pytest.raises(ConfigError, match=f"{told} applies only to backbone='unet'"):
        MoSE(backbone=backbone, **setting)
