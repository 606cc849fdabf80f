"""One case in memory, to its distribution of segmentations."""

from mose_med.inferers.autocast import AutocastInferer
from mose_med.inferers.case import OVERLAP, infer_case
from mose_med.inferers.distribution import CaseDistribution, MapFormat
from mose_med.inferers.lesions import LESION_THRESHOLD, MIN_LESION_ML, REACH_MM, Lesion, LesionEntropy, LesionRules
from mose_med.inferers.lungs import lung_mask
from mose_med.inferers.regions import Box, Region
from mose_med.inferers.sliding import require_overlap
from mose_med.inferers.views import RegionName
from mose_med.inferers.volumes import VolumeDistribution
from mose_med.inferers.windows import DEPTH_MM, NoduleWindows, Window, nodule_windows, require_inside

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
