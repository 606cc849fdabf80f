"""Further samples around a lesion, for the quantiles of its volume: more than the case keeps, and forgotten again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mose_med.inferers.boxes import Box
from mose_med.inferers.lesions.measuring import LesionSource
from mose_med.inferers.noise import CaseNoise
from mose_med.inferers.sampling import RegionSampler, box_on_volume_grid
from mose_med.inferers.windows.asked_regions import AskedRegion
from mose_med.inferers.windows.cutting import Window

__all__ = ["FurtherSamples"]


@dataclass
class FurtherSamples:
    """Samples of further codes in boxes of a region, as long as they are cheap.

    All lesions of a region together are shown to the network in at most as many windows as the region has: a listed
    lesion always has them, those of a search until that is used up, the largest first.

    Args:
        sampler: of the case.
        asked: that the lesions lie in.
        noise: of the case; without further noise there are no samples.
        affine: of the input's grid.
        image_shape: of the input's grid.
    """

    sampler: RegionSampler
    asked: AskedRegion
    noise: CaseNoise
    affine: NDArray[np.float64]
    image_shape: tuple[int, int, int]
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._left = len(set(self.asked.windows))

    def around(self, near: Box, class_index: int = 0) -> LesionSource | None:
        """Samples of a class in a box of the input's grid that lies in the region; None where there are none."""
        noise = self.noise.more
        if noise is None:
            return None
        box = box_on_volume_grid(near, self.sampler.volume, self.asked.box)
        windows = [window for window in set(self.asked.windows) if self._window_box(window).overlaps(box)]
        if len(windows) > self._left:
            return None
        self._left -= len(windows)
        storage = self.sampler.storage([box], noise)
        region = self.sampler.regions(windows, box, noise, storage)[class_index]
        return LesionSource(
            region, self.affine, self.image_shape, (len(noise.deviates), noise.samples_per_expert), storage
        )

    def _window_box(self, window: Window) -> Box:
        (i, j), k, (height, width) = window.start, window.slice_index, self.sampler.preprocessing.roi_size
        return Box((i, j, k), (i + height, j + width, k + 1))
