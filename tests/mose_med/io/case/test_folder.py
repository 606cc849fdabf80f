from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from mose_med.case_contents.maps import OUTPUTS
from mose_med.errors import DataError
from mose_med.inferers import infer_case
from mose_med.inferers.boxes import Box
from mose_med.io.case.folder import open_folder
from mose_med.io.case.writing import write_case
from tests.fixtures.report import NASTY_NAME, ReportCase

NAMES = ("expert-2_samples", "probability", "consensus", "expert_probs")


@pytest.fixture
def copy(report_case: ReportCase, tmp_path: Path) -> Path:
    """A finished case to break."""
    return Path(shutil.copytree(report_case.folder, tmp_path / "case"))


def edit_lesions(folder: Path, **changes: object) -> None:
    path = folder / "lesions.json"
    content = json.loads(path.read_text())
    for name, value in changes.items():
        content["lesions"][0][name] = value
    path.write_text(json.dumps(content))


def test_a_case_is_read_back(report_case: ReportCase):
    case = open_folder(report_case.folder)
    first, second = case.lesions
    assert (case.shape, case.num_experts, case.samples_per_expert) == ((40, 36, 14), 2, 3)
    assert (first.number, first.name, second.name) == (1, NASTY_NAME, "second")
    assert first.volume_ml.samples.shape == (2, 3)
    np.testing.assert_allclose(case.affine, np.diag([-0.7, -0.8, 2.0, 1.0]), atol=1e-6)
    np.testing.assert_allclose(first.place_mm, (-8.4, -11.2, 12.0), atol=0.3)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_boxes_equal_what_nibabel_reads(report_case: ReportCase, name: str, data: st.DataObject):
    case = open_folder(report_case.folder)
    ends = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in case.shape]
    box = Box(*(tuple(end[which] for end in ends) for which in (0, 1)))
    whole = np.asarray(nib.load(case.folder / f"{name}.nii.gz").dataobj)
    crop, everything = case.crops(name, [box, Box((0, 0, 0), case.shape)])
    np.testing.assert_array_equal(crop, whole[box.slices])
    np.testing.assert_array_equal(everything, whole)


def test_scaled_maps_are_read_as_what_full_ones_hold(bright_voxels, raw_preprocessing, tmp_path: Path):
    image = MetaTensor(torch.randn(1, 20, 18, 6, generator=torch.Generator().manual_seed(0)) * 300 - 300)
    places, box = [(9.0, 9.0, 3.0), (12.0, 9.0, 3.0)], Box((1, 2, 0), (19, 15, 6))
    result = infer_case(bright_voxels, image, preprocessing=raw_preprocessing, nodules=places, depth_mm=4)
    crops: dict[str, list[np.ndarray]] = {}
    for maps in ("scaled", "full"):
        folder = tmp_path / maps
        folder.mkdir()
        write_case(folder, result, maps=maps)
        (folder / "provenance.json").write_text("{}")
        crops[maps] = open_folder(folder).own_crops("entropy", [box, box], [1, 2])
    for scaled, full in zip(crops["scaled"], crops["full"], strict=True):
        assert scaled.dtype == full.dtype == np.float32
        assert 0 < np.abs(scaled - full).max() <= 1 / 2048


@pytest.mark.parametrize(
    "name", ["lesions.json", "provenance.json", "entropy.nii.gz", "expert-1_samples.nii.gz", "consensus.nii.gz"]
)
def test_a_missing_file_is_named(copy: Path, name: str):
    (copy / name).unlink()
    with pytest.raises(DataError, match=rf"lacks {name}: run `mose-med infer` again"):
        open_folder(copy)


def test_a_map_that_is_no_output_of_the_case_is_named_with_the_option_that_writes_it(copy: Path):
    for path in copy.glob("expert-*_foreground_probability.nii.gz"):
        path.unlink()
    case, message = open_folder(copy), "again, with foreground_probability in --outputs"
    assert (case.num_experts, [kind for kind in OUTPUTS if not case.has(kind)]) == (2, ["foreground_probability"])
    with pytest.raises(
        DataError, match=rf"lacks expert-2_foreground_probability\.nii\.gz: run `mose-med infer` {message}"
    ):
        case.crops("expert-2_foreground_probability", [Box((0, 0, 0), case.shape)])


def test_what_is_no_case_folder_is_named(copy: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"lesions\.json is a file: name a case folder"):
        open_folder(copy / "lesions.json")
    with pytest.raises(DataError, match=r"holds 1 case folders and is none itself: name one, such as case"):
        open_folder(copy.parent)
    with pytest.raises(DataError, match="absent does not exist"):
        open_folder(tmp_path / "absent")


def test_a_damaged_map_is_named(copy: Path):
    path = copy / "entropy.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    case = open_folder(copy)
    with pytest.raises(DataError, match=r"entropy\.nii\.gz cannot be read: "):
        case.crops("entropy", [Box((0, 0, 0), case.shape)])


def test_lesions_that_are_no_json_are_named(copy: Path):
    (copy / "lesions.json").write_text("{")
    with pytest.raises(DataError, match=r"lesions\.json is not JSON"):
        open_folder(copy)


def test_an_entry_that_does_not_fit_is_named(copy: Path):
    edit_lesions(copy, p_empty="much")
    with pytest.raises(DataError, match=r"lesions\.json: lesion 1 is invalid: could not convert .*'much'"):
        open_folder(copy)


def test_an_entry_that_lacks_a_field_is_named(copy: Path):
    path = copy / "lesions.json"
    path.write_text(path.read_text().replace("in_consensus", "elsewhere"))
    with pytest.raises(DataError, match=r"lesions\.json: lesion 1 lacks 'in_consensus'"):
        open_folder(copy)


def test_fields_that_are_not_known_are_passed_over_and_a_lesion_need_not_have_a_name(copy: Path):
    edit_lesions(copy, diameter_mm=8.0, nodule_id=None)
    lesion = open_folder(copy).lesions[0]
    assert (lesion.name, lesion.nodule_id) == ("1", "")
    assert lesion.place_mm == lesion.centroid_mm


def test_a_lesion_whose_region_is_shared_is_read_from_its_own_maps(bright_voxels, raw_preprocessing, tmp_path: Path):
    image = MetaTensor(torch.randn(1, 40, 30, 6, generator=torch.Generator().manual_seed(0)) * 300 - 300)
    image.affine = torch.diag(torch.tensor([-0.7, -0.8, 2.0, 1.0], dtype=torch.float64))
    places = [(image.affine.numpy() @ [i, 14, 3, 1])[:3] for i in (14, 22)]
    result = infer_case(bright_voxels, image, preprocessing=raw_preprocessing, nodules=places, depth_mm=4)
    write_case(tmp_path, result)
    (tmp_path / "provenance.json").write_text("{}")
    case, box = open_folder(tmp_path), Box((4, 2, 0), (34, 29, 6))
    for name in ("expert-2_samples", "probability", "entropy"):
        own = case.own_crops(name, [box, box], [1, 2])
        for number, crop in enumerate(own, start=1):
            np.testing.assert_allclose(crop, result.alone(number).crop(name, box), atol=1 / 2048)
        assert (own[0] != case.crops(name, [box])[0]).any()


def test_a_lesion_whose_region_is_shared_with_none_has_no_maps_of_its_own(report_case: ReportCase):
    case, box = open_folder(report_case.folder), Box((4, 2, 0), (34, 29, 6))
    assert not (case.folder / "lesion-1").exists()
    np.testing.assert_array_equal(case.own_crops("probability", [box], [1])[0], case.crops("probability", [box])[0])
