"""DICOM objects, and what tells whose a case is, as ``infer`` writes them."""

from __future__ import annotations

import csv
import dataclasses
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from mose_med.api import writers
from mose_med.case_contents.maps import OUTPUTS
from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.io import read_ct
from pipelines.cli import invoke
from pipelines.infer.run import InferOptions, infer

OBJECTS = ["seg.dcm", "probability_seg.dcm", "report_sr.dcm"]


@pytest.fixture
def options(tmp_path: Path, ball_study: Path, bright_checkpoint: Path) -> InferOptions:
    """Inference of the ball with DICOM objects."""
    centre = np.asarray(read_ct(ball_study).affine) @ [14, 11, 6, 1]
    nodules = tmp_path / "nodules.csv"
    nodules.write_text("nodule_id,x_ras_mm,y_ras_mm,z_ras_mm\nball,{},{},{}\n".format(*centre[:3]))
    return InferOptions(ball_study, tmp_path / "out", bright_checkpoint, nodules, dicom_seg=True, quiet=True)


def test_objects_are_written_into_the_folder_of_the_case(options: InferOptions):
    folder = infer(options).folder
    record = json.loads((folder / "dicom.json").read_text())
    assert record["files"] == OBJECTS
    labels = [item.SegmentLabel for item in pydicom.dcmread(folder / "seg.dcm").SegmentSequence]
    assert labels == record["segments"]
    assert set(labels) | set(record["empty_segments"]) == {"Consensus", "Expert 1", "Expert 2", "Lesion 1"}
    weights = json.loads((folder / "provenance.json").read_text())["options"]["weights_sha256"]
    algorithm = pydicom.dcmread(folder / "seg.dcm").SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmParameters == f"weights_sha256={weights}"


def test_the_same_request_gives_the_same_objects_and_another_seed_other_uids(options: InferOptions):
    first = infer(options).folder
    again = infer(dataclasses.replace(options, output_dir=options.output_dir / "again")).folder
    other = infer(dataclasses.replace(options, output_dir=options.output_dir / "other", seed=1)).folder
    for name in OBJECTS:
        assert (first / name).read_bytes() == (again / name).read_bytes()
        uids = {pydicom.dcmread(folder / name).SOPInstanceUID for folder in (first, other)}
        assert len(uids) == 2


def test_maps_and_objects_are_written_at_the_same_time(options: InferOptions, monkeypatch: pytest.MonkeyPatch):
    both = threading.Barrier(2, timeout=60)

    def meeting(work: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: (both.wait(), work(*given, **named))[1]

    monkeypatch.setattr(writers, "write_case", meeting(writers.write_case))
    monkeypatch.setattr(writers, "_written_objects", meeting(writers._written_objects))
    assert json.loads((infer(options).folder / "dicom.json").read_text())["files"] == OBJECTS


def test_what_is_written_at_the_same_time_is_what_is_written_one_by_one(
    options: InferOptions, monkeypatch: pytest.MonkeyPatch
):
    class AtOnce(ThreadPoolExecutor):
        def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
            done: Future[Any] = Future()
            done.set_result(work(*given, **named))
            return done

    options = dataclasses.replace(options, outputs=OUTPUTS)
    beside = infer(options).folder
    monkeypatch.setattr(writers, "ThreadPoolExecutor", AtOnce)
    alone = infer(dataclasses.replace(options, output_dir=options.output_dir / "alone")).folder
    names = [path.name for path in alone.iterdir() if path.name != "run.json"]
    assert [name for name in names if (alone / name).read_bytes() != (beside / name).read_bytes()] == []


@pytest.mark.parametrize("kinds", [("pictures",), ("seg", "pictures")])
def test_pictures_are_drawn_with_any_other_kinds(options: InferOptions, kinds: tuple[str, ...]):
    folder = infer(dataclasses.replace(options, dicom_seg=False, dicom=kinds)).folder
    assert (folder / "lesion-1_picture.dcm").is_file()


def test_without_the_option_there_is_no_object(options: InferOptions):
    folder = infer(dataclasses.replace(options, dicom_seg=False)).folder
    assert [path.name for path in folder.iterdir() if path.suffix == ".dcm" or path.name == "dicom.json"] == []


def test_a_series_without_uids_is_refused_before_anything_is_written(options: InferOptions, edit_dicom):
    for path in options.source.iterdir():
        edit_dicom(path, SOPInstanceUID="")
    with pytest.raises(DataError, match=r"image 013 has no SOPInstanceUID, which a DICOM object must name"):
        infer(options)
    assert not options.output_dir.exists()


def test_a_series_that_is_resampled_is_refused(options: InferOptions):
    sorted(options.source.iterdir())[6].unlink()
    with pytest.raises(GeometryError, match=r"DICOM objects need unmodified slices, got a corrected series"):
        infer(dataclasses.replace(options, slice_spacing="resample"))
    assert not options.output_dir.exists()


def test_a_nifti_volume_is_refused(options: InferOptions, tmp_path: Path):
    image = read_ct(options.source)
    nib.save(nib.Nifti1Image(image.numpy()[0], np.asarray(image.affine)), tmp_path / "ct.nii.gz")
    with pytest.raises(DataError, match="DICOM objects need DICOM input, got nifti: leave out --dicom-seg and"):
        infer(dataclasses.replace(options, source=tmp_path / "ct.nii.gz"))
    assert not options.output_dir.exists()


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"SpecificCharacterSet": "ISO_IR 999"}, "a slice has a SpecificCharacterSet that DICOM does not define"),
        ({"SOPClassUID": ""}, "a slice has no SOPClassUID, which a DICOM object must name"),
    ],
)
def test_an_obstacle_can_be_skipped_and_all_else_is_written(options: InferOptions, edit_dicom, caplog, tags, told: str):
    for path in options.source.iterdir():
        edit_dicom(path, **tags)
    with pytest.raises(
        DataError, match=r"image 013 has .*: leave out --dicom-seg and --dicom, or add --dicom-seg-obst"
    ):
        infer(options)
    assert not options.output_dir.exists()
    folder = infer(dataclasses.replace(options, dicom_seg_obstacle="skip")).folder
    assert json.loads((folder / "dicom.json").read_text()) == {"files": [], "obstacle": told}
    assert (folder / "consensus.nii.gz").exists()
    assert f"DICOM objects are skipped, everything else is written: {told}" in caplog.text


