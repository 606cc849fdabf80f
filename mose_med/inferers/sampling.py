"""Coherent sampling: the network over the windows of a region, blended to one set of hypotheses.

One latent code per (expert, sample) serves the whole case, so sample s of expert k is one hypothesis in 3D. By default
the codes of an expert are quadrature points of its Gaussian, the same for every case. A sample's
mask is where its foreground probability, blended over the windows that hold the voxel, is above one half; of several
foreground classes, each mask is where its class is more probable than every other and the background, so that the masks
of a sample share no voxel. The mean of its expert is the mean of these probabilities over the expert's samples, before
they are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose_med.inferers.boxes import Box
from mose_med.inferers.noise import CaseNoise
from mose_med.inferers.precision import Precision
from mose_med.inferers.regions import Region, halved, pack
from mose_med.inferers.storage import Storage
from mose_med.inferers.windows.blending import SIGMA, BlendedSlice, Prediction, blended_slices, interpolated_slice
from mose_med.inferers.windows.cutting import OrientedVolume, Window
from mose_med.inferers.windows.predicting import predictions
from mose_med.networks.protocol import StochasticNetwork
from mose_med.preprocessing import Preprocessing
from mose_med.resampling import box_on_grid, box_on_slice
from mose_med.runtime.progress import Tell, unseen

__all__ = ["RegionSampler", "box_on_volume_grid"]

#: Slices after which the pages of a region that is kept in a file are released.
_RELEASE_SLICES = 8
#: Types of the arrays of a region, in their order.
_DTYPES = (np.uint8, np.float16, np.float16, np.uint8)


@dataclass(frozen=True)
class RegionSampler:
    """A network that looks at regions of one case.

    Args:
        network: in eval mode.
        volume: the case in the orientation and spacing of the network.
        preprocessing: of the network.
        sw_batch_size: windows per call of the network.
        num_classes: F, foreground classes of the network.
        scratch_dir: of the temporary file that large regions are kept in; the system's own if None.
        precision: of the network's products.
    """

    network: StochasticNetwork
    volume: OrientedVolume
    preprocessing: Preprocessing
    sw_batch_size: int = 16
    num_classes: int = 1
    scratch_dir: Path | None = None
    precision: Precision = "fp32"

    def storage(self, boxes: Iterable[Box], noise: CaseNoise) -> Storage:
        """Room for the regions of all classes in boxes of the oriented grid."""
        return Storage(sum(self._room(box, noise) for box in boxes), self.scratch_dir)

    def _room(self, box: Box, noise: CaseNoise) -> int:
        bits, means, gating, standard = map(Storage.room, _shapes(_box_on_image(box, self.volume), noise), _DTYPES)
        return gating + self.num_classes * (bits + means + standard)

    def regions(
        self, windows: Sequence[Window], box: Box, noise: CaseNoise, storage: Storage, tell: Tell = unseen
    ) -> tuple[Region, ...]:
        """Run the network over the windows of a region.

        Args:
            windows: all windows that have a voxel of the box.
            box: of the oriented grid.
            noise: of the case.
            storage: that has room left for the box.
            tell: is told how many slices of the box are done.

        Returns:
            The region of every foreground class in the input's own grid; ``standard_bits`` holds, for each expert in
            turn, the N' masks that the samples of the standard form would have from it.

        Raises:
            ConfigError: if the network has another number of classes.
        """
        regions = _empty_regions(_box_on_image(box, self.volume), noise, storage, self.num_classes)
        oriented = [_oriented(region, self.volume) for region in regions]
        compact = noise.samples_per_expert
        for blend in self._blended(self._predictions(windows, box, noise), box, SIGMA, tell):
            k = blend.slice_index - box.start[2]
            by_class = np.split(blend.foreground, self.num_classes, axis=1)
            for region, foreground, masks in zip(oriented, by_class, _masks(by_class), strict=True):
                region.expert_means[:, :, k] = halved(foreground[:, :compact].mean(axis=1)).transpose(1, 2, 0)
                region.gating[:, :, k] = halved(blend.expert_probs).transpose(1, 2, 0)
                region.sample_bits[:, :, k] = _bits(masks[:, :compact])
                region.standard_bits[:, :, k] = _bits(masks[:, compact:])
            if k % _RELEASE_SLICES == 0:
                storage.release()
        return regions

    def marginals(
        self, windows: Sequence[Window], box: Box, noise: CaseNoise, sigma: float, tell: Tell = unseen
    ) -> tuple[Box, list[NDArray[np.float16]]]:
        """Run the network over the windows of a region, and keep no more than its marginal.

        Args:
            windows: all windows that have a voxel of the box.
            box: of the oriented grid.
            noise: of the case, without samples of the standard form.
            sigma: of the weights of a window where windows overlap, as a fraction of its sides.
            tell: is told how many slices of the box are done.

        Returns:
            The box on the input's own grid, and there the marginal foreground probability (i, j, k) of every class.

        Raises:
            ConfigError: if the network has another number of classes.
        """
        on_image = _box_on_image(box, self.volume)
        marginals = [np.zeros(on_image.shape, dtype=np.float16, order="F") for _ in range(self.num_classes)]
        oriented = [np.asarray(self.volume.steps.apply(marginal)) for marginal in marginals]
        predicted = (_marginal(one, self.num_classes) for one in self._predictions(windows, box, noise))
        for blend in self._blended(predicted, box, sigma, tell):
            for marginal, foreground in zip(oriented, blend.foreground[0], strict=True):
                marginal[:, :, blend.slice_index - box.start[2]] = halved(foreground)
        return on_image, marginals

    def _predictions(self, windows: Sequence[Window], box: Box, noise: CaseNoise) -> Iterator[Prediction]:
        return predictions(
            self.network,
            self.volume,
            windows,
            box,
            noise,
            self.preprocessing,
            self.sw_batch_size,
            num_classes=self.num_classes,
            precision=self.precision,
        )

    def _blended(self, predicted: Iterator[Prediction], box: Box, sigma: float, tell: Tell) -> Iterator[BlendedSlice]:
        """Slices of a box, at the voxels of the volume itself."""
        seen = _box_on_volume(box, self.volume)
        for number, blend in enumerate(blended_slices(predicted, box, sigma), start=1):
            yield _on_volume(blend, box, seen, self.volume)
            tell(number, box.shape[2])


def _marginal(prediction: Prediction, num_classes: int) -> Prediction:
    """The prediction of one expert with one sample, whose probability is the marginal of all."""
    weighted = np.tensordot(prediction.expert_probs, prediction.foreground, axes=1)
    by_class = weighted.reshape(num_classes, -1, *weighted.shape[1:])
    return Prediction(prediction.window, by_class.mean(axis=1)[None], np.ones(1, dtype=np.float32))


def _oriented(region: Region, volume: OrientedVolume) -> Region:
    """The same arrays in the orientation of the network."""
    bits, means, gating, standard = (np.asarray(volume.steps.apply(array)) for array in region[1:])
    return Region(region.box, bits, means, gating, standard)


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


def box_on_volume_grid(box: Box, volume: OrientedVolume, within: Box) -> Box:
    """The voxels of the oriented grid, inside a box of it, that hold a box of the input's own grid."""
    seen = box.reoriented(volume.steps, tuple(volume.steps.undo(volume.values).shape))
    low, high = box_on_grid(seen.start[:2], seen.stop[:2], volume.grid)
    return Box((*low, seen.start[2]), (*high, seen.stop[2])).intersection(within)


