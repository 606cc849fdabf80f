from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mose_med.geometry import index_to_mm, mm_to_index, spacing_mm
from mose_med.io.case.folder import open_folder
from mose_med.report.lesion_volumes import VIEW_MM, LesionVolumes, read_lesion_volumes, view_box
from tests.fixtures.report import ReportCase, write_finished_case


def volumes_of(report_case: ReportCase) -> list[LesionVolumes]:
    case = open_folder(report_case.folder)
    return read_lesion_volumes(case, report_case.image.numpy()[0], case.lesions)


@given(
    spacing=st.tuples(*[st.floats(0.4, 5.0)] * 3),
    shape=st.tuples(*[st.integers(1, 300)] * 3),
    fraction=st.tuples(*[st.floats(0, 1)] * 3),
)
def test_a_view_is_of_the_wanted_size_or_ends_with_the_image(spacing, shape, fraction):
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    voxel = np.round(np.multiply(fraction, np.subtract(shape, 1)))
    box = view_box(affine, shape, tuple(index_to_mm(affine, voxel)))
    for axis in range(3):
        assert 0 <= box.start[axis] <= voxel[axis] < box.stop[axis] <= shape[axis]
        reaches_edge = box.start[axis] == 0 or box.stop[axis] == shape[axis]
        assert reaches_edge or box.shape[axis] == np.ceil(VIEW_MM[axis] / spacing[axis])


def test_values_are_those_of_the_files(report_case: ReportCase):
    volumes = volumes_of(report_case)[0]
    start = np.rint(mm_to_index(report_case.image.affine.numpy(), volumes.affine[:3, 3])).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, volumes.image.shape, strict=True))
    np.testing.assert_array_equal(volumes.image, report_case.image.numpy()[0][box])
    for expert in (0, 1):
        masks = np.asarray(nib.load(report_case.folder / f"expert-{expert + 1}_samples.nii.gz").dataobj)
        np.testing.assert_array_equal(volumes.samples[:, :, :, expert], masks[box])
        means = np.asarray(nib.load(report_case.folder / f"expert-{expert + 1}_foreground_probability.nii.gz").dataobj)
        np.testing.assert_array_equal(volumes.expert_probability[..., expert], means[box])
    for name in ("probability", "entropy", "entropy_between_experts", "consensus"):
        values = np.asarray(nib.load(report_case.folder / f"{name}.nii.gz").dataobj)
        np.testing.assert_array_equal(getattr(volumes, name), values[box])


@pytest.mark.parametrize("orientation", ["RAS", "SPL"])
def test_the_orientation_of_the_study_makes_no_difference(report_case: ReportCase, tmp_path: Path, orientation: str):
    turned = volumes_of(write_finished_case(tmp_path / "case", orientation))
    for one, other in zip(volumes_of(report_case), turned, strict=True):
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-4)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.samples, other.samples)
        np.testing.assert_allclose(spacing_mm(other.affine), (0.7, 0.8, 2.0), atol=1e-6)
