"""Checks a prepared data set: is it unchanged and consistent? Every finding says what is wrong and where."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from data_prep.datalist import DATALIST_NAME, MANIFEST_NAME, PRIVATE_NAME
from mose_med.data.datalist import Datalist, DatalistEntry, load_datalist
from mose_med.errors import ConfigError
from mose_med.files.hashes import file_sha256
from mose_med.geometry import grid_difference, spacing_mm
from mose_med.io.nifti.damaged import DAMAGED_NIFTI

__all__ = ["Finding", "verify"]

_SAME_PLACE_MM = 1e-2
_SAME_SPACING_MM = 1e-3


class Finding(NamedTuple):
    """A finding about a data set.

    Attributes:
        place: file, entry or patient.
        what: is wrong there.
        is_wrong: False for what may be as it should, but should be known.
    """

    place: str
    what: str
    is_wrong: bool = True


class _Slice(NamedTuple):
    """An entry and its name."""

    place: str
    part: str
    entry: DatalistEntry


def verify(folder: Path) -> Iterator[Finding]:
    """Check a folder that ``mose-med prepare`` wrote.

    Hashes against the manifest; every image and its masks lie on the same grid, at the place the datalist says; masks
    are of known classes and none is empty where raters outlined something; no patient and no image is in two parts.
    """
    yield from _files(folder)
    try:
        datalist = load_datalist(folder / DATALIST_NAME)
    except ConfigError as error:
        yield Finding(DATALIST_NAME, str(error))
        return
    slices = [
        _Slice(f"{part}[{index}] ({entry.nodule_id}, slice {entry.slice_index})", part, entry)
        for part, entries in datalist.parts.items()
        for index, entry in enumerate(entries)
    ]
    yield from _patients_in_two_parts(slices)
    yield from _images(slices, datalist)


def _files(folder: Path) -> Iterator[Finding]:
    try:
        hashes = dict(json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))["sha256"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield Finding(MANIFEST_NAME, f"is missing or damaged ({type(error).__name__}): files cannot be verified")
        return
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            yield Finding(name, "is missing")
        elif file_sha256(path) != expected:
            yield Finding(name, "has changed since it was written (SHA-256 differs from the manifest)")
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    for path in found:
        if path.as_posix() not in hashes and path.parts[0] not in (MANIFEST_NAME, PRIVATE_NAME):
            yield Finding(path.as_posix(), "is not in the manifest", is_wrong=False)


def _patients_in_two_parts(slices: Sequence[_Slice]) -> Iterator[Finding]:
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for one in slices:
        parts[one.entry.patient_id].add(one.part)
    for patient, names in sorted(parts.items()):
        if len(names) > 1:
            yield Finding(f"patient {patient}", f"is in more than one part: {', '.join(sorted(names))}")


def _images(slices: Sequence[_Slice], datalist: Datalist) -> Iterator[Finding]:
    """What is wrong with pixels and geometry, one file pair after the other."""
    of_pair: defaultdict[tuple[Path, Path], list[_Slice]] = defaultdict(list)
    for one in slices:
        of_pair[one.entry.image, one.entry.label].append(one)
    seen: dict[bytes, _Slice] = {}
    marked: defaultdict[str, list[bool]] = defaultdict(list)
    for (image_path, label_path), members in of_pair.items():
        try:
            image, label = nib.load(image_path), nib.load(label_path)
            wrong = list(_grids(image, label, members, datalist))
            yield from wrong
            if not wrong:
                voxels, masks = np.asarray(image.dataobj), np.asarray(label.dataobj)
                for one in members:
                    yield from _masks(one, masks[:, :, one.entry.slice_index], datalist, marked)
                    yield from _image(one, voxels[:, :, one.entry.slice_index], seen)
        except DAMAGED_NIFTI as error:
            name = image_path.relative_to(datalist.root)
            yield Finding(
                f"{name} or its masks", f"cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}"
            )
    for nodule, any_marked in sorted(marked.items()):
        if not any(any_marked):
            yield Finding(f"nodule {nodule}", "is outlined by raters, but every mask on every slice is empty")


def _grids(
    image: nib.Nifti1Image, label: nib.Nifti1Image, members: Sequence[_Slice], datalist: Datalist
) -> Iterator[Finding]:
    name = members[0].entry.label.relative_to(datalist.root).as_posix()
    expected = (*image.shape[:3], datalist.num_masks)
    if label.shape != expected:
        yield Finding(name, f"has shape {label.shape}: must be that of its image and raters {expected}")
        return
    grids = (label.shape[:3], label.affine, image.shape[:3], image.affine)
    difference = grid_difference(*grids, whose="the image's", tolerance_mm=_SAME_PLACE_MM)
    if difference is not None:
        yield Finding(name, f"does not lie where its image does: {difference}")
    found = spacing_mm(image.affine)[:2]
    if datalist.spacing_mm is not None and not np.allclose(found, datalist.spacing_mm, rtol=0, atol=_SAME_SPACING_MM):
        what = f"has an in-plane spacing of {found[0]:.4g} x {found[1]:.4g} mm"
        yield Finding(name, f"{what}: {DATALIST_NAME} says {datalist.spacing_mm:g}")
    if nib.aff2axcodes(image.affine)[2] != "S" and members[0].entry.z_mm is not None:
        yield Finding(name, f"has k pointing to {nib.aff2axcodes(image.affine)[2]}: must be S (superior)")
    for one in members:
        entry = one.entry
        if entry.slice_index >= image.shape[2]:
            yield Finding(one.place, f"names a slice that its image of {image.shape[2]} slices does not have")
            continue
        z_mm = float((image.affine @ [0, 0, entry.slice_index, 1])[2])
        if entry.z_mm is not None and abs(z_mm - entry.z_mm) > _SAME_PLACE_MM + 0.1 * abs(image.affine[2, 2]):
            yield Finding(one.place, f"has z_mm {entry.z_mm:g}, its image is at {z_mm:g}")


def _masks(
    one: _Slice, masks: NDArray[np.generic], datalist: Datalist, marked: defaultdict[str, list[bool]]
) -> Iterator[Finding]:
    """Masks (i, j, R) of one slice."""
    strange = masks[~np.isin(masks, range(len(datalist.classes)))]
    if strange.size:
        found = f"has class {strange[0]:g} in its masks"
        yield Finding(one.place, f"{found}: there are {len(datalist.classes)} classes")
    drawn = int(masks.any(axis=(0, 1)).sum())
    present = one.entry.raters_present
    if drawn > present:
        yield Finding(one.place, f"has {drawn} masks that are not empty, but raters_present is {present}")
    if present:
        marked[one.entry.nodule_id].append(drawn > 0)
        if drawn == 0:
            yield Finding(one.place, f"is outlined by {present} raters, but every mask is empty", is_wrong=False)


def _image(one: _Slice, image: NDArray[np.generic], seen: dict[bytes, _Slice]) -> Iterator[Finding]:
    """Values of one slice, and whether they have been seen."""
    if not np.isfinite(image).all():
        yield Finding(one.place, "has values in its image that are not finite")
        return
    if (image == image.flat[0]).all():
        yield Finding(one.place, f"has an image of one value, {image.flat[0]}")
        return
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
    first = seen.setdefault(digest, one)
    if first.part != one.part:
        yield Finding(one.place, f"has the same image as {first.place}, which is in another part")
