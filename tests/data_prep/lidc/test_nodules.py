from __future__ import annotations

import numpy as np
import pytest

from data_prep.lidc.annotations import Annotation, Contour, Scan
from data_prep.lidc.nodules import Nodule, NoduleRun, crop_runs, find_nodules, nodule_centre
from data_prep.lidc.series import Grid, Series, SliceFile
from mose_med.errors import DataError
from mose_med.io.dicom.headers import SliceHeader
from mose_med.preprocessing import PADDING_HU

SPACING = 2.0
SHAPE = (60, 50)


def square(row: int, col: int, half: int, z_mm: float) -> Contour:
    """Outline of the square of side 2 half + 1 around a pixel; it encloses a side of 2 half - 1."""
    side = range(-half, half + 1)
    points = [(-half, c) for c in side] + [(r, half) for r in side]
    points += [(half, -c) for c in side] + [(-r, -half) for r in side]
    return Contour(z_mm, True, np.add(list(dict.fromkeys(points)), (row, col)))


def scan_of(*annotations: Annotation) -> Scan:
    return Scan("P", 1, "1", "1.2", 0.5, SPACING, np.arange(0, 40, SPACING), annotations)


def nodule_of(*raters: list[Contour]) -> Nodule:
    annotations = tuple(Annotation(number, tuple(contours)) for number, contours in enumerate(raters))
    return Nodule("P_nodule-1", scan_of(*annotations), annotations)


def header(instance_number: int) -> SliceHeader:
    unused = dict.fromkeys(SliceHeader._fields, None)
    return SliceHeader(**{**unused, "instance_number": instance_number})


def series_at(*z_mm: float, flip_i: bool = False) -> Series:
    grid = Grid(*SHAPE, 0.5, 0.5, x_mm=0.0, y_mm=0.0, flip_i=flip_i, flip_j=False)
    slices = tuple(SliceFile(header(number), z) for number, z in enumerate(z_mm))
    return Series("P", "1.2", False, grid, slices, 0)


def read_hu(slice_file: SliceFile) -> np.ndarray:
    """HU that tell i, j and the slice."""
    i, j = np.mgrid[: SHAPE[1], : SHAPE[0]]
    return (i + 100 * j + slice_file.header.instance_number).astype(np.int16)


def runs_of(nodule: Nodule, series: Series, size: int = 16) -> list[NoduleRun]:
    return list(crop_runs(nodule, series, (size, size), read_hu))


def test_window_lies_around_the_centre_of_all_outlines():
    nodule = nodule_of([square(30, 20, 3, 4.0)], [square(32, 20, 3, 6.0)])
    (run,) = runs_of(nodule, series_at(4.0, 6.0))
    assert nodule_centre(nodule, series_at(4.0)) == (20.0, 31.0)
    assert run.image_hu[8, 8, 0] == read_hu(SliceFile(header(0), 0.0))[20, 31]
    np.testing.assert_allclose(run.affine @ [8, 8, 1, 1], [-20 * 0.5, -31 * 0.5, 6.0, 1])


def test_masks_keep_their_rater_and_missing_ones_are_empty():
    nodule = nodule_of([square(30, 20, 3, 4.0)], [square(30, 20, 4, 4.0), square(30, 20, 2, 6.0)])
    (run,) = runs_of(nodule, series_at(4.0, 6.0))
    assert run.masks.sum(axis=(0, 1)).tolist() == [[25, 49, 0, 0], [0, 9, 0, 0]]
    assert run.raters_present == (2, 1)


def test_contours_meet_the_nearest_slice_within_half_a_spacing():
    nodule = nodule_of([square(30, 20, 3, 4.0), square(30, 20, 2, 6.0)])
    (run,) = runs_of(nodule, series_at(3.2, 8.0))
    assert run.z_mm == (3.2,)
    assert run.masks.sum() == 25


def test_slices_that_are_not_on_disk_start_another_run():
    nodule = nodule_of([square(30, 20, 3, z_mm) for z_mm in (2.0, 4.0, 6.0, 8.0, 10.0)])
    runs = runs_of(nodule, series_at(2.0, 4.0, 8.0, 10.0, 12.0))
    assert [(run.number, run.z_mm) for run in runs] == [(1, (2.0, 4.0)), (2, (8.0, 10.0))]
    assert runs[1].affine[2, 2] == SPACING
    assert runs[1].affine[2, 3] == 8.0


def test_no_slice_on_disk_gives_no_run():
    assert runs_of(nodule_of([square(30, 20, 3, 4.0)]), series_at(20.0)) == []


def test_window_past_the_edge_is_padded_and_flagged():
    (run,) = runs_of(nodule_of([square(4, 45, 3, 4.0)]), series_at(4.0))
    assert run.padded
    assert (run.image_hu[:, :4] == PADDING_HU).all()
    assert (run.image_hu[13:] == PADDING_HU).all()
    assert (run.image_hu[:13, 4:] != PADDING_HU).all()


def test_mirrored_storage_mirrors_the_window():
    nodule = nodule_of([square(30, 20, 3, 4.0)])
    (run,) = runs_of(nodule, series_at(4.0, flip_i=True))
    assert nodule_centre(nodule, series_at(4.0, flip_i=True)) == (29.0, 30.0)
    assert run.masks[6:11, 6:11, 0, 0].all()
    assert run.masks.sum() == 25


def test_contours_outside_of_the_slices_are_refused():
    with pytest.raises(DataError, match=r"P_nodule-1: contours reach \(row, col\) .*61.*, its slices are 60x50"):
        runs_of(nodule_of([square(58, 20, 3, 4.0)]), series_at(4.0))


def test_nodules_with_few_or_too_many_annotations_are_left_out_but_counted():
    near = [Annotation(n, (square(30, 20, 3, 4.0),)) for n in range(5)]
    lone = Annotation(9, (square(10, 20, 3, 20.0),))
    found = find_nodules(scan_of(*near, lone), min_raters=1)
    assert [nodule.nodule_id for nodule in found.nodules] == ["P_nodule-2"]
    assert found.num_over_four_annotations == 1
    found = find_nodules(scan_of(*near[:3], lone), min_raters=2)
    assert [nodule.nodule_id for nodule in found.nodules] == ["P_nodule-1"]
    assert found.num_below_min_raters == 1
