"""CT volumes in HU from DICOM series.

``HU = RescaleSlope x stored value + RescaleIntercept``, slice by slice; stored values that PixelPaddingValue (with
PixelPaddingRangeLimit) marks as no measurement become air, -1024 HU. A series whose slices have neither tag is taken to
hold HU where its values can be HU. Compressed pixel data goes through pydicom's decoders.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray

from mose_med.ct_image import CtImage
from mose_med.errors import DataError
from mose_med.io.dicom.enhanced import frame_dataset, with_frames
from mose_med.io.dicom.files import ENHANCED_CT, DicomFile, open_files, read_dataset, without_remarks
from mose_med.io.dicom.headers import SliceHeader, ct_headers
from mose_med.io.dicom.pixels import decoders_silenced, stored_values
from mose_med.io.dicom.series import SeriesSummary, choose_series, summaries
from mose_med.io.dicom.stacking.missing_slices import require_no_unreadable_slice
from mose_med.io.dicom.stacking.resampling import planes_on_grid
from mose_med.io.dicom.stacking.stack import GantryTilt, SliceSpacing, Stack, ordered_stack
from mose_med.io.hu_volume import stacked_hu
from mose_med.io.padding import warn_of_padding, without_padding
from mose_med.io.study import Source, Study
from mose_med.preprocessing import PADDING_HU
from mose_med.runtime.ahead import ahead

__all__ = ["list_series", "read_dicom", "slice_hu"]

_LOGGER = logging.getLogger(__name__)
#: HU up to which a voxel is air or lung, and the least share of such voxels of a CT; padding does not count.
_AIR_HU = -500
_LEAST_AIR = 0.01


def read_dicom(
    path: str | os.PathLike[str],
    series: str | None = None,
    *,
    acquisition: int | None = None,
    slice_spacing: SliceSpacing = "refuse",
    gantry_tilt: GantryTilt = "refuse",
) -> Study:
    """Read the CT series of a folder (searched with its subfolders, any file names) or of a zip archive.

    Args:
        path: folder or zip; archives within it are searched too.
        series: SeriesInstanceUID, or number in :func:`list_series`, of the series to read; if None, the one that
            :mod:`mose_med.io.dicom.series` puts first.
        acquisition: number of the acquisition to read of the series; all slices if None.
        slice_spacing: what to do with slices that are missing or not equally spaced: ``refuse``, or ``resample``.
        gantry_tilt: what to do with slices of a tilted gantry: ``refuse``, or ``correct``.

    Raises:
        ConfigError: if there is no such series or acquisition, or an option does not fit.
        DataError: if the input has no CT, two patients, or files that cannot be used.
        GeometryError: if the slices do not make a volume.
    """
    with open_files(Path(path)) as files:
        chosen = choose_series(with_frames(ct_headers(files)), series, acquisition)
        require_no_unreadable_slice(files, chosen)
        stack = ordered_stack(chosen, slice_spacing=slice_spacing, gantry_tilt=gantry_tilt)
        volume = _volume(stack)
    _check_rescaling(stack.slices, volume)
    for correction in stack.corrections:
        _LOGGER.warning("corrected: %s", correction)
    first = stack.slices[0]
    image = CtImage(torch.from_numpy(volume)[None], torch.from_numpy(stack.affine))
    source = Source("dicom", first.patient, first.study_uid, first.series_uid, first.frame_of_reference)
    return Study(image, source, stack.corrections)


def list_series(
    path: str | os.PathLike[str],
    *,
    slice_spacing: SliceSpacing = "refuse",
    gantry_tilt: GantryTilt = "refuse",
) -> list[SeriesSummary]:
    """The CT series of a folder or zip, in the order of preference, and whether :func:`read_dicom` can read them.

    Raises:
        ConfigError: if an option is invalid.
        DataError: if the input has no CT, or files that cannot be used.
    """
    with open_files(Path(path)) as files:
        return summaries(with_frames(ct_headers(files)), slice_spacing=slice_spacing, gantry_tilt=gantry_tilt)


def _check_rescaling(slices: list[SliceHeader], volume: NDArray[np.int16 | np.float32]) -> None:
    """Refuse slices without rescaling, unless none of the series has it and its values can be HU."""
    without = [header for header in slices if not header.has_rescaling]
    if not without:
        return
    name = without[0].name
    if len(without) < len(slices):
        raise DataError(f"{name} has no RescaleSlope and RescaleIntercept, but other slices have: export it again")
    measured = volume[volume > PADDING_HU]
    low, high = float(volume.min()), float(volume.max())
    air = np.count_nonzero(measured <= _AIR_HU) / volume.size
    if air < _LEAST_AIR:
        raise DataError(
            f"{name} has no RescaleSlope and RescaleIntercept, and its values, {low:g} to {high:g}, "
            "are not HU, since none is that of air or lung: export the series again with these tags"
        )
    _LOGGER.warning("no slice has RescaleSlope and RescaleIntercept: values, %g to %g, are taken as HU", low, high)


def _volume(stack: Stack) -> NDArray[np.int16 | np.float32]:
    """HU (i, j, k)."""
    planes = _hu_of_slices(stack.slices)
    if stack.grid is not None:
        # What marks the outside of the field of view must not be mixed with tissue.
        outside: list[int] = []
        volume = stacked_hu(planes_on_grid(_with_air_outside(planes, outside), stack.grid), stack.grid.shape)
        warn_of_padding(sum(outside))
        return volume
    first = stack.slices[0]
    return stacked_hu(planes, (first.columns, first.rows, len(stack.slices)))


def _with_air_outside(planes: Iterator[NDArray[np.float32]], outside: list[int]) -> Iterator[NDArray[np.float32]]:
    """Planes without padding; ``outside`` gets the number of padding pixels of each."""
    for plane in planes:
        inside, count = without_padding(plane)
        outside.append(count)
        yield inside


def _hu_of_slices(slices: list[SliceHeader]) -> Iterator[NDArray[np.float32]]:
    """HU (row, column) of one slice after the other; a file that holds neighbouring slices is read once.

    Threads read and decode the next files meanwhile.
    """
    of_files = [list(headers) for _, headers in groupby(slices, key=lambda header: header.file.name)]
    # Entered around all threads: what each of them restores is then what all of them want.
    with without_remarks(), decoders_silenced():
        contents = ahead(_content, (headers[0] for headers in of_files), torch.get_num_threads())
        for headers, content in zip(of_files, contents, strict=True):
            for header in headers:
                yield _hu(header, content)


def slice_hu(header: SliceHeader) -> NDArray[np.float32]:
    """HU of one slice, (row, column).

    Raises:
        DataError: if its pixels cannot be used, or it does not say how they are converted to HU.
    """
    if not header.has_rescaling:
        raise DataError(f"{header.file.name} has no RescaleSlope and RescaleIntercept: it cannot be converted to HU")
    return _hu(header, _content(header))


class _Content(NamedTuple):
    """A file's dataset, and its stored values (frame, row, column)."""

    dataset: pydicom.Dataset
    stored: NDArray[np.integer]


