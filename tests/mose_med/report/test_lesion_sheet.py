from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from contourpy import contour_generator
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from matplotlib.path import Path as Outline

from mose_med.geometry import index_to_mm, spacing_mm
from mose_med.inferers import Lesion
from mose_med.io.case.folder import open_folder
from mose_med.report.lesion_sheet.figure import lesion_figure
from mose_med.report.lesion_sheet.pictures import _borders
from mose_med.report.lesion_sheet.view import lesion_view
from mose_med.report.lesion_volumes import LesionVolumes, read_lesion_volumes
from tests.fixtures.report import ReportCase


@pytest.fixture(scope="module")
def drawn(report_case: ReportCase) -> tuple[Lesion, LesionVolumes]:
    case = open_folder(report_case.folder)
    lesion = case.lesions[0]
    (volumes,) = read_lesion_volumes(case, report_case.image.numpy()[0], [lesion])
    return lesion._replace(nodule_id="nodule"), volumes


def test_a_sheet_is_drawn_alike_twice(drawn, tmp_path: Path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(lesion_figure(*drawn, case="case-1").png())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png")[..., :3].std() > 0.1


def test_other_samples_give_another_picture(drawn, tmp_path: Path):
    lesion, volumes = drawn
    (tmp_path / "a.png").write_bytes(lesion_figure(lesion, volumes).png())
    (tmp_path / "b.png").write_bytes(
        lesion_figure(lesion, volumes._replace(samples=np.zeros_like(volumes.samples))).png()
    )
    assert np.abs(imread(tmp_path / "a.png") - imread(tmp_path / "b.png")).max() > 0.3


def test_the_view_holds_this_lesion_and_not_the_other(drawn):
    lesion, volumes = drawn
    view = lesion_view(volumes, lesion, columns=7)
    place = index_to_mm(volumes.affine, np.array([*view.centre, view.middle]))
    np.testing.assert_allclose(place[:2], lesion.place_mm[:2], atol=0.8)
    assert view.half_mm == 15  # the ball of 3.5 mm and its margin take less than the least side
    assert volumes.samples[:, :, view.middle].any()


def test_a_lesion_larger_than_the_box_is_shown_without_anything_beyond_it(drawn):
    lesion, volumes = drawn
    wide = LesionVolumes(
        np.diag([-0.7, -0.7, 2.0, 1.0]), *(np.repeat(np.repeat(of, 2, axis=0), 2, axis=1) for of in volumes[1:6])
    )
    everywhere = np.ones_like(wide.samples)
    everywhere[:3] = False
    view = lesion_view(wide._replace(samples=everywhere), lesion, columns=7)
    longest, edges = max(wide.image.shape[:2]), spacing_mm(wide.affine)
    assert view.half_mm == pytest.approx(longest * edges[0] / 2)
    assert view.centre[int(np.argmax(wide.image.shape[:2]))] == (longest - 1) / 2


@pytest.mark.parametrize("experts", [1, 2, 7, 8, 16])
def test_pictures_lie_side_by_side_inside_the_sheet(drawn, experts: int):
    lesion, volumes = drawn
    of_experts = [number % volumes.samples.shape[3] for number in range(experts)]
    more = lesion._replace(
        expert_probs=np.full(experts, 1 / experts),
        volume_ml=lesion.volume_ml._replace(samples=lesion.volume_ml.samples[of_experts]),
    )
    many = volumes._replace(samples=volumes.samples[:, :, :, of_experts])
    figure = lesion_figure(more, many)
    width, height = figure.get_size_inches()
    assert width <= 19
    canvas = figure.axes[0]
    squares = [patch.get_bbox() for patch in canvas.patches if patch.get_width() == patch.get_height()]
    slices = lesion_view(many, more, int(np.clip(experts + 3, 6, 10))).slices
    assert len(squares) == len(slices) + experts + 3
    for place, square in enumerate(squares):
        assert 0 < square.x0 < square.x1 < width
        assert 0 < square.y0 < square.y1 < height
        assert not any(square.count_overlaps([other]) for other in squares[:place])


def test_a_volume_of_one_column_can_be_drawn(drawn):
    lesion, volumes = drawn
    thin = LesionVolumes(volumes.affine, *(of[10:11] for of in volumes[1:6]))
    assert lesion_figure(lesion, thin).pixels().std() > 10


def test_outlines_run_half_way_between_the_voxels(drawn):
    masks = np.zeros((5, 6, 3), bool)
    masks[1:4, 2:4, 0] = True
    masks[:, :, 2] = True
    borders = _borders(masks)
    assert list(borders) == [0, 2]
    (inner, _), (outer, _) = borders.values()
    np.testing.assert_allclose((inner.min(axis=0), inner.max(axis=0)), ((0.5, 1.5), (3.5, 3.5)))
    np.testing.assert_allclose((outer.min(axis=0), outer.max(axis=0)), ((-0.5, -0.5), (4.5, 5.5)))


@given(st.integers(0, 1000), st.floats(0.02, 0.9))
def test_each_mask_has_the_outlines_that_it_has_alone(seed: int, share: float):
    masks = np.random.default_rng(seed).random((7, 5, 4)) < share
    borders = _borders(masks)
    assert list(borders) == np.flatnonzero(masks.any(axis=(0, 1))).tolist()
    for number, (points, codes) in borders.items():
        alone = contour_generator(z=np.pad(masks[:, :, number], 1).astype(float)).lines(0.5)
        wanted = np.concatenate(alone)[:, ::-1] - 1
        np.testing.assert_array_equal(np.unique(points, axis=0), np.unique(wanted, axis=0))
        assert np.count_nonzero(codes == Outline.MOVETO) == len(alone)


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 40])
def test_the_middle_slice_is_among_those_shown(drawn, columns: int):
    lesion, volumes = drawn
    view = lesion_view(volumes, lesion, columns)
    assert view.middle in view.slices
    assert list(view.slices) == sorted(set(view.slices))
    assert len(view.slices) == min(columns, volumes.image.shape[2])


def test_a_lesion_that_no_sample_sees_is_shown_where_it_was_listed(drawn, tmp_path: Path):
    lesion, volumes = drawn
    nothing = volumes._replace(samples=np.zeros_like(volumes.samples), consensus=np.zeros_like(volumes.consensus))
    empty = lesion.volume_ml._replace(samples=np.zeros((2, 3)), p_empty=1.0)
    lost = lesion._replace(centroid_mm=None, in_consensus=False, volume_ml=empty)
    view = lesion_view(nothing, lost, columns=5)
    place = index_to_mm(volumes.affine, np.array([*view.centre, view.middle]))
    np.testing.assert_allclose(place, lost.position_mm, atol=spacing_mm(volumes.affine).max())
    (tmp_path / "lost.png").write_bytes(lesion_figure(lost, nothing).png())
    assert (tmp_path / "lost.png").stat().st_size > 10_000
