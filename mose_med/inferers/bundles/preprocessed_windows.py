"""MONAI's inference slice by slice, each window preprocessed as in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SliceInferer
from torch import Tensor

from mose_med.preprocessing import Preprocessing

__all__ = ["PreprocessedWindows"]


class PreprocessedWindows(SliceInferer):  # type: ignore[misc]  # monai has no types here
    """Windows of every axial slice of a volume in HU: cut, preprocessed each on its own, shown to the network, blended.

    MONAI pads every channel with one value. Where channels have values of their own, one more channel says which voxels
    lie inside the image, and the others get theirs before they are preprocessed.

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
            cval=preprocessing.fills(1)[0],
        )
        self.preprocessing = preprocessing

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Output of the network for a volume (B, C, H, W, D), on the same grid."""
        fills = self.preprocessing.fills(inputs.shape[1])
        if len(set(fills)) == 1:
            return super().__call__(inputs, lambda windows: network(self.preprocessing(windows)), *args, **kwargs)
        values = torch.tensor(fills, device=inputs.device).view(-1, 1, 1)
        inside = torch.full_like(inputs[:, :1], self.cval + 1)

        def show(windows: Tensor) -> Any:
            image = torch.where(windows[:, -1:] == self.cval, values.to(windows.device), windows[:, :-1])
            return network(self.preprocessing(image))

        return super().__call__(torch.cat([inputs, inside], dim=1), show, *args, **kwargs)