def _content(header: SliceHeader) -> _Content:
    dataset = read_dataset(header.file)
    stored = stored_values(header.file, dataset)
    frames = int(dataset.NumberOfFrames) if header.sop_class in ENHANCED_CT else 1
    if stored.size != frames * header.rows * header.columns:
        raise DataError(
            f"{header.file.name} must hold {header.rows} x {header.columns} pixels, got shape {stored.shape}"
        )
    return _Content(dataset, stored.reshape(frames, header.rows, header.columns))


def _hu(header: SliceHeader, content: _Content) -> NDArray[np.float32]:
    tags, stored = content.dataset, content.stored[header.frame]
    if header.sop_class in ENHANCED_CT:
        tags = frame_dataset(header.file, content.dataset, header.frame)
    hu: NDArray[np.float32] = stored.astype(np.float32)
    if header.has_rescaling:
        hu *= _number(header.file, tags, "RescaleSlope")
        hu += _number(header.file, tags, "RescaleIntercept")
    hu[_padding(content.dataset, stored)] = PADDING_HU
    return hu


def _number(file: DicomFile, dataset: pydicom.Dataset, keyword: str) -> np.float32:
    value = dataset.get(keyword)
    try:
        number = np.float32(value)
    except (TypeError, ValueError):
        number = np.float32(np.nan)
    if value is None or not np.isfinite(number):
        raise DataError(f"{file.name} has no usable {keyword}: its values cannot be converted to HU")
    return number


def _padding(dataset: pydicom.Dataset, stored: NDArray[np.integer]) -> NDArray[np.bool_]:
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    # The tag's sign is ambiguous (US or SS): reading it as the pixels' own type settles it.
    ends = np.asarray([value, limit if isinstance(limit, int) else value]).astype(stored.dtype)
    return np.asarray((stored >= ends.min()) & (stored <= ends.max()))
