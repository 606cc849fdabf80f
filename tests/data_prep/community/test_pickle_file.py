from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.community.nodules import BrokenNodule, file_name, slice_stacks
from data_prep.community.pickle_file import read_pickle_nodules
from mose_med.errors import DataError


def read(path: Path) -> list[Any]:
    """Nodules of a file with their stacks, and errors."""
    nodules = read_pickle_nodules(path)
    return [n.error if isinstance(n, BrokenNodule) else (n, list(slice_stacks(n))) for n in nodules]


def test_slices_of_a_nodule_are_stacked_by_number(community_slices, write_pickle):
    nodules = read(write_pickle(community_slices))
    assert [nodule.nodule_id for nodule, _ in nodules] == [f"{n:04d}" for n in range(8)]
    nodule, (stack,) = nodules[3]
    assert [piece.number for piece in nodule.slices] == [9, 10]
    for k, number in enumerate((9, 10)):
        entry = community_slices[f"0003_slice{number}"]
        np.testing.assert_array_equal(stack.image[:, :, k], entry["image"].T.astype(np.float32))
        for rater in range(4):
            np.testing.assert_array_equal(stack.masks[:, :, k, rater], entry["masks"][rater].T)


def test_spacing_of_rows_is_that_of_j(community_slices, write_pickle):
    _, (stack,) = read(write_pickle(community_slices))[0]
    np.testing.assert_allclose(np.diag(stack.affine), [-0.75, -0.5, 1, 1])


def test_missing_rater_is_not_counted(community_slices, write_pickle):
    _, (stack,) = read(write_pickle(community_slices))[0]
    assert stack.raters_present == (3, 3)


def test_missing_number_begins_another_stack(community_slices, write_pickle):
    community_slices["0000_slice12"] = community_slices["0000_slice9"]
    _, stacks = read(write_pickle(community_slices))[0]
    assert [(stack.name, stack.image.shape[2]) for stack in stacks] == [("0000", 2), ("0000_run-2", 1)]


def test_offset_of_the_masks_is_undone(community_slices, write_pickle):
    path = write_pickle(community_slices)
    (stack,) = slice_stacks(next(read_pickle_nodules(path)), undo_mask_offset=True)
    before = community_slices["0000_slice9"]["masks"][1]
    rows, cols = np.nonzero(before)
    np.testing.assert_array_equal(np.argwhere(stack.masks[:, :, 0, 1].T), np.stack([rows + 1, cols + 1], axis=1))


def test_masks_may_be_one_array_and_spacing_absent(community_slices, write_pickle):
    for entry in community_slices.values():
        entry["masks"] = np.stack(entry["masks"]).astype(float)
        del entry["pixel_spacing"]
    nodule, (stack,) = read(write_pickle(community_slices))[0]
    assert nodule.spacing_mm is None
    assert stack.masks.sum() > 0


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("image", np.full((12, 12), np.nan), r"image must be in \[0, 1\], got nan to nan"),
        ("image", np.full((12, 12), 40.0), r"image must be in \[0, 1\], got 40 to 40"),
        ("image", np.zeros(3), r"image must be \(row, col\), got shape \(3,\)"),
        ("image", "none", "image must hold numbers"),
        ("masks", [np.zeros((12, 12))] * 3, r"masks must be 4 of \(12, 12\), got shape \(3, 12, 12\)"),
        ("masks", [np.zeros((12, 12))] * 3 + [np.zeros((1, 2))], "masks differ in shape"),
        ("masks", [np.full((12, 12), 2)] * 4, "masks must hold 0 and 1, got 2 to 2"),
    ],
)
def test_wrong_arrays_are_named(field: str, value: Any, reason: str, community_slices, write_pickle):
    community_slices["0000_slice9"][field] = value
    with pytest.raises(DataError, match=f"0000_slice9: {reason}"):
        read(write_pickle(community_slices))


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("series_uid", "1.2.1", "0000: slices must be of one series, got 2"),
        ("pixel_spacing", [0.7, 0.7], "0000: slices must have one pixel spacing, got 2"),
        ("pixel_spacing", [0.7, -1], "0000_slice9: pixel_spacing must be two lengths > 0 mm"),
        ("pixel_spacing", "wide", "0000_slice9: pixel_spacing must be two lengths > 0 mm, got wide"),
    ],
)
def test_wrong_entry_does_not_hide_the_others(field: str, value: Any, reason: str, community_slices, write_pickle):
    community_slices["0000_slice9"][field] = value
    nodules = read(write_pickle(community_slices))
    assert str(nodules[0]).startswith(reason)
    assert len(nodules) == 8


def test_entry_without_masks_is_named(community_slices, write_pickle):
    del community_slices["0001_slice9"]["masks"]
    assert str(read(write_pickle(community_slices))[1]) == "0001_slice9 has no masks"


@pytest.mark.parametrize("content", [[1, 2], {}])
def test_another_pickle_is_refused(content: object, write_pickle):
    with pytest.raises(DataError, match="must hold a dictionary of slices"):
        read(write_pickle(content))


def test_file_names_cannot_leave_the_folder():
    assert file_name("../../etc/passwd") == ".._.._etc_passwd"
