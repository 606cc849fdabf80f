"""Whole files of slices as the network takes them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from mose_med.preprocessing import Preprocessing

__all__ = ["PreprocessSlicesd"]


class PreprocessSlicesd(MapTransform):  # type: ignore[misc]  # monai has no types here
    """Window and standardise every axial slice of a volume on its own.

    Args:
        keys: of volumes (1, H, W, D) in HU.
        preprocessing: what is done to a slice.
    """

    def __init__(self, keys: KeysCollection, preprocessing: Preprocessing) -> None:
        super().__init__(keys)
        self.preprocessing = preprocessing

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Preprocess each volume."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.preprocessing(data[key].movedim(3, 0)).movedim(0, 3)
        return result
