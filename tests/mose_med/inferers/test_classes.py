"""Several foreground classes, against the network's own answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mose_med.ct_image import CtImage
from mose_med.errors import ConfigError
from mose_med.inferers import CaseDistribution, infer_case
from mose_med.networks import MoSE
from mose_med.networks.protocol import standard_deviates
from mose_med.preprocessing import Preprocessing

NAMES = ("solid", "ground glass")
PREPROCESSING = Preprocessing(roi_size=(16, 16))


@pytest.fixture
def network() -> MoSE:
    torch.manual_seed(4)
    network = MoSE(channels=(4, 8), num_experts=3, out_channels=3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)  # so that all classes are likely somewhere
    return network


@pytest.fixture
def image() -> CtImage:
    """One slice of one window."""
    torch.manual_seed(4)
    return CtImage(200 * torch.randn(1, 16, 16, 1) - 500, torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])).double())


@pytest.fixture
def case(network: MoSE, image: CtImage) -> CaseDistribution:
    return infer_case(
        network,
        image,
        preprocessing=PREPROCESSING,
        region="full",
        classes=NAMES,
        num_standard=12,
        lesion_threshold=0.3,
        min_lesion_ml=0.0,
    )


def answer(network: MoSE, image: CtImage) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (K, S, C, i, j) at the codes of a case, and expert probabilities (K,)."""
    deviates = standard_deviates(network, 4, choice="quadrature")[0]
    with torch.no_grad():
        samples = network.samples_from(PREPROCESSING(image.tensor[..., 0])[None], deviates)
    return samples.logits[0].softmax(dim=2).numpy(), samples.expert_probs[0].numpy()


def test_maps_are_the_probabilities_and_the_likeliest_class_of_every_sample(network, image, case):
    probs, experts = answer(network, image)
    for number, mark in enumerate(("solid", "ground-glass"), start=1):
        marginal = np.einsum("k,ksij->ij", experts, probs[:, :, number]) / 4
        np.testing.assert_allclose(case.dense(f"probability_class-{mark}")[..., 0], marginal, atol=2e-3)
        for k in range(3):
            masks = case.dense(f"expert-{k + 1}_samples_class-{mark}")[..., 0, :]
            likeliest = (probs[k].argmax(axis=1) == number).transpose(1, 2, 0)
            assert (masks == likeliest).mean() > 0.99
    assert [name for name in case.names if name.startswith("expert_probs")] == ["expert_probs"]


def test_masks_of_the_standard_form_share_no_voxel_either(case):
    solid, glass = (case.dense(f"samples_class-{mark}") for mark in ("solid", "ground-glass"))
    assert solid.shape == (16, 16, 1, 12)
    assert solid.any()
    assert glass.any()
    assert not (solid & glass).any()


def test_lesions_of_all_classes_are_numbered_by_volume(case):
    assert {lesion.label for lesion in case.lesions} == set(NAMES)
    sizes = [int(lesion.component.mask.sum()) for lesion in case.lesions]
    assert sizes == sorted(sizes, reverse=True)
    assert [lesion.number for lesion in case.lesions] == list(range(1, len(sizes) + 1))


def test_an_order_of_the_classes_changes_their_names_alone(network, image, case):
    other = infer_case(network, image, preprocessing=PREPROCESSING, region="full", classes=NAMES[::-1])
    np.testing.assert_array_equal(other.dense("probability_class-ground-glass"), case.dense("probability_class-solid"))


@pytest.mark.parametrize("names", [("nodule",), ("a", "b", "c")])
def test_every_class_must_have_a_name(network, image, names: tuple[str, ...]):
    with pytest.raises(
        ConfigError, match=f"classes must name the 2 foreground classes of the network, got {len(names)}"
    ):
        infer_case(network, image, preprocessing=PREPROCESSING, region="full", classes=names)
