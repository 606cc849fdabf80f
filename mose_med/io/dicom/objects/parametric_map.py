"""Parametric maps of a case, on the grid of the series it was inferred from: values as they are, in float32.

Viewers that do not show fractional segmentations show these. A map has a frame for every slice from the first to the
last that holds something, so that its frames make a volume. Frames stay in a file until they are written.
"""

from __future__ import annotations

import math
from typing import BinaryIO, NamedTuple

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from mose_med.case_contents.maps import class_marks, of_class
from mose_med.inferers import CaseDistribution
from mose_med.io.dicom.objects.common import CaseObjects, MapPurpose, private_code, without_run_traces
from mose_med.io.dicom.objects.seg.frames import frames_of, one_pixel_images
from mose_med.io.dicom.objects.seg.segments import planes_of

__all__ = ["MAP_PURPOSES", "parametric_map"]

_FLOAT, _BYTES = "<f4", 4


class _Quantity(NamedTuple):
    """The content of a map: the name of its NIfTI, its code and meaning, and its largest value."""

    name: str
    code: str
    meaning: str
    largest: float


_QUANTITIES: dict[MapPurpose, _Quantity] = {
    "probability map": _Quantity("probability", "PROBABILITY", "Probability of lesion", 1.0),
    "entropy map": _Quantity("entropy", "ENTROPY", "Predictive entropy in nats", math.log(2)),
}


#: Of the maps that there are.
MAP_PURPOSES = tuple(_QUANTITIES)


def parametric_map(
    distribution: CaseDistribution, objects: CaseObjects, purpose: MapPurpose, pixels: BinaryIO, class_index: int = 0
) -> Dataset | None:
    """A map of a case; None if it is 0 everywhere.

    Args:
        distribution: of the case.
        objects: what the objects of the case share.
        purpose: which map.
        pixels: an empty file, which gets the frames; it must be open until the map is written.
        class_index: of the foreground class, from 0: the maps of all classes are one series.
    """
    quantity, mark = _QUANTITIES[purpose], class_marks(distribution.classes)[class_index]
    name = of_class(quantity.name, mark)
    own = {"sop_instance_uid": objects.uid(f"{purpose} {mark}"), "instance_number": class_index + 1} if mark else {}
    holding = [k for k, plane in planes_of(distribution, name) if plane.any()]
    if not holding:
        return None
    indices = range(holding[0], holding[-1] + 1)
    made = hd.pm.ParametricMap(
        source_images=one_pixel_images(objects, indices),
        pixel_array=np.zeros((len(indices), 1, 1), dtype=np.float32),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping(quantity)],
        voi_lut_transformations=[
            hd.VOILUTTransformation(
                window_center=quantity.largest / 2,
                window_width=quantity.largest,
                voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,
            )
        ],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label=f"MOSE_{quantity.code}",
        content_description=f"{quantity.meaning} {mark}".rstrip(),
        series_description=f"MoSE {quantity.name} map",
        **(objects.header(purpose) | own),
    )
    made.Rows, made.Columns = objects.source.header.Rows, objects.source.header.Columns
    made.Laterality = ""
    places = {k: place for place, (_, k) in enumerate(frames_of(made, objects))}
    for k, plane in planes_of(distribution, name):
        if k in places:
            pixels.seek(places[k] * plane.size * _BYTES)
            pixels.write(np.ascontiguousarray(plane, dtype=_FLOAT).data)
    pixels.seek(0)
    made.FloatPixelData = pixels
    without_run_traces(made, objects.uid(f"{purpose} dimensions"))
    return made


def _mapping(quantity: _Quantity) -> hd.pm.RealWorldValueMapping:
    return hd.pm.RealWorldValueMapping(
        lut_label=quantity.code,
        lut_explanation=quantity.meaning,
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, quantity.largest),
        slope=1.0,
        intercept=0.0,
        quantity_definition=private_code(quantity.code, quantity.meaning),
    )
