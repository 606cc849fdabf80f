"""A network of several foreground classes: each has its own maps, lesions and segments."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

import mose_med
from mose_med.io.case.folder import open_folder
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from tests.fixtures.several_classes import NODULE, VESSEL

AFFINE = np.diag([-0.7, -0.7, 2.0, 1.0])


def run(*arguments: object) -> int:
    return invoke([str(argument) for argument in (*arguments, "--quiet", "--device", "cpu")])


def inferred(out: Path, *arguments: object) -> Path:
    assert run("infer", *arguments, "--output-dir", out, "--samples", "3") == ExitCode.DONE
    (case,) = out.glob("case-*")
    return case


@pytest.fixture
def study(banded_hu: np.ndarray, tmp_path: Path) -> Path:
    """NIfTI file of the two classes."""
    nib.save(nib.Nifti1Image(banded_hu.transpose(2, 1, 0), AFFINE), tmp_path / "study.nii")
    return tmp_path / "study.nii"


@pytest.fixture
def case(study: Path, banded_checkpoint: Path, tmp_path: Path) -> Path:
    """Folder of the case, searched everywhere."""
    arguments = (study, "--checkpoint", banded_checkpoint, "--region", "full", "--outputs", "all", "--report")
    return inferred(tmp_path / "out", *arguments, "--form", "standard")


def values_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_every_class_has_maps_of_its_own(case: Path, banded_hu: np.ndarray):
    truth = banded_hu.transpose(2, 1, 0)
    assert (values_of(case / "consensus_class-vessel.nii.gz") == (truth == VESSEL)).all()
    assert (values_of(case / "consensus_class-calcified-nodule.nii.gz") == (truth == NODULE)).all()
    names = sorted(path.name.partition("_class-")[0] for path in case.glob("*_class-vessel.nii.gz"))
    assert names == ["consensus", "entropy", "probability", "sample_masks", "samples"]
    assert {path.name for path in case.glob("*.nii.gz") if "_class-" not in path.name} == set()


@pytest.mark.parametrize("name", ["sample_masks", "samples"])
def test_masks_of_one_sample_share_no_voxel(case: Path, name: str):
    masks = [values_of(case / f"{name}_class-{mark}.nii.gz") for mark in ("vessel", "calcified-nodule")]
    assert all(mask.any() for mask in masks)
    assert not (masks[0] & masks[1]).any()


def test_lesions_have_a_class_and_are_numbered_by_volume(case: Path, tmp_path: Path, banded_hu: np.ndarray):
    lesions = json.loads((case / "lesions.json").read_text())["lesions"]
    assert [(lesion["lesion"], lesion["class"]) for lesion in lesions] == [(1, "vessel"), (2, "calcified nodule")]
    voxel_ml = abs(np.linalg.det(AFFINE)) / 1000
    assert lesions[0]["volume_ml"]["p50"] == pytest.approx((banded_hu == VESSEL).sum() * voxel_ml, abs=1e-5)
    with (tmp_path / "out" / "summary.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["vessel", "calcified nodule"]


def test_the_case_tells_the_class_of_each_lesion(case: Path):
    opened = mose_med.open_case(case)
    assert opened.classes == ("vessel", "calcified nodule")
    assert [lesion.label for lesion in opened.lesions] == list(opened.classes)
    assert [float(opened.probability(lesion=number).max()) for number in (1, 2)] == pytest.approx([1, 1], abs=1e-2)
    i, j, k = (np.asarray(opened.lesions[1].box.start) + opened.lesions[1].box.stop) // 2
    own = values_of(case / "probability_class-calcified-nodule.nii.gz")[i, j, k]
    assert opened.probability(lesion=2).mean() > 0.3
    assert own == pytest.approx(1, abs=1e-3)
    assert "calcified nodule" in opened._repr_html_()


def test_the_face_gives_what_the_folder_has(study: Path, banded_checkpoint: Path, case: Path, tmp_path: Path):
    model = mose_med.load_model(banded_checkpoint, device="cpu")
    found = model.infer(study, region="full", samples=3, outputs=["all"], form="standard")
    found.save(tmp_path / "saved", report=False)
    for path in case.glob("*.nii.gz"):
        assert (tmp_path / "saved" / path.name).read_bytes() == path.read_bytes()
    assert [lesion.label for lesion in found.lesions] == ["vessel", "calcified nodule"]
    for number in (1, 2):
        np.testing.assert_array_equal(found.samples(lesion=number), mose_med.open_case(case).samples(lesion=number))


def test_the_report_names_the_class(case: Path):
    page = (case / "report.html").read_text(encoding="utf-8")
    assert "Lesion 1 vessel" in page
    assert "Lesion 2 calcified nodule" in page


def listed(folder: Path, *voxels: tuple[int, int, int]) -> Path:
    rows = (",".join(f"{value:.3f}" for value in (AFFINE @ [*voxel, 1])[:3]) for voxel in voxels)
    path = folder / "nodules.csv"
    path.write_text("\n".join(["x_ras_mm,y_ras_mm,z_ras_mm", *rows]) + "\n", encoding="utf-8")
    return path


def test_a_listed_position_has_one_lesion_of_the_nearest_class(study: Path, banded_checkpoint: Path, tmp_path: Path):
    nodules = listed(tmp_path, (16, 15, 4), (8, 7, 4), (24, 1, 4))
    case = inferred(tmp_path / "out", study, "--checkpoint", banded_checkpoint, "--nodules", nodules)
    found = open_folder(case)
    assert [lesion.label for lesion in found.lesions[:2]] == ["calcified nodule", "vessel"]
    assert len(found.lesions) == 3
    assert not found.lesions[2].in_consensus
    assert (case / "lesion-1").is_dir()
    assert mose_med.open_case(case).probability(lesion=1).max() == pytest.approx(1, abs=1e-3)


def test_dicom_objects_have_a_segment_for_each_lesion_and_class(
    banded_hu: np.ndarray, banded_checkpoint: Path, tmp_path: Path, write_ct_series: Callable[..., list[Path]]
):
    write_ct_series(tmp_path / "series", banded_hu)
    arguments = (tmp_path / "series", "--checkpoint", banded_checkpoint, "--region", "full", "--dicom", "all")
    case = inferred(tmp_path / "out", *arguments)
    seg = pydicom.dcmread(case / "seg.dcm")
    labels = [segment.SegmentLabel for segment in seg.SegmentSequence]
    assert labels == ["Consensus vessel", "Consensus calcified-nodule", "Lesion 1 vessel", "Lesion 2 calcified-nodule"]
    types = {segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for segment in seg.SegmentSequence}
    assert types == {"Morphologically Abnormal Structure"}
    fractional = pydicom.dcmread(case / "probability_seg.dcm")
    assert [segment.SegmentLabel for segment in fractional.SegmentSequence] == [
        "Marginal probability vessel",
        "Marginal probability calcified-nodule",
    ]
    assert sum(1 for _ in case.glob("probability_map_class-*.dcm")) == 2
    regions = [region.ROIName for region in pydicom.dcmread(case / "rtstruct.dcm").StructureSetROISequence]
    assert {"Consensus vessel", "Consensus calcified-nodule"} <= set(regions)
    report = pydicom.dcmread(case / "report_sr.dcm")
    told = [element.value for element in report.iterall() if element.keyword == "TextValue"]
    assert {"Lesion 1 vessel", "Lesion 2 calcified-nodule"} <= set(told)


def test_the_component_of_a_lesion_is_read_from_the_maps(study: Path, banded_checkpoint: Path, tmp_path: Path):
    model = mose_med.load_model(banded_checkpoint, device="cpu")
    nodules = [(AFFINE @ [*voxel, 1])[:3] for voxel in ((16, 15, 4), (8, 7, 4), (24, 1, 4))]
    for name, options in (("listed", {"nodules": nodules}), ("found", {"region": "full", "lesion_threshold": 0.3})):
        case = model.infer(study, samples=2, **options)
        opened = mose_med.open_case(case.save(tmp_path / name, maps="full"))
        for lesion, other in zip(case.lesions, opened.lesions, strict=True):
            if lesion.component is None:
                assert other.component is None
                continue
            assert other.component.box == lesion.component.box
            np.testing.assert_array_equal(other.component.mask, lesion.component.mask)
