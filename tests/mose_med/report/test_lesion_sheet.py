from __future__ import annotations

from io import BytesIO
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image, ImageColor

from mose_med.errors import ConfigError
from mose_med.geometry import index_to_mm, spacing_mm
from mose_med.inferers import Lesion
from mose_med.io.case.folder import open_folder
from mose_med.report.colours import expert_colour
from mose_med.report.lesion_sheet.canvas import Canvas
from mose_med.report.lesion_sheet.charts import lesion_facts
from mose_med.report.lesion_sheet.figure import lesion_figure
from mose_med.report.lesion_sheet.layout import sheet_layout
from mose_med.report.lesion_sheet.outlines import Grid
from mose_med.report.lesion_sheet.pictures import plane_picture, slice_pictures, voxel_grid
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
    layout = sheet_layout(experts)
    assert layout.width <= 19
    slices = lesion_view(many, more, layout.columns).slices
    shown = [*range(len(slices)), *range(layout.columns, layout.columns + experts + 3)]
    drawn_at = (lesion_figure(more, many).pixels() != 255).any(axis=2)
    assert drawn_at.shape == (round(100 * layout.height), round(100 * layout.width))
    for number in range(layout.columns * layout.rows):
        left, top = (round(100 * place) for place in layout.square(number))
        assert (drawn_at[top : top + 175, left : left + 175].mean() > 0.99) == (number in shown)
        assert not drawn_at[top - 20 : top + 180, left + 176 : left + 181].any()  # nor does a title leave its column
        if number not in shown:
            assert not drawn_at[top : top + 175, left : left + 175].any()
    edges = (drawn_at[:5], drawn_at[-3:], drawn_at[:, :5].T, drawn_at[:, -5:].T)
    assert not any(edge.any() for edge in edges)


def test_a_volume_of_one_column_can_be_drawn(drawn):
    lesion, volumes = drawn
    thin = LesionVolumes(volumes.affine, *(of[10:11] for of in volumes[1:6]))
    assert lesion_figure(lesion, thin).pixels().std() > 10


def test_an_expert_is_outlined_in_its_colour_where_its_mask_ends(drawn):
    lesion, volumes = drawn
    view = lesion_view(volumes, lesion, columns=7)
    masks = np.zeros_like(volumes.samples)
    i, j = (round(centre) for centre in view.centre)
    masks[i - 3 : i + 4, j - 2 : j + 3, view.middle, 1, 0] = True
    pictures = slice_pictures(volumes._replace(samples=masks), view, 175, 100)
    grid = voxel_grid(volumes, view, 175)
    (left, top), (right, bottom) = (
        (grid.first[0] + (i + x) * grid.step[0], grid.first[1] + (j + y) * grid.step[1])
        for x, y in ((-3.5, -2.5), (3.5, 2.5))
    )
    y, x = (place + 0.5 for place in np.nonzero((pictures.experts[1] != pictures.plain).any(axis=2)))
    np.testing.assert_allclose((x.min(), x.max(), y.min(), y.max()), (left, right, top, bottom), atol=1)
    within = np.sort([np.minimum(x - left, right - x), np.minimum(y - top, bottom - y)], axis=0)
    assert not ((within[0] > 1) & (within[1] > 4)).any()  # corners are cut half a voxel off
    colour = ImageColor.getrgb(expert_colour(1))
    assert (pictures.experts[1] == colour).all(axis=2).sum() > (right - left + bottom - top)
    np.testing.assert_array_equal(pictures.experts[0], pictures.plain)


def test_the_slice_of_all_experts_has_the_outlines_of_each(drawn):
    lesion, volumes = drawn
    view = lesion_view(volumes, lesion, columns=7)
    bare = volumes._replace(consensus=np.zeros_like(volumes.consensus))
    pictures = slice_pictures(bare, view, 175, 100)
    middle = pictures.slices[view.slices.index(view.middle)]
    change = np.abs(pictures.experts.astype(int) - pictures.plain).max(axis=(0, 3))
    changed = (middle != pictures.plain).any(axis=-1)
    assert changed[change > 20].all()
    assert not changed[change == 0].any()
    colour = ImageColor.getrgb(expert_colour(len(pictures.experts) - 1))
    whole = (pictures.experts[-1] == colour).all(axis=-1)  # the last lies above the others
    assert whole.any()
    assert (middle[whole] == colour).all()


