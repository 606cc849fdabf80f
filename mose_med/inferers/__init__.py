"""One case in memory, to its distribution of segmentations."""

from mose_med.inferers.autocast import AutocastInferer
from mose_med.inferers.case import infer_case
from mose_med.inferers.distribution import CaseDistribution, MapFormat
from mose_med.inferers.lesions import Lesion, LesionEntropy
from mose_med.inferers.lungs import lung_mask
from mose_med.inferers.regions import Box, Region
from mose_med.inferers.views import RegionName
from mose_med.inferers.volumes import VolumeDistribution
from mose_med.inferers.windows import NoduleWindows, Window, nodule_windows, require_inside
from mose_med.lesion_rules import (
    DEPTH_MM,
    LESION_THRESHOLD,
    MIN_LESION_ML,
    OVERLAP,
    REACH_MM,
    LesionRules,
    require_overlap,
)

__all__ = [
    "DEPTH_MM",
    "LESION_THRESHOLD",
    "MIN_LESION_ML",
    "OVERLAP",
    "REACH_MM",
    "AutocastInferer",
    "Box",
    "CaseDistribution",
    "Lesion",
    "LesionEntropy",
    "LesionRules",
    "MapFormat",
    "NoduleWindows",
    "Region",
    "RegionName",
    "VolumeDistribution",
    "Window",
    "infer_case",
    "lung_mask",
    "nodule_windows",
    "require_inside",
    "require_overlap",
]
