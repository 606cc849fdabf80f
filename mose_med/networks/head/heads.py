"""Expert heads: from the dense feature and a latent code to class logits, with 1x1 convolutions only.

A 1x1 convolution is a matrix that acts on every voxel: layers are :class:`torch.nn.Linear`, and space is one axis P.
Each head has a plain way to its logits, the reference, which can be scripted and exported and holds the maps of all
samples, and a fast way that never does: in tiles, or compiled on an accelerator, which is off until it has run on one.
"""

# TorchScript takes no "type: ignore" in scripted code, and torch.jit.is_scripting is not an explicit export.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.networks.backbones.unet import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM
from mose_med.networks.head.compiled import can_compile, compiled_logits
from mose_med.networks.head.folding import can_fold, folded_layers
from mose_med.networks.head.tiled import tiled_logits
from mose_med.networks.head.tiles import Affine, FirstLayer
from mose_med.networks.noise import CodeMaps, code_matrices
from mose_med.networks.temperature import Temperature

__all__ = ["COMPILED_ON_ACCELERATORS", "ExpertHead", "HiddenLayer", "PaperHead", "ReleaseHead"]

#: The compiled way has run through its compiler on the CPU alone, never on a GPU: on one, tiles are used until
#: ``benchmarks/speed/head.py --compiled`` has been measured there.
COMPILED_ON_ACCELERATORS = False


class HiddenLayer(nn.Module):
    """A linear layer whose output is (optionally) batch-normalised and rectified.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        normalised: whether batch normalisation stands before the ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, *, normalised: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)
        self.norm: nn.Module = (
            nn.BatchNorm1d(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
            if normalised
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, P) -> (B, out_channels, P)."""
        return self.activate(F.conv1d(x, self.linear.weight.unsqueeze(2), self.linear.bias))

    def activate(self, x: Tensor) -> Tensor:
        """What follows the linear map: (B, out_channels, P) -> (B, out_channels, P)."""
        return F.relu(self.norm(x))


class ExpertHead(nn.Module):
    """Hidden layers and a linear classifier; the first linear map is merged with the noise injection.

    Logits are divided by ``temperature``, 1 until the network is calibrated: as part of the classifier, so at no cost.

    Args:
        channels: F, channels of the dense feature and of the hidden layers.
        out_channels: C.
        num_hidden: hidden layers, at least one.
        first_channels: input channels of the first hidden layer.
        normalised: whether the hidden layers are batch-normalised.
    """

    def __init__(
        self, channels: int, out_channels: int, *, num_hidden: int, first_channels: int, normalised: bool
    ) -> None:
        super().__init__()
        self.first = HiddenLayer(first_channels, channels, normalised=normalised)
        self.rest = nn.ModuleList(HiddenLayer(channels, channels, normalised=normalised) for _ in range(num_hidden - 1))
        self.classify = nn.Linear(channels, out_channels)
        self.temperature = Temperature()

    def first_map(self) -> Affine:
        """Weight (F, F) and bias (F,) of all that is linear between noise injection and the first normalisation."""
        raise NotImplementedError

    def forward(self, dense: Tensor, maps: CodeMaps) -> Tensor:
        """Logits of every sample.

        Args:
            dense: dense feature, shape (B, F, P).
            maps: noise injection merged with :meth:`first_map`, for N codes an image.

        Returns:
            Logits, shape (B, N, C, P).
        """
        if not torch.jit.is_scripting():  # noqa: SIM102, TorchScript prunes this form only
            if self.has_fast_way():
                return self.fast_logits(dense, maps)
        return self.plain_logits(dense, maps)

    def plain_logits(self, dense: Tensor, maps: CodeMaps) -> Tensor:
        """Logits (B, N, C, P), layer by layer on the maps of all samples."""
        matrices = code_matrices(maps)
        batch, samples, channels, _ = matrices.shape
        x = torch.matmul(matrices.flatten(1, 2).to(dense.dtype), dense)
        x = x.view(batch, samples, channels, -1) + maps.offsets.to(dense.dtype).unsqueeze(3)
        x = self.first.activate(x.flatten(0, 1))
        for layer in self.rest:
            x = layer(x)
        weight, bias = self.temperature(self.classify.weight), self.temperature(self.classify.bias)
        logits = F.conv1d(x, weight.unsqueeze(2), bias)
        return logits.view(batch, samples, logits.shape[1], logits.shape[2])

    @torch.jit.unused
    def has_fast_way(self) -> bool:
        """Whether the fast way gives the plain way's result: it cannot be traced, and knows our normalisation only."""
        if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[no-untyped-call]
            return False
        return all(can_fold(layer.norm) for layer in self._hidden_layers())

    @torch.jit.unused
    def fast_logits(self, dense: Tensor, maps: CodeMaps) -> Tensor:
        """Logits (B, N, C, P) without the maps of all samples, normalisation folded into the linear maps."""
        dtype = torch.get_autocast_dtype(dense.device.type) if _autocasts(dense) else dense.dtype
        with torch.autocast(dense.device.type, enabled=False):
            first = FirstLayer(dense.transpose(1, 2).to(dtype).contiguous(), *maps)
            first, hidden = folded_layers(first, self._hidden_layers(), dtype)
            weight, bias = self.temperature(self.classify.weight), self.temperature(self.classify.bias)
            classify = Affine(weight.to(dtype), bias.to(dtype))
            way = compiled_logits if _is_compiled_on(dense.device) else tiled_logits
            return way(first, hidden, classify)

    def _hidden_layers(self) -> list[HiddenLayer]:
        return [self.first, *(layer for layer in self.rest if isinstance(layer, HiddenLayer))]


class PaperHead(ExpertHead):
    """Three 1x1 layers of F, F and C channels with ReLU after the first two.

    Departure: the paper does not say what stands between the layers; with nothing they would be one linear map.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, num_hidden=2, first_channels=channels, normalised=False)

    def first_map(self) -> Affine:
        """The first layer as it is."""
        return Affine(self.first.linear.weight, self.first.linear.bias)


class ReleaseHead(ExpertHead):
    """The published code's head: linear to F + L, three times (linear, batch norm, ReLU) of F, linear to C."""

    def __init__(self, channels: int, out_channels: int, latent_dim: int) -> None:
        expanded = channels + latent_dim
        super().__init__(channels, out_channels, num_hidden=3, first_channels=expanded, normalised=True)
        self.expand = nn.Linear(channels, expanded)

    def first_map(self) -> Affine:
        """Expansion and first layer as one map."""
        first = self.first.linear
        weight = torch.matmul(first.weight, self.expand.weight)
        return Affine(weight, F.linear(self.expand.bias, first.weight, first.bias))


def _is_compiled_on(device: torch.device) -> bool:
    """Whether the fast way on a device is the compiled one: on the CPU tiles are several times faster."""
    return COMPILED_ON_ACCELERATORS and device.type != "cpu" and can_compile(device)


def _autocasts(tensor: Tensor) -> bool:
    return torch.is_autocast_enabled(tensor.device.type)