@pytest.mark.parametrize("step", [(0.6, 0.9), (1.4, 1.4), (9.0, 5.5)])
def test_a_voxel_is_shown_at_its_place_and_nothing_beyond_the_volume(step: tuple[float, float]):
    grid = Grid(100, (41.3, 38.6), step)
    plane = np.zeros((9, 7))
    plane[4, 3] = 1
    picture = plane_picture(plane, grid, "gray")[..., 0].astype(float)
    centre = np.array([(picture.sum(axis=axis) * (np.arange(100) + 0.5)).sum() for axis in (0, 1)]) / picture.sum()
    np.testing.assert_allclose(centre, (41.3 + 4 * step[0], 38.6 + 3 * step[1]), atol=0.1)
    shown = plane_picture(plane, grid, "viridis").any(axis=2)
    across, down = np.flatnonzero(shown.any(axis=0)), np.flatnonzero(shown.any(axis=1))
    ends_across, ends_down = 41.3 + step[0] * np.array([-0.5, 8.5]), 38.6 + step[1] * np.array([-0.5, 6.5])
    np.testing.assert_allclose((across[0], across[-1] + 1), np.clip(ends_across, 0, 100), atol=1)
    np.testing.assert_allclose((down[0], down[-1] + 1), np.clip(ends_down, 0, 100), atol=1)


def test_names_that_are_too_long_are_cut_in_the_title(drawn):
    lesion, volumes = drawn
    names = {"case": "a case " * 40, "label": "καρκίνος\nпечени " * 40}
    title = lesion_figure(lesion, volumes, **names).pixels()[:45]
    middle = title.shape[1] // 2
    assert (title[:, middle - 15 : middle + 15] == 255).all()
    assert (title[:, :middle] != 255).any()
    assert (title[:, middle:] != 255).any()


def test_the_facts_fit_beside_the_charts(drawn, monkeypatch: pytest.MonkeyPatch):
    lesion, volumes = drawn
    monkeypatch.setattr(Canvas, "text", note := Mock())
    far = lesion._replace(centroid_mm=(182.5, 290.7, -1193.0), touches_edge=True)
    one = far._replace(expert_probs=np.ones(1), volume_ml=lesion.volume_ml._replace(samples=np.ones((1, 3))))
    lesion_figure(one, volumes._replace(samples=volumes.samples[:, :, :, :1])).pixels()
    canvas, values = Canvas(1, 1, 100), [value for _, value in lesion_facts(one, volumes)]
    written = {call.args[2]: call.kwargs for call in note.call_args_list}
    assert all(canvas.text_width(value, 9) <= written[value]["most"] for value in values)


@pytest.mark.parametrize("dpi", [20, 600])
def test_the_resolution_makes_the_size(drawn, dpi: int):
    sheet = lesion_figure(*drawn)
    at_hundred, found = sheet.pixels(100).shape, sheet.pixels(dpi).shape
    np.testing.assert_allclose(found[:2], np.multiply(at_hundred[:2], dpi / 100), atol=1)


@pytest.mark.parametrize("dpi", [0, 19, 601, float("nan")])
def test_a_resolution_that_cannot_be_read_or_held_is_refused(drawn, dpi: float):
    with pytest.raises(ConfigError, match=f"dpi must be from 20 to 600, got {dpi:g}"):
        lesion_figure(*drawn).png(dpi)


def test_a_notebook_shows_it_smaller(drawn):
    figure = lesion_figure(*drawn)
    shown, saved = (Image.open(BytesIO(png)) for png in (figure._repr_png_(), figure.png()))
    assert shown.width == pytest.approx(0.6 * saved.width, abs=1)
    np.testing.assert_array_equal(np.asarray(saved), figure.pixels())


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
