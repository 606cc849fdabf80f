"""Coherent sampling: the network over the windows of a region, blended to one set of hypotheses.

One latent code per (expert, sample) serves the whole case, so sample s of expert k is one hypothesis in 3D. By default
the codes of an expert are quadrature points of its Gaussian, the same for every case. A sample's
mask is where its foreground probability, blended over the windows that hold the voxel, is above one half; the mean of
its expert is the mean of these probabilities over the expert's samples, before they are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose_med.inferers.blending import BlendedSlice, blended_slices, interpolated_slice
from mose_med.inferers.predicting import predictions
from mose_med.inferers.regions import Box, Region, pack
from mose_med.inferers.storage import Storage
from mose_med.inferers.windows import OrientedVolume, Window
from mose_med.networks import MoSE
from mose_med.networks.priors import DEFAULT_CODES, Codes, quadrature_deviates
from mose_med.preprocessing import Preprocessing
from mose_med.resampling import box_on_grid, box_on_slice

__all__ = ["SAMPLES_FOR_QUANTILES", "CaseLatents", "box_on_view", "draw_case_latents", "region_room", "sample_region"]

#: Slices after which the pages of a region that is kept in a file are let go.
_RELEASE_SLICES = 8
#: Quadrature points per expert that quantiles of volumes need: their variance is .95 of the Gaussian's.
SAMPLES_FOR_QUANTILES = 25
#: Types of the arrays of a region, in their order.
_DTYPES = (np.uint8, np.float16, np.float16, np.uint8)


class CaseLatents(NamedTuple):
    """Everything random of a case.

    Attributes:
        codes: (K, S + N', L): S codes per expert, then for each of the N' samples of the standard form the code that it
            has should it come from that expert: one normal deviate a sample, shared by the experts.
        samples_per_expert: S.
        uniforms: (N',), each picks the expert of a sample of the standard form.
        more: (K, V, L), further codes for the quantiles of volumes; None where the compact form has enough, or draws
            its codes at random.
    """

    codes: Tensor
    samples_per_expert: int
    uniforms: NDArray[np.float64]
    more: Tensor | None = None

    @property
    def num_standard(self) -> int:
        """N', samples in the standard form."""
        return len(self.uniforms)


def draw_case_latents(
    network: MoSE, samples_per_expert: int, num_standard: int, seed: int, codes: Codes = DEFAULT_CODES
) -> CaseLatents:
    """Draw on the CPU, from the seed alone; the codes of the compact form do not depend on ``num_standard``.

    Quadrature points depend on nothing; the standard form is random all the same.
    """
    generator, priors = torch.Generator().manual_seed(seed), network.priors
    if codes == "random":
        compact, more = network.draw_latents(1, samples_per_expert, generator)[0], None
    else:
        compact = priors.at(quadrature_deviates(samples_per_expert, network.latent_dim))
        enough = samples_per_expert >= SAMPLES_FOR_QUANTILES or priors.log_std is None
        more = None if enough else priors.at(quadrature_deviates(SAMPLES_FOR_QUANTILES, network.latent_dim)).detach()
    standard = priors.at(torch.randn(num_standard, network.latent_dim, generator=generator))
    uniforms = torch.rand(num_standard, dtype=torch.float64, generator=generator)
    return CaseLatents(torch.cat([compact, standard], dim=1).detach(), samples_per_expert, uniforms.numpy(), more)


def sample_region(
    network: MoSE,
    volume: OrientedVolume,
    windows: Sequence[Window],
    box: Box,
    latents: CaseLatents,
    *,
    preprocessing: Preprocessing,
    sw_batch_size: int,
    storage: Storage,
) -> Region:
    """Run the network over the windows of a region.

    Args:
        network: in eval mode.
        volume: the case as the network looks at it.
        windows: all windows that have a voxel of the box.
        box: of the oriented grid.
        latents: of the case.
        preprocessing: of the network.
        sw_batch_size: windows per call of the network.
        storage: that has :func:`region_room` left for the region.

    Returns:
        The region in the input's own grid; ``standard_bits`` holds, for each expert in turn, the N' masks that the
        samples of the standard form would have from it.
    """
    seen = _box_on_volume(box, volume)
    region = _empty_region(_box_on_image(box, volume), latents, storage)
    means, bits, gating, standard = (
        volume.steps.apply(array)
        for array in (region.expert_means, region.sample_bits, region.gating, region.standard_bits)
    )
    compact = latents.samples_per_expert
    for blend in blended_slices(
        predictions(network, volume, windows, box, latents.codes, preprocessing, sw_batch_size), box
    ):
        blend, k = _on_volume(blend, box, seen, volume), blend.slice_index - box.start[2]
        foreground = blend.foreground
        means[:, :, k] = foreground[:, :compact].mean(axis=1).transpose(1, 2, 0)
        gating[:, :, k] = blend.expert_probs.transpose(1, 2, 0)
        bits[:, :, k] = _masks(foreground[:, :compact])
        standard[:, :, k] = _masks(foreground[:, compact:])
        if k % _RELEASE_SLICES == 0:
            storage.release()
    return region


def _box_on_volume(box: Box, volume: OrientedVolume) -> Box:
    """The voxels of the oriented volume itself that a box of its grid stands for."""
    low, high = box_on_slice(box.start[:2], box.stop[:2], volume.grid, volume.values.shape)
    return Box((*low, box.start[2]), (*high, box.stop[2]))


def _on_volume(blend: BlendedSlice, box: Box, seen: Box, volume: OrientedVolume) -> BlendedSlice:
    """A blended slice at the voxels of the volume itself."""
    if volume.grid.step == (1.0, 1.0):
        return blend
    return interpolated_slice(blend, volume.grid, box.start[:2], seen.start[:2], seen.stop[:2])


def _box_on_image(box: Box, volume: OrientedVolume) -> Box:
    """The voxels of the input's own grid that a box of the oriented grid stands for."""
    return _box_on_volume(box, volume).undo(volume.steps, tuple(volume.steps.undo(volume.values).shape))


def box_on_view(box: Box, volume: OrientedVolume, within: Box) -> Box:
    """The voxels of the oriented grid, inside a box of it, that hold a box of the input's own grid."""
    seen = box.reoriented(volume.steps, tuple(volume.steps.undo(volume.values).shape))
    low, high = box_on_grid(seen.start[:2], seen.stop[:2], volume.grid)
    return Box((*low, seen.start[2]), (*high, seen.stop[2])).intersection(within)


def region_room(box: Box, volume: OrientedVolume, latents: CaseLatents) -> int:
    """Bytes of storage that the region of a box of the oriented grid takes."""
    shapes = _shapes(_box_on_image(box, volume), latents)
    return sum(Storage.room(shape, dtype) for shape, dtype in zip(shapes, _DTYPES, strict=True))


def _shapes(box: Box, latents: CaseLatents) -> list[tuple[int, ...]]:
    """Of the arrays of a region, in their order."""
    experts, compact = len(latents.codes), latents.samples_per_expert
    channels = (-(-experts * compact // 8), experts, experts, -(-experts * latents.num_standard // 8))
    return [(*box.shape, number) for number in channels]


def _empty_region(box: Box, latents: CaseLatents, storage: Storage) -> Region:
    bits, means, gating, standard = _shapes(box, latents)
    return Region(
        box=box,
        sample_bits=storage.zeros(bits, np.uint8),
        expert_means=storage.zeros(means, np.float16),
        gating=storage.zeros(gating, np.float16),
        standard_bits=storage.zeros(standard, np.uint8),
    )


def _masks(foreground: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bits (H, W, ceil(K S / 8)) of the foreground probability (K, S, H, W)."""
    experts, samples, height, width = foreground.shape
    return pack((foreground > 0.5).reshape(experts * samples, height, width).transpose(1, 2, 0))
