from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from data_prep.lidc.collection import CropOptions
from data_prep.lidc.patient import RECORDS_NAME
from mose_med.data.datalist import load_datalist
from mose_med.errors import ConfigError, DataError
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.prepare.folder import PreparedDatalist
from pipelines.prepare.sources.lidc import PrepareLidcOptions, prepare_lidc


@pytest.fixture
def options(phantom_lidc_root: Path, phantom_split_csv: Path, tmp_path: Path) -> PrepareLidcOptions:
    return PrepareLidcOptions(phantom_lidc_root, tmp_path / "out", split_csv=phantom_split_csv, quiet=True)


@pytest.fixture
def broken_root(phantom_lidc_root: Path, tmp_path: Path) -> Path:
    """The three patients, and a fourth of the database without a file that can be used."""
    root = tmp_path / "root"
    root.mkdir()
    for patient in phantom_lidc_root.iterdir():
        if patient.is_dir():
            (root / patient.name).symlink_to(patient)
    (root / "LIDC-IDRI-0001").mkdir()
    (root / "LIDC-IDRI-0001" / "1.dcm").write_text("not DICOM")
    return root


def entries(prepared: PreparedDatalist) -> Iterator[dict[str, Any]]:
    content = json.loads(prepared.datalist.read_text())
    return (entry | {"part": part} for part in ("training", "validation", "test") for entry in content[part])


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def mask_area(folder: Path, entry: dict[str, Any]) -> int:
    return int(np.asarray(nib.load(folder / entry["label"]).dataobj[:, :, entry["slice"]]).sum())


def test_largest_slice_of_every_nodule(options: PrepareLidcOptions, prepared_datalist: Path):
    largest = {entry["nodule_id"]: 0 for entry in entries(PreparedDatalist(prepared_datalist, {}))}
    for entry in entries(PreparedDatalist(prepared_datalist, {})):
        largest[entry["nodule_id"]] = max(largest[entry["nodule_id"]], mask_area(prepared_datalist.parent, entry))
    prepared = prepare_lidc(replace(options, crops=CropOptions(slices="max-area")))
    found = {entry["nodule_id"]: mask_area(options.output_dir, entry) for entry in entries(prepared)}
    assert found == largest
    assert prepared.counts["slices"] == 7


def test_crop_window_and_negatives(options: PrepareLidcOptions):
    crops = CropOptions(roi_size=(64, 64), negatives=1)
    prepared = prepare_lidc(replace(options, crops=crops, window_hu=(-1000.0, 400.0)))
    content = json.loads(prepared.datalist.read_text())
    assert content["window_hu"] == [-1000.0, 400.0]
    assert prepared.counts["slices_without_nodule"] == 3
    negatives = [entry for entry in entries(prepared) if "negative" in entry["nodule_id"]]
    assert [entry["raters_present"] for entry in negatives] == [0, 0, 0]
    assert not any(mask_area(options.output_dir, entry) for entry in negatives)
    assert {nib.load(entry.image).shape[:2] for entry in load_datalist(prepared.datalist).part("test")} == {(64, 64)}
    assert "negative" not in (options.output_dir / "nodules.csv").read_text()


def test_wanted_spacing_is_told_everywhere(resampled_datalist: Path):
    folder = resampled_datalist.parent
    assert json.loads(resampled_datalist.read_text())["spacing_mm"] == 0.6
    assert json.loads((folder / "manifest.json").read_text())["options"]["spacing_mm"] == 0.6
    card = json.loads((folder / "card.json").read_text())
    assert card["sizes"]["in_plane_spacing_mm"] == {"p05": 0.6, "median": 0.6, "p95": 0.6}
    for entry in entries(PreparedDatalist(resampled_datalist, {})):
        assert nib.load(folder / entry["image"]).header.get_zooms()[:2] == pytest.approx((0.6, 0.6))


