"""From a CT image in memory to its distribution of segmentations."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mose_med.case_contents.lesion_rules import (
    DEPTH_MM,
    LESION_THRESHOLD,
    MIN_LESION_ML,
    OVERLAP_FULL,
    OVERLAP_LUNGS,
    REACH_MM,
    LesionRules,
    require_overlap,
)
from mose_med.ct_image import PlacedImage
from mose_med.errors import ConfigError
from mose_med.inferers.distribution import CaseDistribution
from mose_med.inferers.lesions.further_samples import FurtherSamples
from mose_med.inferers.lesions.lesion import Lesion
from mose_med.inferers.lesions.measuring import LesionSource, find_lesions, same_lesions_told
from mose_med.inferers.noise import CaseNoise, case_seed, draw_case_noise
from mose_med.inferers.precision import Precision
from mose_med.inferers.regions import Region, nearest_shares
from mose_med.inferers.sampling import RegionSampler
from mose_med.inferers.searching import found_again, found_positions
from mose_med.inferers.standard import choose_standard_samples
from mose_med.inferers.storage import Storage
from mose_med.inferers.windows.asked_regions import (
    AskedRegion,
    RegionName,
    checked_region,
    listed_regions,
    lungs_of,
    searched_region,
)
from mose_med.inferers.windows.cutting import OrientedVolume, oriented_volume, require_inside
from mose_med.networks.memory import lay_channels_last, planar_kernels
from mose_med.networks.priors import DEFAULT_CODES, Codes
from mose_med.networks.protocol import StochasticNetwork, require_stochastic
from mose_med.preprocessing import Preprocessing
from mose_med.runtime.ahead import ahead
from mose_med.runtime.progress import Progress, unseen

__all__ = ["infer_case"]


def infer_case(
    network: StochasticNetwork,
    image: PlacedImage,
    *,
    preprocessing: Preprocessing,
    nodules: Sequence[Sequence[float]] | NDArray[np.floating] | None = None,
    region: RegionName | None = None,
    lungs: NDArray[np.bool_] | None = None,
    samples_per_expert: int = 4,
    seed: int = 0,
    codes: Codes = DEFAULT_CODES,
    sw_batch_size: int = 16,
    overlap: float | None = None,
    depth_mm: float = DEPTH_MM,
    reach_mm: float = REACH_MM,
    lesion_threshold: float = LESION_THRESHOLD,
    min_lesion_ml: float = MIN_LESION_ML,
    num_standard: int = 0,
    classes: Sequence[str] | None = None,
    precision: Precision = "fp32",
    scratch_dir: Path | None = None,
    progress: Progress = unseen,
) -> CaseDistribution:
    """Infer the distribution of segmentations of one case.

    Args:
        network: 2D; used in eval mode, on its own device. Any network of the protocol
            :class:`~mose_med.networks.StochasticNetwork`.
        image: CT in HU, shape (1, i, j, k), or (C, i, j, k) with the channels of the network, with a RAS-mm ``.affine``
            (a :class:`~mose_med.ct_image.CtImage` or MONAI's ``MetaTensor``), in any orientation.
        preprocessing: what the network was trained with.
        nodules: positions to look at, RAS mm, shape (M, 3); an empty list gives a result without lesions. Each has a
            region of its own: other positions do not change its lesion.
        region: where to look: windows around each nodule (``"nodules"``, the default where they are given), around
            each lesion that a first look over the lungs finds (``"lungs"``, the default without), or side by side over
            everything (``"full"``).
        lungs: mask of the lungs (i, j, k) on the image's grid; without one :func:`~mose_med.inferers.lungs.lung_mask`.
        samples_per_expert: S.
        seed: of what is random, together with the voxels of the case (:func:`~mose_med.inferers.noise.case_seed`);
            same seed, device, thread count and versions, same result.
        codes: of the compact form: ``"quadrature"`` places them as points of equal weight in each expert's Gaussian,
            the same for every case; ``"random"`` draws them. The standard form is random.
        sw_batch_size: windows per call of the network. On a CPU every thread has its own call, and all together no more
            than twice as many windows. While a lesion is measured, the next listed position has a call of its own.
        overlap: of neighbouring windows of a slice in a search, as a fraction of a window; 0.75 over the
            lungs and 0.25 over everything if None.
        depth_mm: how far above and below a position to look.
        reach_mm: how far from a position its lesion may begin.
        lesion_threshold: marginal probability above which voxels are of a lesion.
        min_lesion_ml: smallest lesion that a search reports.
        num_standard: N', samples of the standard form to draw as well.
        classes: names of the foreground classes, each of which has regions and lesions of its own; ``class-1`` and so
            on if None.
        precision: of the network's products; see :mod:`mose_med.inferers.precision`, which can choose it.
        scratch_dir: of the temporary file that a large region is kept in; the system's own if None.
        progress: is told what is counted, how many are done and how many there are: slices of a search, then positions
            or lesions.

    Returns:
        Masks, probabilities and lesions on the image's own grid.

    Raises:
        ConfigError: if an argument is invalid, or the network is not one for slices of CT.
        ShapeError: if the image or the positions have the wrong shape.
        GeometryError: if the affine or the grid of the lung mask does not fit.
        DataError: if a position lies outside the image, or there are no lungs.

    Example:
        >>> import torch
        >>> from mose_med.networks import MoSE
        >>> network = MoSE(channels=(4, 8), num_experts=2)
        >>> from mose_med.ct_image import CtImage
        >>> image = CtImage(torch.zeros(1, 20, 20, 5), torch.eye(4))
        >>> result = infer_case(network, image, preprocessing=Preprocessing(roi_size=(16, 16)), nodules=[(9, 9, 2)])
        >>> result.dense("probability").shape, len(result.lesions)
        ((20, 20, 5), 1)
    """
    where = checked_region(region, nodules, lungs)
    names = _class_names(network, classes)
    _check_arguments(network, samples_per_expert, sw_batch_size, num_standard, codes)
    require_overlap(overlap)
    rules = LesionRules(lesion_threshold, reach_mm, min_lesion_ml)
    volume = oriented_volume(image, preprocessing.orientation, preprocessing.spacing_mm)
    _require_channels(network, len(volume.channels))
    seed = case_seed(seed, *volume.channels)
    noise = draw_case_noise(network, samples_per_expert, num_standard, seed, codes)
    sampler = RegionSampler(network, volume, preprocessing, sw_batch_size, len(names), scratch_dir, precision)
    shape = (int(image.shape[1]), int(image.shape[2]), int(image.shape[3]))
    affine, roi_size = np.asarray(image.affine, dtype=np.float64), preprocessing.roi_size
    num_windows = 0
    with _ready(network):
        if where == "full":
            asked = [searched_region(volume, None, roi_size, OVERLAP_FULL if overlap is None else overlap)]
        elif where == "lungs":
            inside = lungs_of(volume, lungs)
            search = searched_region(volume, inside, roi_size, OVERLAP_LUNGS if overlap is None else overlap)
            num_windows = len(search.windows)
            positions = found_positions(
                sampler,
                search,
                np.asarray(volume.steps.undo(inside), dtype=bool),
                rules,
                affine,
                samples_per_expert=samples_per_expert,
                seed=seed,
                codes=codes,
                tell=partial(progress, "slices"),
            )
            asked = listed_regions(volume, positions, roi_size, depth_mm)
        else:
            asked = _listed_regions(image, volume, [] if nodules is None else nodules, roi_size, depth_mm)
        looked = _looked_at(sampler, asked, noise, rules, names, affine, shape, progress)
    num_windows += sum(len(set(region.windows)) for region in asked)
    if where == "lungs":
        looked = looked.of_lesions(found_again(looked.lesions, rules, affine))
    elif where == "nodules":
        looked = looked._replace(lesions=same_lesions_told(looked.lesions))
    return CaseDistribution(
        shape=shape,
        affine=affine,
        num_experts=network.num_experts,
        samples_per_expert=samples_per_expert,
        num_standard=num_standard,
        regions=tuple(region for of_classes in looked.regions for region in of_classes),
        lesions=tuple(looked.lesions),
        storage=looked.storage,
        num_windows=num_windows,
        shares=_shares(looked, affine, len(names)),
        classes=names,
    )


class _Looked(NamedTuple):
    """What the network saw.

    Attributes:
        positions_mm: of listed regions, RAS; None for each that was searched.
        regions: of every foreground class at each of them.
        lesions: one for each listed region, or all of a searched one.
        storage: of the arrays of the regions.
    """

    positions_mm: list[NDArray[np.float64] | None]
    regions: list[tuple[Region, ...]]
    lesions: list[Lesion]
    storage: Storage

    def of_lesions(self, kept: Sequence[int]) -> _Looked:
        """Some of the listed regions, by index; their lesions are numbered anew, and lie where they were found."""
        lesions = [
            self.lesions[index]._replace(number=number, position_mm=self.lesions[index].place_mm)
            for number, index in enumerate(kept, start=1)
        ]
        positions = [self.positions_mm[index] for index in kept]
        return _Looked(positions, [self.regions[index] for index in kept], lesions, self.storage)


def _looked_at(
    sampler: RegionSampler,
    asked: Sequence[AskedRegion],
    noise: CaseNoise,
    rules: LesionRules,
    names: tuple[str, ...],
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    progress: Progress,
) -> _Looked:
    """Sample regions, and measure their lesions; the next region is sampled while those of one are measured."""
    storage = sampler.storage((region.box for region in asked), noise)
    looked = _Looked([region.listed and region.listed.position_mm for region in asked], [], [], storage)

    def sample(wanted: AskedRegion) -> tuple[Region, ...]:
        tell = partial(progress, "slices") if wanted.listed is None else unseen
        return sampler.regions(wanted.windows, wanted.box, noise, storage, tell)

    with closing(_in_turn(sample, asked)) as sampled:
        for wanted, regions in zip(asked, sampled, strict=True):
            further = FurtherSamples(sampler, wanted, noise, affine, shape)
            numbers = (sampler.network.num_experts, noise.samples_per_expert)
            sources = [
                LesionSource(region, affine, shape, numbers, storage, names[n], partial(further.around, class_index=n))
                for n, region in enumerate(regions)
            ]
            found = find_lesions(sources, rules, listed=wanted.listed, tell=partial(progress, "lesions"))
            looked.lesions.extend(found)
            # All classes take the expert of a sample from the same lesions, so that a sample has one expert.
            looked.regions.append(
                tuple(choose_standard_samples(one, found, affine, noise.uniforms, storage.release) for one in regions)
            )
            if wanted.listed is not None:
                progress("positions", len(looked.regions), len(asked))
    return looked


def _in_turn(
    sample: Callable[[AskedRegion], tuple[Region, ...]], asked: Sequence[AskedRegion]
) -> Generator[tuple[Region, ...], None, None]:
    """Sampled regions; of several, a thread has the next in hand. One alone may be large, and can be interrupted."""
    if len(asked) > 1:
        yield from ahead(sample, asked, threads=1)
    else:
        yield from map(sample, asked)


def _require_channels(network: StochasticNetwork, given: int) -> None:
    shown = "slices of CT" if given == 1 else f"an image of {given} channels"
    if network.in_channels != given:
        raise ConfigError(f"in_channels of the network must be {given} for {shown}, got {network.in_channels}")


def _class_names(network: StochasticNetwork, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the foreground classes."""
    number = int(getattr(network, "out_channels", 2 if classes is None else len(classes) + 1)) - 1
    names = tuple(classes) if classes is not None else tuple(f"class-{n}" for n in range(1, number + 1))
    if len(names) != number:
        raise ConfigError(
            f"classes must name the {number} foreground classes of the network, got {len(names)}: {names}"
        )
    return names


def _shares(
    looked: _Looked, affine: NDArray[np.float64], num_classes: int
) -> tuple[NDArray[np.bool_] | None, ...] | None:
    """Shares for every region of every class; they are the same for all classes."""
    positions = [position for position in looked.positions_mm if position is not None]
    boxes = [of_classes[0].box for of_classes in looked.regions]
    shares = nearest_shares(boxes, positions, affine) if positions else []
    of_classes = [share for share in shares for _ in range(num_classes)]
    return tuple(of_classes) if any(share is not None for share in shares) else None


def _listed_regions(
    image: PlacedImage,
    volume: OrientedVolume,
    nodules: Sequence[Sequence[float]] | NDArray[np.floating],
    roi_size: tuple[int, int],
    depth_mm: float,
) -> list[AskedRegion]:
    if not len(nodules):
        return []
    require_inside(image, nodules)
    return listed_regions(volume, np.asarray(nodules, dtype=np.float64), roi_size, depth_mm)


def _check_arguments(
    network: StochasticNetwork, samples_per_expert: int, sw_batch_size: int, num_standard: int, codes: str
) -> None:
    require_stochastic(network)
    if codes not in get_args(Codes):
        raise ConfigError(f"codes must be 'quadrature' or 'random', got {codes!r}")
    for name, value, least in (
        ("samples_per_expert", samples_per_expert, 1),
        ("sw_batch_size", sw_batch_size, 1),
        ("num_standard", num_standard, 0),
    ):
        if not value >= least:
            raise ConfigError(f"{name} must be >= {least}, got {value}")
    if network.spatial_dims != 2:
        raise ConfigError(f"spatial_dims of the network must be 2 for slices of CT, got {network.spatial_dims}")


@contextmanager
def _ready(network: StochasticNetwork) -> Iterator[None]:
    """The network in eval mode; on a CPU with its channels last in memory.

    Afterwards every module is in the mode, and every kernel the tensor, that it was before.
    """
    modes = {module: module.training for module in network.modules()}
    kernels = planar_kernels(network)
    given = [kernel.data for kernel in kernels]
    network.eval()
    lay_channels_last(network)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for kernel, values in zip(kernels, given, strict=True):
            kernel.data = values
