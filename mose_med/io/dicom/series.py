"""Chooses the CT series of an input.

Of several series the first in this order is read:

1. the longest; one with at least nine tenths of the most axial slices is as long;
2. the one that a scanner made, before those derived from it (ImageType ``DERIVED``: thick slabs, reformats);
3. the one whose kernel models know best: standard, then lung, unknown, edge, soft (:mod:`mose_med.io.kernels`);
4. the one of thinner slices; then the one of more slices; then by name.

A study's thin series has the most slices, so the thin series of the best known kernel is read. A series that is first
and has a fault is refused, never replaced by the next: name another one.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from functools import cache
from typing import NamedTuple

import numpy as np

from mose_med.errors import ConfigError, DataError, GeometryError, MoseError
from mose_med.geometry import MIN_AXIAL_COSINE, MIN_SLICES
from mose_med.io.dicom.element_values import cosine_fault
from mose_med.io.dicom.files import DicomFile
from mose_med.io.dicom.headers import SliceHeader
from mose_med.io.dicom.stacking.acquisitions import slices_of_acquisition
from mose_med.io.dicom.stacking.stack import GantryTilt, SliceSpacing, ordered_stack, plane_normal
from mose_med.io.kernels import kernel_preference

__all__ = ["MIN_SLICES", "SeriesSummary", "choose_series", "summaries"]

_LOGGER = logging.getLogger(__name__)
#: Share of the most axial slices from which a series counts as just as long.
_AS_LONG = 0.9
_PLANES = ("sagittal", "coronal", "axial")

Series = list[SliceHeader]


class SeriesSummary(NamedTuple):
    """One line of the list of series; it does not identify the patient.

    Attributes:
        number: from 1, in the order of preference.
        series_uid: empty where the files have none.
        description: SeriesDescription.
        kernel: ConvolutionKernel.
        slices: how many.
        spacing_mm: column, row and slice spacing; None where it is not known.
        orientation: axial, coronal, sagittal, mixed or unknown.
        fault: why it cannot be read; empty if it can.
    """

    number: int
    series_uid: str
    description: str
    kernel: str
    slices: int
    spacing_mm: tuple[float, float, float] | None
    orientation: str
    fault: str


def choose_series(headers: list[SliceHeader], series: str | None = None, acquisition: int | None = None) -> Series:
    """The named series, or the one that comes first in the order of this module.

    Files without SeriesInstanceUID form a series by folder, frame of reference, orientation and matrix.

    Args:
        headers: of all CT images of the input.
        series: SeriesInstanceUID, or the number that :func:`summaries` gives the series.
        acquisition: number of the acquisition to take of the series; all slices if None.

    Raises:
        ConfigError: if there is no such series, or it has no such acquisition.
        DataError: if the input holds two patients, or the series has files that cannot be slices of a CT volume.
        GeometryError: if no series is axial, or it has fewer than three slices.
    """
    ranked = _ranked(headers)
    if series is None:
        _require_one_patient(headers)
        chosen = ranked[0]
        if len(ranked) > 1:
            _LOGGER.info("the input holds %d CT series: the one with %d slices is read", len(ranked), len(chosen))
    else:
        chosen = _named(ranked, series)
        _require_one_patient(chosen)
    if acquisition is not None:
        chosen = slices_of_acquisition(chosen, acquisition)
    _require_slices(chosen)
    return chosen


def summaries(
    headers: list[SliceHeader], *, slice_spacing: SliceSpacing = "refuse", gantry_tilt: GantryTilt = "refuse"
) -> list[SeriesSummary]:
    """All CT series of an input, in order of preference, with the effect of the options on them.

    Raises:
        ConfigError: if an option is invalid.
    """
    return [
        _summary(number, series, slice_spacing, gantry_tilt) for number, series in enumerate(_ranked(headers), start=1)
    ]


def _without_copies(headers: list[SliceHeader]) -> list[SliceHeader]:
    """The headers, one of those that are alike and whose files are the same byte for byte."""
    alike = Counter(header[1:] for header in headers)

    @cache
    def content(file: DicomFile) -> str:
        with file.open() as stream:
            return hashlib.sha256(stream.read()).hexdigest()

    kept = {(header[1:], content(header.file) if alike[header[1:]] > 1 else ""): header for header in reversed(headers)}
    if len(kept) < len(headers):
        _LOGGER.warning("%d slices are stored twice: one of each is read", len(headers) - len(kept))
    return list(reversed(kept.values()))


def _ranked(headers: list[SliceHeader]) -> list[Series]:
    groups: dict[tuple[object, ...], Series] = defaultdict(list)
    for header in _without_copies(headers):
        groups[_series_key(header)].append(header)
    most = max(_num_axial(series) for series in groups.values())

    def preference(item: tuple[tuple[object, ...], Series]) -> tuple[object, ...]:
        key, series = item
        num_axial = _num_axial(series)
        length = most if num_axial >= _AS_LONG * most else num_axial
        derived = "DERIVED" in series[0].image_type[:1]
        kernel = kernel_preference(series[0].kernel)
        return -length, derived, kernel, _slice_spacing_mm(series), -num_axial, -len(series), str(key)

    return [series for _, series in sorted(groups.items(), key=preference)]


def _series_key(header: SliceHeader) -> tuple[object, ...]:
    if header.series_uid:
        return (header.series_uid,)
    orientation = None if header.orientation is None else tuple(np.round(header.orientation, 3).tolist())
    return ("", header.file.folder, header.frame_of_reference, orientation, header.rows, header.columns)


def _num_axial(series: Series) -> int:
    return sum(map(_is_axial, series))


def _slice_spacing_mm(series: Series) -> float:
    """Usual distance of neighbouring slices, rounded so that tenths of a percent do not decide; 0 if not known."""
    if not all(map(_is_axial, series)) or len(series) < 2:
        return 0.0
    along = np.sort([float(np.dot(plane_normal(series[0]), header.position or ())) for header in series])
    return round(float(np.median(np.diff(along))), 2)


def _named(ranked: list[Series], name: str) -> Series:
    for series in ranked:
        if series[0].series_uid and series[0].series_uid == name:
            return series
    if name.isdecimal() and 1 <= int(name) <= len(ranked):
        return ranked[int(name) - 1]
    raise ConfigError(
        f"no CT series {name!r} in the input: give a SeriesInstanceUID of it, or a number from 1 to {len(ranked)}"
    )


def _require_one_patient(headers: list[SliceHeader]) -> None:
    first_of: dict[str, str] = {}
    for header in headers:
        if header.patient:
            first_of.setdefault(header.patient, header.name)
    if len(first_of) > 1:
        one, other = list(first_of.values())[:2]
        raise DataError(f"the input must hold one patient, got {len(first_of)} ({one} and {other}): split it")


def _require_slices(series: Series) -> None:
    for header in series:
        _require_axial_slice(header)
    if len(series) < MIN_SLICES:
        raise GeometryError(f"a CT series must have at least {MIN_SLICES} slices, got {len(series)} ({series[0].name})")


def _is_axial(header: SliceHeader) -> bool:
    try:
        _require_axial_slice(header)
    except MoseError:
        return False
    return True


def _require_axial_slice(header: SliceHeader) -> None:
    name = header.name
    if header.samples_per_pixel != 1:
        raise DataError(f"{name} must be a grey image, got {header.samples_per_pixel} samples per pixel (colour)")
    if header.frames != 1:
        raise DataError(f"{name} must hold one slice, got {header.frames} frames: export it as single-frame CT")
    for tag, value in (
        ("ImagePositionPatient", header.position),
        ("ImageOrientationPatient", header.orientation),
        ("PixelSpacing", header.pixel_spacing),
    ):
        if value is None:
            raise DataError(f"{name} has no usable {tag}: its place in the patient is unknown")
    if min(header.pixel_spacing or (0.0,)) <= 0:
        raise GeometryError(f"{name} must have PixelSpacing > 0, got {header.pixel_spacing}")
    fault = cosine_fault(header.orientation or ())
    if fault:
        raise GeometryError(f"ImageOrientationPatient of {name} {fault}")
    normal = plane_normal(header)
    if abs(normal[2]) < MIN_AXIAL_COSINE:
        lps = ", ".join(f"{value:.2f}" for value in normal.round(2) + 0.0)
        raise GeometryError(f"{name} is not axial: the normal of its plane is ({lps}) in LPS")


def _summary(number: int, series: Series, slice_spacing: SliceSpacing, gantry_tilt: GantryTilt) -> SeriesSummary:
    first, spacing, fault = series[0], None, ""
    try:
        _require_one_patient(series)
        _require_slices(series)
        stack = ordered_stack(series, slice_spacing=slice_spacing, gantry_tilt=gantry_tilt)
        column_mm, row_mm, slice_mm = np.linalg.norm(stack.affine[:3, :3], axis=0).tolist()
        spacing = (column_mm, row_mm, slice_mm)
    except (DataError, GeometryError) as error:
        fault = str(error)
    return SeriesSummary(
        number=number,
        series_uid=first.series_uid,
        description=first.series_description,
        kernel=first.kernel,
        slices=len(series),
        spacing_mm=spacing,
        orientation=_orientation(series),
        fault=fault,
    )


def _orientation(series: Series) -> str:
    found = {
        "unknown" if header.orientation is None else _PLANES[int(np.argmax(np.abs(plane_normal(header))))]
        for header in series
    }
    return found.pop() if len(found) == 1 else "mixed"
