"""Weights as the authors of MoSE published them.

Their files are bare state dicts, each name behind ``module.``. Every tensor is one of ours under another name; 1x1
convolutions are linear layers here, so trailing axes of length one go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mose_med.errors import ConfigError
from mose_med.networks.mose.network import MoSE
from mose_med.runtime.tensor_files import load_tensors

__all__ = ["load_release_checkpoint", "translate_release_state"]

_LAYERS_PER_CONV = 3  # convolution, batch norm, ReLU
_RENAMES = (
    (r"^mu$", "priors.mean"),
    (r"^log_sigma$", "priors.log_std"),
    (r"^gating\.fc_layer\.", "gating.layers."),
    (r"^fuse\.residual\.", "noise.shift."),
    (r"^fuse\.scale\.", "noise.scale."),
    (r"^fuse\.last_layer\.", "head.expand."),
    (r"^layers\.convolution\.0\.convolution", "head.first"),
    (r"^layers\.convolution\.1\.convolution", "head.rest.0"),
    (r"^layers\.convolution\.2\.convolution", "head.rest.1"),
    (r"^(head\.(?:first|rest\.\d))\.0\.", r"\1.linear."),
    (r"^(head\.(?:first|rest\.\d))\.1\.", r"\1.norm."),
    (r"^last_layer\.", "head.classify."),
)
_BACKBONE = re.compile(r"^backbone\.(contracting_path|upsampling_path)\.(\d+)\.(?:conv_block\.)?layers\.(\d+)\.(.+)$")


def load_release_checkpoint(
    path: str | os.PathLike[str], num_experts: int = 4, latent_dim: int = 1, in_channels: int = 1, out_channels: int = 2
) -> MoSE:
    """Build the network that the authors published and load their weights.

    Args:
        path: their state dict, a file that ``torch.load`` reads with ``weights_only=True``.
        num_experts: 4 for LIDC, 35 for Cityscapes.
        latent_dim: 1 for LIDC, 5 for Cityscapes.
        in_channels: 1 for LIDC, 4 for Cityscapes with the black-box prediction.
        out_channels: 2 for LIDC, 25 for Cityscapes.

    Returns:
        The network in eval mode.

    Raises:
        ConfigError: if the file is missing or holds another architecture.
        DataError: if the file cannot be read.
        MoseError: if memory runs out.
    """
    network = MoSE(
        num_experts=num_experts,
        latent_dim=latent_dim,
        in_channels=in_channels,
        out_channels=out_channels,
        head="release",
    )
    state = translate_release_state(_read(Path(path)))
    _require_fit(state, network.state_dict(), Path(path))
    network.load_state_dict(state)
    return network.eval()


def translate_release_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name and shape the tensors of a published state dict as :class:`~mose_med.networks.MoSE` does."""
    translated = {}
    for key, value in state.items():
        name = _translate(key.removeprefix("module."))
        is_pointwise = name.startswith("head.") and value.ndim > 2
        translated[name] = value.flatten(1) if is_pointwise else value
    return translated


def _translate(name: str) -> str:
    found = _BACKBONE.match(name)
    if found is None:
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        return name
    path, level, position, rest = found.groups()
    is_pooled = path == "contracting_path" and level != "0"  # their block then begins with the pooling layer
    conv, kind = divmod(int(position) - is_pooled, _LAYERS_PER_CONV)
    part = "encoder" if path == "contracting_path" else "decoder"
    return f"backbone.{part}.{level}.{conv}.{('conv', 'norm', 'relu')[kind]}.{rest}"


def _read(path: Path) -> dict[str, Tensor]:
    state = load_tensors(path, "release checkpoint")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"release checkpoint {path} must be a bare state dict of tensors, got {type(state).__name__}")
    return state


def _require_fit(state: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    strangers = sorted(set(state) ^ set(expected))
    if strangers:
        side = "lacks" if strangers[0] in expected else "has an unknown"
        raise ConfigError(f"release checkpoint {path} {side} entry {strangers[0]!r}: is it a MoSE state dict?")
    for name, value in expected.items():
        if state[name].shape != value.shape:
            raise ConfigError(
                f"release checkpoint {path} has {name} of shape {tuple(state[name].shape)}, "
                f"expected {tuple(value.shape)}: set num_experts, latent_dim, in_channels and out_channels"
            )