def test_the_way_with_obstacles_is_no_other_request(options: InferOptions):
    infer(options)
    assert infer(dataclasses.replace(options, dicom_seg_obstacle="skip")).resumed


def test_identity_is_kept_where_it_is_asked_for(options: InferOptions):
    result = infer(dataclasses.replace(options, keep_identity=True))
    source = json.loads((result.folder / "provenance.json").read_text())["source"]
    header = pydicom.dcmread(next(options.source.iterdir()))
    assert source == {
        "source": str(options.source),
        "patient_id": header.PatientID,
        "study_uid": header.StudyInstanceUID,
        "series_uid": header.SeriesInstanceUID,
    }
    with (options.output_dir / "summary.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert list(row)[:6] == ["case", *source, "lesion"]
    assert {name: row[name] for name in source} == source


def test_identity_changes_nothing_else(options: InferOptions, write_ct_series: Callable[..., list[Path]]):
    kept = infer(dataclasses.replace(options, output_dir=options.output_dir / "kept", keep_identity=True)).folder
    plain = infer(dataclasses.replace(options, output_dir=options.output_dir / "plain")).folder
    for path in plain.glob("*.nii.gz"):
        assert path.read_bytes() == (kept / path.name).read_bytes()
    assert "source" not in json.loads((plain / "provenance.json").read_text())


def structures_at(options: InferOptions, write_rtstruct, series_uid: str, frame_of_reference: str) -> InferOptions:
    x, y, z = np.array([-1, -1, 1]) * (np.asarray(read_ct(options.source).affine) @ [14, 11, 6, 1])[:3]
    square = np.array([(x - 1, y - 1, z), (x + 1, y - 1, z), (x + 1, y + 1, z), (x - 1, y + 1, z)])
    on = {"series_uid": series_uid, "frame_of_reference": frame_of_reference}
    path = write_rtstruct(options.output_dir.parent / "structures.dcm", {"GTV left": [square]}, **on)
    return dataclasses.replace(options, nodules=path, dicom_seg=False)


def test_the_name_of_a_region_is_carried_to_the_results(options: InferOptions, write_rtstruct):
    series = pydicom.dcmread(next(options.source.iterdir())).SeriesInstanceUID
    folder = infer(structures_at(options, write_rtstruct, series, "1.2.3")).folder
    (lesion,) = json.loads((folder / "lesions.json").read_text())["lesions"]
    assert (lesion["nodule_id"], lesion["in_consensus"]) == ("GTV left", True)


def test_a_list_that_was_drawn_on_another_series_is_refused(options: InferOptions, write_rtstruct):
    with pytest.raises(DataError, match=r"nodule list .*structures\.dcm was drawn on another series, in other coordin"):
        infer(structures_at(options, write_rtstruct, "1.2.3", "1.2.3.4"))
    assert not options.output_dir.exists()


def test_kinds_of_objects_are_written_as_asked_for(options: InferOptions):
    folder = infer(dataclasses.replace(options, dicom_seg=False, dicom=("pictures", "rtstruct", "labelmap"))).folder
    files = ["labelmap_seg.dcm", "rtstruct.dcm", "lesion-1_picture.dcm"]
    assert json.loads((folder / "dicom.json").read_text())["files"] == files
    picture = pydicom.dcmread(folder / files[-1]).pixel_array
    assert picture.shape[2] == 3
    assert picture.std() > 10
    assert json.loads((folder / "provenance.json").read_text())["options"]["dicom"] == [
        "labelmap",
        "rtstruct",
        "pictures",
    ]


def test_further_kinds_come_beside_the_usual_ones(options: InferOptions):
    folder = infer(dataclasses.replace(options, dicom=("parametric-map",))).folder
    files = json.loads((folder / "dicom.json").read_text())["files"]
    assert files == [*OBJECTS, "probability_map.dcm", "entropy_map.dcm"]


def test_kinds_that_are_none_and_pictures_without_maps_are_refused(options: InferOptions):
    with pytest.raises(ConfigError, match=r"dicom must be all, or some of seg, fractional, sr, .*, got 'stl'"):
        infer(dataclasses.replace(options, dicom=("stl",)))
    with pytest.raises(ConfigError, match="pictures show entropy: add them to --outputs"):
        infer(dataclasses.replace(options, dicom=("pictures",), outputs=("masks", "probability", "consensus")))


def test_the_option_takes_kinds_with_commas(monkeypatch):
    taken = []

    def refuse(options: InferOptions) -> None:
        taken.append(options)
        raise ConfigError("the options are all that is asked for")

    monkeypatch.setattr("pipelines.infer.run.infer", refuse)
    assert invoke(["infer", "study", "--output-dir", "out", "--dicom", "rtstruct, seg"]) == 2
    assert (taken[0].dicom, taken[0].dicom_seg, taken[0].dicom_kinds) == (
        ("seg", "rtstruct"),
        False,
        ("seg", "rtstruct"),
    )
    assert invoke(["infer", "study", "--output-dir", "out", "--dicom", "stl"]) == 2
