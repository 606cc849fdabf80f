r"""How a latent code changes the dense feature (section 3.2 of the paper).

.. math:: b = W_1 z, \qquad w = W_2 z, \qquad u_k = (u_d + b) \odot w

A linear map ``A`` that follows acts on ``u_d`` as one matrix per code, ``A diag(w)``, and one offset, ``A (b * w)``: a
sample costs one small matrix product, and the feature map is never copied per sample. Since ``w`` is linear in ``z``,
the matrices of all codes are combinations of L + 1 shared ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["CodeMaps", "NoiseInjection", "code_matrices"]


class CodeMaps(NamedTuple):
    """Affine maps of N codes per image: ``basis[0] + sum_l latents[l] basis[1 + l]`` and ``offsets``.

    ``basis`` is (L + 1, O, F), ``latents`` (B, N, L) and ``offsets`` (B, N, O).
    """

    basis: Tensor
    latents: Tensor
    offsets: Tensor


class NoiseInjection(nn.Module):
    """The two linear layers ``W_1`` (shift) and ``W_2`` (scale).

    Departure: the scale is ``w + 1e-5``, as in the release, so that a feature never vanishes exactly.

    Args:
        latent_dim: L.
        channels: F, channels of the dense feature.
    """

    def __init__(self, latent_dim: int, channels: int) -> None:
        super().__init__()
        self.scale_offset = 1e-5
        self.shift = nn.Linear(latent_dim, channels)
        self.scale = nn.Linear(latent_dim, channels)
        for layer in (self.shift, self.scale):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def inject(self, dense: Tensor, latents: Tensor) -> Tensor:
        r"""``(u_d + b) * w`` itself: (B, F, \*spatial) and (B, N, L) -> (B N, F, \*spatial)."""
        shift: Tensor = self.shift(latents)
        scale: Tensor = self.scale(latents) + self.scale_offset
        for _ in range(dense.dim() - 2):
            shift, scale = shift.unsqueeze(-1), scale.unsqueeze(-1)
        return ((dense.unsqueeze(1) + shift) * scale).flatten(0, 1)

    def forward(self, latents: Tensor, weight: Tensor, bias: Tensor) -> CodeMaps:
        """Affine maps from dense feature to the output of a linear layer that follows the injection.

        Args:
            latents: codes, shape (B, N, L).
            weight: of the linear layer, shape (O, F).
            bias: of the linear layer, shape (O,).
        """
        constant = self.scale.bias + self.scale_offset
        scales = torch.cat([constant.unsqueeze(0), self.scale.weight.t()])
        offsets = torch.matmul(self.shift(latents) * (self.scale(latents) + self.scale_offset), weight.t()) + bias
        return CodeMaps(scales.unsqueeze(1) * weight, latents, offsets)


def code_matrices(maps: CodeMaps) -> Tensor:
    """Matrix of every code, shape (B, N, O, F)."""
    ones = maps.latents.new_ones(maps.latents.shape[0], maps.latents.shape[1], 1)
    terms = torch.cat([ones, maps.latents], dim=2)
    return torch.einsum("bnl,lof->bnof", terms, maps.basis)