def test_nodules_are_as_large_at_a_wanted_spacing(resampled_datalist: Path, prepared_datalist: Path):
    areas: list[dict[tuple[str, float], float]] = []
    for datalist in (resampled_datalist, prepared_datalist):
        listed = list(entries(PreparedDatalist(datalist, {})))
        areas.append({(e["nodule_id"], e["z_mm"]): area_mm2(datalist.parent, e) for e in listed if "features" in e})
    assert areas[0].keys() == areas[1].keys()
    for place, area in areas[1].items():
        assert areas[0][place] == pytest.approx(area, rel=0.08, abs=8)
    assert sum(areas[0].values()) == pytest.approx(sum(areas[1].values()), rel=0.01)


def area_mm2(folder: Path, entry: dict[str, Any]) -> float:
    across, down = nib.load(folder / entry["label"]).header.get_zooms()[:2]
    return mask_area(folder, entry) * float(across * down)


def test_dropped_raters_have_no_weight(options: PrepareLidcOptions):
    prepared = prepare_lidc(replace(options, missing_raters="drop"))
    with (options.output_dir / "nodules.csv").open(newline="") as file:
        raters = {row["nodule_id"]: int(row["raters"]) for row in csv.DictReader(file)}
    assert set(raters.values()) == {1, 2, 3, 4}
    for entry in entries(prepared):
        number = raters[entry["nodule_id"]]
        assert entry["rater_weights"] == [1 / number] * number + [0.0] * (4 - number)


def test_one_label_only_for_training(options: PrepareLidcOptions):
    for entry in entries(prepare_lidc(replace(options, labels="one"))):
        expected = [0.0, 0.0, 0.0, 1.0] if entry["part"] == "training" else [0.25] * 4
        assert sorted(entry["rater_weights"]) == expected


def test_features_of_every_rater_reach_the_datalist(prepared_datalist: Path):
    for entry in load_datalist(prepared_datalist).part("training"):
        assert entry.features.keys() >= {"malignancy", "subtlety", "spiculation", "texture"}
        given = [value is not None for value in entry.features["malignancy"]]
        assert len(given) == 4
        assert given == sorted(given, reverse=True)
        assert sum(given) >= entry.raters_present
        assert all(value in {None, 1, 2, 3, 4, 5} for value in entry.features["malignancy"])


def test_card_and_faults_are_written(prepared_datalist: Path):
    card = json.loads((prepared_datalist.parent / "card.json").read_text())
    assert "lidc_root" not in card["options"]
    assert card["parts"]["training"] == {"patients": 1, "series": 1, "objects": 3, "slices": 14}
    assert 0 < card["agreement"]["all_raters"]["iou"] < card["agreement"]["raters_who_outlined"]["iou"] < 1
    assert (prepared_datalist.parent / "faults.csv").read_text() == "patient_id,series_uid,fault,detail\n"


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(options: PrepareLidcOptions, prepared_datalist: Path):
    prepare_lidc(replace(options, jobs=2))
    assert digests(options.output_dir) == digests(prepared_datalist.parent)


