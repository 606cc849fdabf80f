"""Reading a finished case folder back: its lesions, its provenance and boxes of its maps.

Maps lie on the whole grid of the input and are almost all zeros; only the planes that a box needs are kept, so that a
study of any length is read in the memory of the boxes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip
from numpy.typing import NDArray

from mose_med.case_contents.lesion_rules import LESIONS_NAME
from mose_med.case_contents.maps import (
    DEFAULT_OUTPUTS,
    PROVENANCE_NAME,
    SAMPLE_MASKS,
    class_marks,
    kind_of_map,
    maps_of_kind,
    of_class,
)
from mose_med.errors import DataError
from mose_med.geometry import Affine, mm_to_index
from mose_med.inferers import Box, Lesion
from mose_med.io.case.components import StoredComponent
from mose_med.io.case.lesions import lesion_of
from mose_med.io.case.writing import own_folder
from mose_med.io.nifti.damaged import named_nifti_errors
from mose_med.io.nifti.header import scaled

__all__ = ["CaseFolder", "open_folder"]

_FIRST_SAMPLES = "expert-1_samples"


@dataclass(frozen=True)
class CaseFolder:
    """A case folder that holds the maps that ``mose-med infer`` writes by default, or more.

    Attributes:
        folder: of the case.
        name: of the case.
        shape: of the input's grid (i, j, k).
        affine: of that grid, RAS mm.
        num_experts: K.
        samples_per_expert: S.
        lesions: in the order of ``lesions.json``.
        provenance: what made the case.
        classes: names of the foreground classes that have maps of their own; none if they are not known.
    """

    folder: Path
    name: str
    shape: tuple[int, int, int]
    affine: Affine
    num_experts: int
    samples_per_expert: int
    lesions: tuple[Lesion, ...]
    provenance: Mapping[str, Any]
    classes: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """Marks of the classes, in the names of maps."""
        return class_marks(self.classes) or ("",)

    def has(self, kind: str) -> bool:
        """Whether the folder has the maps of a kind."""
        names = maps_of_kind(kind, self.num_experts, self.marks)
        return all((self.folder / f"{name}.nii.gz").is_file() for name in names)

    def maps(self, kind: str) -> list[str]:
        """Names of the maps of a kind without the class, if the folder has them."""
        return maps_of_kind(kind, self.num_experts) if self.has(kind) else []

    def crops(self, name: str, boxes: Sequence[Box]) -> list[NDArray[np.generic]]:
        """Cut boxes out of one map, each (i, j, k) or (i, j, k, channels).

        Masks come in the type of the file, probabilities and entropies as float32, however they are stored.

        Args:
            name: of the map, as its file is named without ``.nii.gz``.
            boxes: inside the grid.

        Raises:
            DataError: if the file is missing or damaged.
        """
        stored = _stored(self.folder, name)
        shape, dtype = stored.shape, stored.dtype
        channels = shape[3] if len(shape) == 4 else 1
        results = [np.empty((*box.shape, channels), dtype, order="F") for box in boxes]
        planes = sorted({k for box in boxes for k in range(box.start[2], box.stop[2])})
        bytes_of_plane = shape[0] * shape[1] * dtype.itemsize
        with _reading(self.folder, name) as path, igzip.open(path) as stream:
            for channel in range(channels):
                for k in planes:
                    stream.seek(stored.offset + (channel * shape[2] + k) * bytes_of_plane)
                    plane = np.frombuffer(stream.read(bytes_of_plane), dtype).reshape(shape[:2], order="F")
                    for box, result in zip(boxes, results, strict=True):
                        if box.start[2] <= k < box.stop[2]:
                            result[:, :, k - box.start[2], channel] = plane[box.slices[:2]]
        values = [_scaled(result, stored) for result in results]
        return values if len(shape) == 4 else [result[..., 0] for result in values]

    def own_crops(self, name: str, boxes: Sequence[Box], numbers: Sequence[int]) -> list[NDArray[np.generic]]:
        """As :meth:`crops`, each box in the lesion's own region where that shares voxels with another.

        Args:
            name: of the map, without the class: each lesion has its own.
            boxes: inside the grid of the case, one for each lesion; outside the own region there is 0.
            numbers: of the lesions.

        Raises:
            DataError: if a file is missing or damaged.
        """
        named = {number: of_class(name, self._mark(number)) for number in numbers}
        crops: dict[int, NDArray[np.generic]] = {}
        for file in dict.fromkeys(named.values()):
            places = [n for n, number in enumerate(numbers) if named[number] == file]
            crops |= zip(places, self.crops(file, [boxes[n] for n in places]), strict=True)
        for n, (box, number) in enumerate(zip(boxes, numbers, strict=True)):
            own = own_folder(self.folder, number)
            if own.is_dir():
                _fill_from(own, named[number], box, crops[n], self)
        return [crops[n] for n in range(len(boxes))]

    def _mark(self, number: int) -> str:
        """Mark of the class of a lesion."""
        if len(self.marks) == 1:
            return self.marks[0]
        label = next(lesion.label for lesion in self.lesions if lesion.number == number)
        if label not in self.classes:
            raise DataError(
                f"{self.folder / LESIONS_NAME}: lesion {number} has the class {label!r}, which the case lacks"
            )
        return self.marks[self.classes.index(label)]


def _fill_from(own: Path, name: str, box: Box, crop: NDArray[np.generic], case: CaseFolder) -> None:
    """Copy a box of a lesion's own maps into its crop, and 0 elsewhere."""
    with _reading(own, name) as path:
        image = nib.load(path)
        values = _scaled(np.asarray(image.dataobj.get_unscaled()), image.dataobj)
    i, j, k = np.round(mm_to_index(case.affine, image.affine[:3, 3])).astype(int).tolist()
    grid = Box((i, j, k), (i + values.shape[0], j + values.shape[1], k + values.shape[2]))
    inside = box.intersection(grid)
    crop[...] = 0
    if 0 not in inside.shape:
        crop[inside.slices_in(box)] = values[inside.slices_in(grid)]


