"""Further samples around a lesion, for the quantiles of its volume: more than the case keeps, and forgotten again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose_med.inferers.boxes import Box
from mose_med.inferers.lesions.measuring import LesionSource
from mose_med.inferers.noise import CaseNoise
from mose_med.inferers.sampling import box_on_volume_grid, region_room, sample_region
from mose_med.inferers.storage import Storage
from mose_med.inferers.windows.asked_regions import AskedRegion
from mose_med.inferers.windows.cutting import OrientedVolume, Window
from mose_med.networks.protocol import StochasticNetwork
from mose_med.preprocessing import Preprocessing

__all__ = ["FurtherSamples"]


@dataclass
class FurtherSamples:
    """Samples of further codes in boxes of a region, as long as they are cheap.

    All lesions of a region together are shown to the network in at most as many windows as the region has: a listed
    lesion always has them, those of a search until that is used up, the largest first.

    Args:
        network: in eval mode.
        volume: the case in the orientation and spacing of the network.
        asked: that the lesions lie in.
        noise: of the case; without further noise there are no samples.
        affine: of the input's grid.
        image_shape: of the input's grid.
        preprocessing: of the network.
        sw_batch_size: windows per call of the network.
        scratch_dir: of a temporary file; the system's own if None.
        num_classes: F, foreground classes of the network.
    """

    network: StochasticNetwork
    volume: OrientedVolume
    asked: AskedRegion
    noise: CaseNoise
    affine: NDArray[np.float64]
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing
    sw_batch_size: int
    scratch_dir: Path | None
    num_classes: int = 1
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._left = len(set(self.asked.windows))

    def around(self, near: Box, class_index: int = 0) -> LesionSource | None:
        """Samples of a class in a box of the input's grid that lies in the region; None where there are none."""
        noise = self.noise.more
        if noise is None:
            return None
        box = box_on_volume_grid(near, self.volume, self.asked.box)
        windows = [window for window in set(self.asked.windows) if self._window_box(window).overlaps(box)]
        if len(windows) > self._left:
            return None
        self._left -= len(windows)
        storage = Storage(region_room(box, self.volume, noise, self.num_classes), self.scratch_dir)
        regions = sample_region(
            self.network,
            self.volume,
            windows,
            box,
            noise,
            preprocessing=self.preprocessing,
            sw_batch_size=self.sw_batch_size,
            storage=storage,
            num_classes=self.num_classes,
        )
        region = regions[class_index]
        return LesionSource(
            region, self.affine, self.image_shape, (len(noise.deviates), noise.samples_per_expert), storage
        )

    def _window_box(self, window: Window) -> Box:
        (i, j), k, (height, width) = window.start, window.slice_index, self.preprocessing.roi_size
        return Box((i, j, k), (i + height, j + width, k + 1))
