"""Figures of data, scores and predictions; its functions are imported when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mose_med.report.histogram import VolumeHistogram, volume_histogram
    from mose_med.report.lesion_sheet.figure import LesionFigure, lesion_figure
    from mose_med.report.lesion_volumes import LesionVolumes, read_lesion_volumes
    from mose_med.report.reliability import write_reliability
    from mose_med.report.review import write_review
    from mose_med.report.sample_grid import SamplePanel, write_sample_grid

__all__ = [
    "LesionFigure",
    "LesionVolumes",
    "SamplePanel",
    "VolumeHistogram",
    "lesion_figure",
    "read_lesion_volumes",
    "volume_histogram",
    "write_reliability",
    "write_review",
    "write_sample_grid",
]

_MODULES = {
    "LesionFigure": "lesion_sheet.figure",
    "LesionVolumes": "lesion_volumes",
    "SamplePanel": "sample_grid",
    "VolumeHistogram": "histogram",
    "lesion_figure": "lesion_sheet.figure",
    "read_lesion_volumes": "lesion_volumes",
    "volume_histogram": "histogram",
    "write_reliability": "reliability",
    "write_review": "review",
    "write_sample_grid": "sample_grid",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