def _scaled(whole: NDArray[np.generic], stored: nib.arrayproxy.ArrayProxy) -> NDArray[np.generic]:
    """Values of a map from what its file holds: as they are, or float32 where the header has a scale."""
    scaling = (float(stored.slope), float(stored.inter))
    return scaled(whole, None if scaling == (1, 0) else scaling)


def open_folder(folder: Path, name: str | None = None) -> CaseFolder:
    """Open a finished case folder.

    Args:
        folder: of the case.
        name: of the case; that of the folder if None.

    Raises:
        DataError: if it is not one: the message names the missing file or the invalid entry.
    """
    if not folder.is_dir():
        raise DataError(
            f"case folder {folder} {'is a file' if folder.exists() else 'does not exist'}: name a case folder"
        )
    is_case = (folder / PROVENANCE_NAME).exists()
    if not is_case and (inside := sorted(path.parent.name for path in folder.glob(f"*/{PROVENANCE_NAME}"))):
        raise DataError(f"{folder} holds {len(inside)} case folders and is none itself: name one, such as {inside[0]}")
    provenance = _read_json(folder, PROVENANCE_NAME)
    classes = _classes(folder, provenance)
    marks = class_marks(classes) or ("",)
    i, j, k, samples_per_expert = _stored(folder, _first_samples(folder, marks)).shape
    records = _read_json(folder, LESIONS_NAME).get("lesions", [])
    num_experts = _num_experts(folder, provenance, marks)
    for kind in DEFAULT_OUTPUTS:
        for map_name in maps_of_kind(kind, num_experts, marks):
            _require_map(folder, map_name)
    lesions = (lesion_of(record, n, folder / LESIONS_NAME) for n, record in enumerate(records, start=1))
    case = CaseFolder(
        folder=folder,
        name=name or folder.name,
        shape=(i, j, k),
        affine=_affine(folder, provenance, marks),
        num_experts=num_experts,
        samples_per_expert=samples_per_expert,
        lesions=tuple(lesion._replace(label=classes[0]) if len(classes) == 1 else lesion for lesion in lesions),
        provenance=provenance,
        classes=classes,
    )
    return replace(case, lesions=tuple(one._replace(found=StoredComponent(case, one)) for one in case.lesions))


def _classes(folder: Path, provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """Foreground classes of the model that have maps of their own; earlier versions wrote one map for all of them."""
    classes = tuple(map(str, provenance.get("model", {}).get("classes", ())))[1:]
    if len(classes) > 1 and not any(folder.glob(f"{of_class('probability', '*')}.nii.gz")):
        return ()
    return classes


def _affine(folder: Path, provenance: Mapping[str, Any], marks: Sequence[str]) -> Affine:
    """The affine that was inferred on; maps carry both transforms of a NIfTI input, of which it is one."""
    recorded = provenance.get("input", {}).get("affine_ras_mm")
    if recorded is None:
        recorded = nib.load(folder / f"{_first_samples(folder, marks)}.nii.gz").affine
    return np.asarray(recorded, dtype=np.float64)


def _first_samples(folder: Path, marks: Sequence[str]) -> str:
    """Map of the samples, the first expert's and class's if there are several."""
    without, first = (of_class(name, marks[0]) for name in (SAMPLE_MASKS, _FIRST_SAMPLES))
    return without if (folder / f"{without}.nii.gz").is_file() else first


def _num_experts(folder: Path, provenance: Mapping[str, Any], marks: Sequence[str]) -> int:
    """K from the record of the model; without one, the number of experts with samples; 1 without experts."""
    if _first_samples(folder, marks).startswith(SAMPLE_MASKS):
        return 1
    recorded = provenance.get("model", {}).get("network", {}).get("num_experts")
    numbers = (path.name.partition("_")[0].removeprefix("expert-") for path in folder.glob("expert-*_samples.nii.gz"))
    return recorded if isinstance(recorded, int) else max(int(number) for number in numbers if number.isdecimal())


def _require(folder: Path, name: str, remedy: str = "") -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError(f"case folder {folder} lacks {name}: run `mose-med infer` again{remedy}")
    return path


def _require_map(folder: Path, name: str) -> Path:
    return _require(folder, f"{name}.nii.gz", f", with {kind_of_map(name)} in --outputs (or `--outputs all`)")


@contextmanager
def _reading(folder: Path, name: str) -> Iterator[Path]:
    """Path of a map; an error of the block becomes a DataError that names the file."""
    path = _require_map(folder, name)
    with named_nifti_errors(f"{path} cannot be read"):
        yield path


def _stored(folder: Path, name: str) -> nib.arrayproxy.ArrayProxy:
    """Shape, type and place of the values of a map, unread."""
    with _reading(folder, name) as path:
        return nib.load(path).dataobj


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = _require(folder, name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content
