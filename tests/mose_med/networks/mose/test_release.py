"""The published network, written down a second time from its description, with every map expanded per sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mose_med.errors import ConfigError, DataError, MoseError
from mose_med.networks import load_release_checkpoint

KEYS = Path(__file__).parent / "release_checkpoint_keys.json"
SHAPES = {"lidc": (4, 1, 1, 2), "cityscapes": (35, 5, 4, 25)}


def random_state(name: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in json.loads(KEYS.read_text(encoding="utf-8"))[name].items():
        value = torch.randn(shape, generator=generator)
        if key.endswith("running_var"):
            value = value.abs() + 0.5
        elif key.endswith("num_batches_tracked"):
            value = torch.tensor(7)
        elif value.ndim > 1 and key not in ("mu", "log_sigma"):
            value = value * (2 / value[0].numel()) ** 0.5
        state[key] = value
    return state


def conv_norm_relu(state: dict[str, Tensor], conv: str, norm: str, x: Tensor) -> Tensor:
    weight = state[f"{conv}.weight"]
    x = F.conv2d(x, weight, state[f"{conv}.bias"], padding=weight.shape[-1] // 2)
    mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
    return F.relu(F.batch_norm(x, mean, var, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=1e-3))


def block(state: dict[str, Tensor], prefix: str, first: int, x: Tensor) -> Tensor:
    for position in range(first, first + 9, 3):
        x = conv_norm_relu(state, f"{prefix}.{position}", f"{prefix}.{position + 1}", x)
    return x


def backbone(state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    skips = []
    for level in range(7):
        x = F.avg_pool2d(x, 2, 2, ceil_mode=True) if level else x
        x = block(state, f"backbone.contracting_path.{level}.layers", int(level > 0), x)
        skips.append(x)
    coarse = skips.pop()
    for depth in range(6):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = block(state, f"backbone.upsampling_path.{depth}.conv_block.layers", 0, torch.cat([x, skips.pop()], dim=1))
    return coarse, x


def release_forward(state: dict[str, Tensor], image: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K, S, C, H, W) and expert probabilities (B, K) of codes (B, K, S, L)."""
    coarse, dense = backbone(state, image)
    x = coarse.mean(dim=(2, 3))
    for position in (0, 2):
        x = F.relu(F.linear(x, state[f"gating.fc_layer.{position}.weight"], state[f"gating.fc_layer.{position}.bias"]))
    probs = torch.softmax(x @ state["gating.fc_layer.4.weight"].T, dim=1)
    z = codes.flatten(0, 2)
    shift = F.linear(z, state["fuse.residual.weight"], state["fuse.residual.bias"])[:, :, None, None]
    scale = F.linear(z, state["fuse.scale.weight"], state["fuse.scale.bias"])[:, :, None, None]
    samples = codes.shape[1] * codes.shape[2]
    x = (dense.repeat_interleave(samples, dim=0) + shift) * (scale + 1e-5)
    x = F.conv2d(x, state["fuse.last_layer.weight"], state["fuse.last_layer.bias"])
    for layer in range(3):
        prefix = f"layers.convolution.{layer}.convolution"
        x = conv_norm_relu(state, f"{prefix}.0", f"{prefix}.1", x)
    logits = F.conv2d(x, state["last_layer.weight"], state["last_layer.bias"])
    return logits.unflatten(0, codes.shape[:3]), probs


@pytest.mark.parametrize(("name", "prefix"), [("lidc", "module."), ("cityscapes", "")])
def test_reproduces_the_release_for_given_codes(tmp_path: Path, name: str, prefix: str):
    state = random_state(name)
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "weights.pth")
    experts, latent_dim, in_channels, _ = SHAPES[name]
    network = load_release_checkpoint(tmp_path / "weights.pth", *SHAPES[name])
    image, codes = torch.randn(2, in_channels, 64, 64), torch.randn(2, experts, 1, latent_dim)
    with torch.no_grad():
        samples = network(image, latents=codes)
        logits, probs = release_forward(state, image, codes)
    assert not network.training
    torch.testing.assert_close(samples.logits, logits, rtol=1e-4, atol=1e-4 * float(logits.std()))
    torch.testing.assert_close(samples.expert_probs, probs, rtol=1e-4, atol=1e-4)


def test_other_architecture_is_named(tmp_path: Path):
    torch.save(random_state("cityscapes"), tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"has backbone.encoder.0.0.conv.weight of shape .*: set num_experts, "):
        load_release_checkpoint(tmp_path / "weights.pth")


def test_stranger_entry_is_named(tmp_path: Path):
    torch.save({**random_state("lidc"), "extra": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="has an unknown entry 'extra': is it a MoSE state dict"):
        load_release_checkpoint(tmp_path / "weights.pth")


def test_missing_entry_is_named(tmp_path: Path):
    state = random_state("lidc")
    del state["mu"]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"lacks entry 'priors\.mean'"):
        load_release_checkpoint(tmp_path / "weights.pth")


def test_memory_that_runs_out_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def load(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory")

    torch.save(random_state("lidc"), tmp_path / "weights.pth")
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MoseError, match=r"memory ran out while release checkpoint .*weights\.pth was read"):
        load_release_checkpoint(tmp_path / "weights.pth")


def test_missing_and_damaged_files_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_release_checkpoint(tmp_path / "weights.pth")
    (tmp_path / "weights.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="cannot be read"):
        load_release_checkpoint(tmp_path / "weights.pth")


def test_nested_checkpoint_is_named(tmp_path: Path):
    torch.save({"model": random_state("lidc")}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="must be a bare state dict of tensors, got dict"):
        load_release_checkpoint(tmp_path / "weights.pth")
