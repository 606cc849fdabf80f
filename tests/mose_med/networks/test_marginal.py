from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mose_med.networks import MarginalMoSE, MoSE

SETTINGS = {"channels": (16, 20, 24), "num_experts": 3, "out_channels": 4}


def marginal(**settings: object) -> MarginalMoSE:
    torch.manual_seed(0)
    return MarginalMoSE(**{**SETTINGS, **settings}).eval()


def test_has_the_state_dict_of_the_sampling_network():
    torch.manual_seed(1)
    sampling = MoSE(**SETTINGS).eval()
    network = marginal()
    network.load_state_dict(sampling.state_dict())
    image = torch.randn(2, 1, 8, 8)
    codes = sampling.priors.mean[:, None] + sampling.priors.std()[:, None] * network.deviates
    weighted = sampling(image, latents=codes).weighted()
    expected = (weighted.logits.softmax(dim=2) * weighted.weights[:, :, None, None, None]).sum(dim=1)
    torch.testing.assert_close(network(image), expected)


def test_output_is_deterministic_and_sums_to_one():
    image = torch.randn(2, 1, 9, 7)
    probs = marginal()(image)
    torch.testing.assert_close(probs, marginal()(image))
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(2, 9, 7))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"head": "paper"},
        {"noise_level": 0, "gating_level": 0},
        {"spatial_dims": 3},
        {"dropout": 0.1},
        {"backbone": "segresnet", "channels": (8, 16)},
        {"backbone": "deeplabv3plus"},
        {"gating": "uniform", "experts": "deterministic"},
        {"num_experts": 2, "expert_groups": (0, 1, 1)},
    ],
)
def test_can_be_scripted(settings: dict[str, object]):
    network = marginal(**settings)
    spatial = (9, 8) if network.spatial_dims == 2 else (6, 5, 4)
    image = torch.randn(2, 1, *spatial)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(network)(image), network(image), rtol=1e-4, atol=1e-5)


def test_can_be_exported():
    network, image = marginal(), torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        exported = torch.export.export(network, (image,)).module()
        torch.testing.assert_close(exported(image), network(image), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_can_be_exported_to_onnx(tmp_path: Path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network, image = marginal(), torch.randn(1, 1, 8, 8)
    program = torch.onnx.export(network, (image,), input_names=["image"], output_names=["pred"], verbose=False)
    program.save(tmp_path / "marginal.onnx")
    (pred,) = runtime.InferenceSession(tmp_path / "marginal.onnx").run(None, {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(pred), network(image).detach(), rtol=1e-4, atol=1e-5)