def test_broken_patient_is_skipped_and_listed(options: PrepareLidcOptions, broken_root: Path, tmp_path: Path):
    split = tmp_path / "split.csv"
    split.write_text(options.split_csv.read_text() + "LIDC-IDRI-0001,training\n")
    kept_going = replace(options, lidc_root=broken_root, split_csv=split, keep_going=True)
    prepared = prepare_lidc(kept_going)
    assert prepared.exit_code is ExitCode.SOME_CASES_FAILED
    with (options.output_dir / "failed.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["case"] == "LIDC-IDRI-0001"
    assert "no DICOM file among 1 files" in row["error"]
    assert str(tmp_path) not in row["error"]
    assert prepared.counts["patients"] == 3
    assert prepare_lidc(kept_going) == prepared


@pytest.mark.slow
def test_broken_patient_ends_all_processes_and_nothing_stays(
    options: PrepareLidcOptions, broken_root: Path, tmp_path: Path
):
    split = tmp_path / "split.csv"
    split.write_text(options.split_csv.read_text() + "LIDC-IDRI-0001,training\n")
    with pytest.raises(DataError, match="LIDC-IDRI-0001: no DICOM file among 1 files"):
        prepare_lidc(replace(options, lidc_root=broken_root, split_csv=split, jobs=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "split.csv"]


def test_interrupted_run_goes_on(options: PrepareLidcOptions, prepared_datalist: Path, monkeypatch, caplog):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.prepare.sources.lidc.write_datalist", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_lidc(options)
    assert not (options.output_dir / "dataset.json").exists()
    with caplog.at_level("INFO"):
        prepare_lidc(options)
    assert "resuming after 3 of 3 patients" in caplog.text
    assert digests(options.output_dir) == digests(prepared_datalist.parent)


def test_other_options_begin_anew_after_an_interruption(options: PrepareLidcOptions, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.prepare.sources.lidc.write_datalist", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_lidc(options)
    fewer = replace(options, crops=CropOptions(min_raters=2), overwrite=True)
    assert prepare_lidc(fewer).counts["nodules_by_raters"]["1"] == 0
    assert not any((options.output_dir / "nodules").glob("*.tmp"))


def test_killed_run_goes_on_to_the_same_result(options: PrepareLidcOptions, prepared_datalist: Path):
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "prepare", "lidc", "--quiet"]
    command += ["--lidc-root", str(options.lidc_root), "--output-dir", str(options.output_dir)]
    command += ["--split", str(options.split_csv)]
    records = options.output_dir.with_name(".out.partial") / RECORDS_NAME
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(records.glob("*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (options.output_dir / "dataset.json").exists()
    prepare_lidc(options)
    assert digests(options.output_dir) == digests(prepared_datalist.parent)
    assert sorted(path.name for path in options.output_dir.parent.iterdir()) == ["out"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"missing_raters": "none"}, "missing_raters must be empty or drop, got 'none'"),
        ({"labels": "two"}, "labels must be all or one, got 'two'"),
        ({"window_hu": (400.0, -1000.0)}, "window_hu must be \\(low, high\\) with low < high"),
        ({"jobs": 0}, "jobs must be >= 1, got 0"),
    ],
)
def test_options_are_checked(options: PrepareLidcOptions, option: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        replace(options, **option)


@pytest.mark.parametrize("spacing", ["nativ", "0", "-1", "inf", "nan"])
def test_spacing_is_native_or_a_length(spacing: str, options: PrepareLidcOptions, capsys):
    command = ["prepare", "lidc", "--lidc-root", str(options.lidc_root), "--output-dir", str(options.output_dir)]
    assert invoke([*command, "--spacing", spacing]) == ExitCode.BAD_INPUT
    assert "spacing must be native or a length > 0 mm, got" in capsys.readouterr().err
    assert not options.output_dir.exists()


def test_faults_of_a_scan_are_named(options: PrepareLidcOptions, tmp_path: Path):
    """A slice twice, another one gone, and an X-ray beside the CT."""
    root = tmp_path / "root"
    shutil.copytree(options.lidc_root, root)
    files = sorted((root / "LIDC-IDRI-0250").rglob("*.dcm"))
    shutil.copy(files[3], files[3].with_name("again.dcm"))
    files[5].unlink()
    prepared = prepare_lidc(replace(options, lidc_root=root))
    with (options.output_dir / "faults.csv").open(newline="") as file:
        faults = [(row["patient_id"], row["fault"]) for row in csv.DictReader(file)]
    assert ("LIDC-IDRI-0250", "duplicated_slices") in faults
    assert ("LIDC-IDRI-0250", "annotated_slices_not_on_disk") in faults
    assert prepared.counts["left_out"]["duplicated_slices"] == 1
