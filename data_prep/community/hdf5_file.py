"""Slices of ``data_lidc.hdf5``: groups ``train``, ``val`` and ``test`` with ``images``, ``labels`` and ``uids``.

``images`` (N, row, col) are shifted by -0.5, ``labels`` are (N, row, col, R), ``uids`` name the series by a hash.
Which slices belong to one nodule is not stored: each is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from data_prep.community.nodules import NUM_RATERS, CommunityNodule, CommunitySlice
from mose_med.errors import DataError, MissingDependencyError

__all__ = ["open_hdf5_nodules"]

_GROUPS = {"train": "training", "val": "validation", "test": "test"}
_SHIFT = 0.5
#: What a shift in the file's own precision may lose.
_ROUNDING = 1e-5


@contextmanager
def open_hdf5_nodules(path: Path) -> Iterator[Iterator[CommunityNodule]]:
    """Slices of the file, each as its own nodule, read one at a time.

    Raises:
        DataError: if the file is damaged or has other groups, datasets or shapes.
        MissingDependencyError: if h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError("h5py", "community") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} cannot be read as HDF5: {str(error).splitlines()[0]}") from error
    with file:
        groups = {name: _group(file, name, path) for name in _GROUPS if name in file}
        if not groups:
            raise DataError(f"{path} must have the groups {', '.join(_GROUPS)}, got {', '.join(file) or 'none'}")
        yield (nodule for name, group in groups.items() for nodule in _slices(name, group))


def _group(file: Any, name: str, path: Path) -> Any:
    group = file[name]
    for dataset in ("images", "labels", "uids"):
        if dataset not in group:
            raise DataError(f"{path}: group {name} has no {dataset}")
    images, labels, uids = (group[dataset].shape for dataset in ("images", "labels", "uids"))
    if len(images) != 3 or labels != (*images, NUM_RATERS) or uids[:1] != images[:1]:
        raise DataError(
            f"{path}: group {name} must have images (N, row, col), labels (N, row, col, {NUM_RATERS}) and uids (N), "
            f"got {images}, {labels} and {uids}"
        )
    return group


def _slices(name: str, group: Any) -> Iterator[CommunityNodule]:
    for index, uid in enumerate(group["uids"][:]):
        nodule_id = f"{name}-{index + 1:05d}"
        yield CommunityNodule(
            nodule_id=nodule_id,
            series_uid=_text(uid),
            part=_GROUPS[name],
            spacing_mm=None,
            slices=(CommunitySlice(nodule_id, 0, _reader(group, index)),),
        )


def _text(uid: Any) -> str:
    value = uid.item() if isinstance(uid, np.ndarray) and uid.size == 1 else uid
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _reader(group: Any, index: int) -> Any:
    def read() -> tuple[ArrayLike, ArrayLike]:
        try:
            image, masks = group["images"][index] + np.float64(_SHIFT), group["labels"][index]
        except OSError as error:
            raise DataError(f"{group.name}: slice {index + 1} cannot be read: {error}") from error
        inside = np.where((image > -_ROUNDING) & (image < 1 + _ROUNDING), image.clip(0, 1), image)
        return inside, np.moveaxis(masks, -1, 0)

    return read
