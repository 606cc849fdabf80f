"""From a CT image in memory to its distribution of segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from monai.data import MetaTensor
from numpy.typing import NDArray

from mose_med.errors import ConfigError
from mose_med.inferers.distribution import CaseDistribution
from mose_med.inferers.lesions import REACH_MM, Lesion, find_lesions
from mose_med.inferers.regions import Box, Region, merged_boxes
from mose_med.inferers.sampling import draw_case_latents, sample_region, window_box
from mose_med.inferers.standard import with_standard_samples
from mose_med.inferers.windows import DEPTH_MM, OrientedVolume, Window, oriented_volume, require_inside, windows_around
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

__all__ = ["infer_case"]


def infer_case(
    network: MoSE,
    image: MetaTensor,
    *,
    preprocessing: Preprocessing,
    nodules: Sequence[Sequence[float]] | NDArray[np.floating] | None = None,
    region: Literal["nodules"] = "nodules",
    samples_per_expert: int = 4,
    seed: int = 0,
    sw_batch_size: int = 16,
    depth_mm: float = DEPTH_MM,
    reach_mm: float = REACH_MM,
    num_standard: int = 0,
) -> CaseDistribution:
    """Infer the distribution of segmentations of one case.

    Args:
        network: 2D, one input channel; used in eval mode, on its own device.
        image: CT in HU, shape (1, i, j, k), with a RAS-mm ``.affine``, in any orientation.
        preprocessing: what the network was trained with.
        nodules: positions to look at, RAS mm, shape (M, 3), at least one.
        region: where to look: a window around each nodule.
        samples_per_expert: S.
        seed: of the latent codes; same seed, device, thread count and versions, same result.
        sw_batch_size: windows per call of the network.
        depth_mm: how far above and below a position to look.
        reach_mm: how far from a position its lesion may begin.
        num_standard: N', samples of the standard form to draw besides.

    Returns:
        Masks, probabilities and lesions on the image's own grid.

    Raises:
        ConfigError: if an argument does not fit, or the network is not one for slices of CT.
        ShapeError: if the image or the positions have the wrong shape.
        GeometryError: if the affine does not fit.
        DataError: if a position lies outside the image.

    Example:
        >>> import torch
        >>> network = MoSE(channels=(4, 8), num_experts=2)
        >>> image = MetaTensor(torch.zeros(1, 20, 20, 5), affine=torch.eye(4))
        >>> result = infer_case(network, image, preprocessing=Preprocessing(roi_size=(16, 16)), nodules=[(9, 9, 2)])
        >>> result.dense("probability").shape, len(result.lesions)
        ((20, 20, 5), 1)
    """
    _check_arguments(network, region, samples_per_expert, sw_batch_size, num_standard, reach_mm)
    if nodules is None:
        raise ConfigError("nodules must be given with region 'nodules', got None")
    volume = oriented_volume(image, preprocessing.orientation, preprocessing.spacing_mm)
    require_inside(image, nodules)
    positions = np.asarray(nodules, dtype=np.float64)
    windows = [windows_around(volume, position, preprocessing.roi_size, depth_mm) for position in positions]
    latents = draw_case_latents(network, samples_per_expert, num_standard, seed)
    affine, shape = np.asarray(image.affine, dtype=np.float64), image.shape[1:]
    regions: list[Region] = []
    lesions: list[Lesion] = []
    was_training = network.training
    network.eval()
    try:
        for box, members in _plan(windows, preprocessing.roi_size, volume):
            inside = [window for member in members for window in windows[member]]
            sampled = sample_region(
                network, volume, inside, box, latents, preprocessing=preprocessing, sw_batch_size=sw_batch_size
            )
            found = find_lesions(
                sampled,
                {member + 1: positions[member] for member in members},
                affine=affine,
                image_shape=shape,
                num_samples=(network.num_experts, samples_per_expert),
                reach_mm=reach_mm,
            )
            lesions += found
            regions.append(with_standard_samples(sampled, found, affine, latents.uniforms))
    finally:
        network.train(was_training)
    return CaseDistribution(
        shape=(shape[0], shape[1], shape[2]),
        affine=affine,
        num_experts=network.num_experts,
        samples_per_expert=samples_per_expert,
        num_standard=num_standard,
        regions=tuple(regions),
        lesions=tuple(sorted(lesions, key=lambda lesion: lesion.number)),
    )


def _check_arguments(
    network: MoSE, region: str, samples_per_expert: int, sw_batch_size: int, num_standard: int, reach_mm: float
) -> None:
    if region != "nodules":
        raise ConfigError(f"region must be 'nodules', got {region!r}")
    for name, value, least in (
        ("samples_per_expert", samples_per_expert, 1),
        ("sw_batch_size", sw_batch_size, 1),
        ("num_standard", num_standard, 0),
        ("reach_mm", reach_mm, 0),
    ):
        if not value >= least:
            raise ConfigError(f"{name} must be >= {least}, got {value}")
    for name, wanted in (("spatial_dims", 2), ("in_channels", 1)):
        if getattr(network, name) != wanted:
            raise ConfigError(f"{name} of the network must be {wanted} for slices of CT, got {getattr(network, name)}")


def _plan(
    windows: list[list[Window]], roi_size: tuple[int, int], volume: OrientedVolume
) -> list[tuple[Box, list[int]]]:
    """Boxes of the oriented grid, and which nodules' windows lie in each."""
    own = [_box(listed, roi_size, volume.grid.shape) for listed in windows]
    return [(box, [n for n, member in enumerate(own) if member.overlaps(box)]) for box in merged_boxes(own)]


def _box(windows: list[Window], roi_size: tuple[int, int], shape: tuple[int, ...]) -> Box:
    return window_box(windows[0], roi_size, shape).union(window_box(windows[-1], roi_size, shape))
