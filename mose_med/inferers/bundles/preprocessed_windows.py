"""MONAI's inference slice by slice, each window preprocessed as in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.inferers import SliceInferer
from torch import Tensor

from mose_med.preprocessing import PADDING_HU, Preprocessing

__all__ = ["PreprocessedWindows"]


class PreprocessedWindows(SliceInferer):  # type: ignore[misc]  # monai has no types here
    """Windows of every axial slice of a volume in HU: cut, preprocessed each on its own, shown to the network, blended.

    Args:
        preprocessing: of a window; its ``roi_size`` is that of the windows.
        sw_batch_size: windows the network sees at once.
        overlap: of neighbouring windows, as a fraction of a window.
    """

    def __init__(self, preprocessing: Preprocessing, sw_batch_size: int = 16, overlap: float = 0.25) -> None:
        super().__init__(
            spatial_dim=2,
            roi_size=preprocessing.roi_size,
            sw_batch_size=sw_batch_size,
            overlap=overlap,
            cval=PADDING_HU,
        )
        self.preprocessing = preprocessing

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Output of the network for a volume (B, 1, H, W, D), on the same grid."""
        return super().__call__(inputs, lambda windows: network(self.preprocessing(windows)), *args, **kwargs)