def _shapes(box: Box, noise: CaseNoise) -> list[tuple[int, ...]]:
    """Shapes of the arrays of a region, in order."""
    experts, compact = len(noise.deviates), noise.samples_per_expert
    channels = (-(-experts * compact // 8), experts, experts, -(-experts * noise.num_standard // 8))
    return [(*box.shape, number) for number in channels]


def _empty_regions(box: Box, noise: CaseNoise, storage: Storage, num_classes: int) -> tuple[Region, ...]:
    """One for each foreground class; they share the expert probabilities."""
    bits, means, gating, standard = _shapes(box, noise)
    shared = storage.zeros(gating, np.float16)
    return tuple(
        Region(
            box=box,
            sample_bits=storage.zeros(bits, np.uint8),
            expert_means=storage.zeros(means, np.float16),
            gating=shared,
            standard_bits=storage.zeros(standard, np.uint8),
        )
        for _ in range(num_classes)
    )


def _masks(by_class: Sequence[NDArray[np.float32]]) -> list[NDArray[np.bool_]]:
    """Mask of every foreground class, each (K, S, H, W), from its probability."""
    if len(by_class) == 1:
        return [by_class[0] > 0.5]
    # The background comes first, and has a voxel where it is equal.
    winner = np.argmax(np.stack([1 - sum(by_class), *by_class]), axis=0)
    return [winner == number for number in range(1, len(by_class) + 1)]


def _bits(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Bits (H, W, ceil(K S / 8)) of masks (K, S, H, W)."""
    experts, samples, height, width = masks.shape
    return pack(masks.reshape(experts * samples, height, width).transpose(1, 2, 0))
