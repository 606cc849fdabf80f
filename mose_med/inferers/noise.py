"""Everything random of a case: standard normal numbers and fields, the same in every window that shows a voxel.

Case-wide deviates serve all windows and slices, so that a sample is one hypothesis in 3D. Fields, for the networks that
declare some, are drawn by the position of each voxel of a field on the oriented grid: tile by tile, each from a stream
of its own, so that windows which overlap agree. A window whose first voxel is not a multiple of a field's stride takes
the nearest one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose_med.geometry import window_overlap
from mose_med.inferers.windows.cutting import Window
from mose_med.networks.priors import DEFAULT_CODES, Codes
from mose_med.networks.protocol import (
    NoiseField,
    StochasticNetwork,
    field_sides,
    is_deterministic,
    noise_fields,
    standard_deviates,
)
from mose_med.runtime.seeds import numpy_stream

__all__ = ["SAMPLES_FOR_QUANTILES", "CaseFields", "CaseNoise", "case_seed", "draw_case_noise"]

#: Quadrature points per expert that quantiles of volumes need: their variance is .95 of the Gaussian's.
SAMPLES_FOR_QUANTILES = 25
#: Voxels of a field along a side of what one stream draws.
_TILE = 64


class CaseFields(NamedTuple):
    """Fields of a case, drawn on demand.

    Attributes:
        declared: by the network.
        seed: of the case.
        streams: names of the streams, one tuple per expert, one entry per sample.
    """

    declared: tuple[NoiseField, ...]
    seed: int
    streams: tuple[tuple[str, ...], ...]

    def at(self, windows: Sequence[Window], roi_size: tuple[int, int]) -> tuple[Tensor, ...]:
        """For every declared field, the part that some windows show, (B, K, S, channels, h, w)."""
        return tuple(torch.from_numpy(self._of_windows(field, windows, roi_size)) for field in self.declared)

    def _of_windows(
        self, field: NoiseField, windows: Sequence[Window], roi_size: tuple[int, int]
    ) -> NDArray[np.float32]:
        sides = field_sides(field, roi_size)
        lead = (len(windows), len(self.streams), len(self.streams[0]))
        values = np.empty((*lead, field.channels, *sides), dtype=np.float32)
        for b, k, s in product(*map(range, lead)):
            self._fill(values[b, k, s], field, self.streams[k][s], windows[b])
        return values

    def _fill(self, values: NDArray[np.float32], field: NoiseField, stream: str, window: Window) -> None:
        first = [math.floor(start / field.stride + 0.5) for start in window.start]
        sides = values.shape[1:]
        place = () if field.through_slices else (window.slice_index,)
        tiles = (range(low // _TILE, (low + side - 1) // _TILE + 1) for low, side in zip(first, sides, strict=True))
        for i, j in product(*tiles):
            drawn = numpy_stream("noise field", self.seed, field.name, stream, *place, i, j)
            tile = drawn.standard_normal((field.channels, _TILE, _TILE), dtype=np.float32)
            start = (i * _TILE - first[0], j * _TILE - first[1])
            here, there = window_overlap(start, (_TILE, _TILE), sides)
            values[(slice(None), *here)] = tile[(slice(None), *there)]


class CaseNoise(NamedTuple):
    """Everything random of a case.

    Attributes:
        deviates: (K, S + N', D), standard normal: S per expert, then for each of the N' samples of the standard form
            the deviate to use with that expert; all experts share one deviate for each of these samples.
        samples_per_expert: S.
        uniforms: (N',), each picks the expert of a sample of the standard form.
        fields: noise in the image of the same samples.
        more: the same for V further samples per expert, for the quantiles of volumes; None where the compact form has
            enough, or draws its codes at random.
    """

    deviates: Tensor
    samples_per_expert: int
    uniforms: NDArray[np.float64]
    fields: CaseFields
    more: CaseNoise | None = None

    @property
    def num_standard(self) -> int:
        """N', samples in the standard form."""
        return len(self.uniforms)


def draw_case_noise(
    network: StochasticNetwork, samples_per_expert: int, num_standard: int, seed: int, codes: Codes = DEFAULT_CODES
) -> CaseNoise:
    """Draw on the CPU, from the seed alone; the compact form does not depend on ``num_standard``.

    Quadrature points depend on nothing; the standard form and all fields are random all the same.
    """
    generator, experts = torch.Generator().manual_seed(seed), range(network.num_experts)
    fields = CaseFields(noise_fields(network), seed, _streams("compact", experts, samples_per_expert))
    compact = standard_deviates(network, samples_per_expert, 1, generator, codes)[0]
    enough = codes == "random" or samples_per_expert >= SAMPLES_FOR_QUANTILES or is_deterministic(network)
    standard = torch.randn(num_standard, network.noise_dim, generator=generator).expand(len(experts), -1, -1)
    uniforms = torch.rand(num_standard, dtype=torch.float64, generator=generator).numpy()
    shared = tuple(f"standard {n}" for n in range(num_standard))
    fields = fields._replace(streams=tuple(of_expert + shared for of_expert in fields.streams))
    more = None if enough else _further(network, fields)
    return CaseNoise(torch.cat([compact, standard], dim=1), samples_per_expert, uniforms, fields, more)


def _further(network: StochasticNetwork, fields: CaseFields) -> CaseNoise:
    number = SAMPLES_FOR_QUANTILES
    streams = _streams("further", range(network.num_experts), number)
    deviates = standard_deviates(network, number, choice="quadrature")[0]
    return CaseNoise(deviates, number, np.zeros(0), fields._replace(streams=streams))


def _streams(purpose: str, experts: range, samples: int) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{purpose} {k} {s}" for s in range(samples)) for k in experts)


def case_seed(seed: int, *channels: NDArray[np.generic]) -> int:
    """Seed, below 2^64, of a run's seed and the voxels of a case.

    Values are rounded to whole HU, so that formats which store them in different types agree; in the orientation of
    the network, so that the orders of axes agree which a study can be stored in. Positions that are listed do not
    enter: a sample is the same hypothesis whatever else is requested.

    Args:
        seed: of the run.
        *channels: HU (i, j, k) of every channel, in the orientation of the network.

    Example:
        >>> case_seed(0, np.zeros((2, 2, 1))) == case_seed(0, np.full((2, 2, 1), 0.2, np.float32))
        True
        >>> case_seed(0, np.zeros((2, 2, 1))) == case_seed(1, np.zeros((2, 2, 1)))
        False
    """
    digest = hashlib.sha256(f"{seed} {channels[0].shape}".encode())
    limits = np.iinfo(np.int16)
    for values in channels:
        for k in range(values.shape[2]):
            digest.update(np.rint(values[..., k]).clip(limits.min, limits.max).astype("<i2").tobytes())
    return int.from_bytes(digest.digest()[:8], "little")
