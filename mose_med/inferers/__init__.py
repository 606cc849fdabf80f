"""One case in memory, to its distribution of segmentations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mose_med.inferers.boxes import Box
from mose_med.inferers.bundles.autocast import AutocastInferer
from mose_med.inferers.bundles.samples import SamplesInferer
from mose_med.inferers.case import infer_case
from mose_med.inferers.distribution import CaseDistribution, MapFormat
from mose_med.inferers.lesions.lesion import Lesion, LesionEntropy
from mose_med.inferers.lesions.volumes import VolumeDistribution
from mose_med.inferers.lungs import lung_mask
from mose_med.inferers.regions import Region
from mose_med.inferers.windows.asked_regions import RegionName
from mose_med.inferers.windows.cutting import NoduleWindows, Window, nodule_windows, require_inside
from mose_med.runtime.lazy_names import names_from

if TYPE_CHECKING:
    from mose_med.inferers.bundles.preprocessed_windows import PreprocessedWindows

__all__ = [
    "AutocastInferer",
    "Box",
    "CaseDistribution",
    "Lesion",
    "LesionEntropy",
    "MapFormat",
    "NoduleWindows",
    "PreprocessedWindows",
    "Region",
    "RegionName",
    "SamplesInferer",
    "VolumeDistribution",
    "Window",
    "infer_case",
    "lung_mask",
    "nodule_windows",
    "require_inside",
]

#: Only MONAI's bundles use it, and it imports MONAI.
__getattr__ = names_from(__name__, {"bundles.preprocessed_windows": "PreprocessedWindows"})
