"""Whole runs over small studies, with worker processes."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from mose_med.errors import ConfigError
from mose_med.files.hashes import file_sha256
from pipelines.common.runs.run_folder import claim_folder
from pipelines.infer.cohort.journal import Journal, Record
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.run import CohortRun, infer_cohort


def provenance_times(output: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in output.glob("case-*/provenance.json")}


def cases_by_source(output: Path) -> dict[str, str]:
    """The case of every study; of one that was inferred twice, the one that was entered later."""
    journals = (output / "private" / "journal").glob("*.jsonl")
    records = [json.loads(line) for journal in journals for line in journal.read_text().splitlines()]
    return {record["source"]: record["case"] for record in sorted(records, key=lambda record: record["time"])}


_OPENED: list[str] = []


@pytest.fixture(scope="session")
def _audited() -> None:
    sys.addaudithook(lambda event, told: _OPENED.append(str(told[0])) if event == "open" else None)


@pytest.fixture
def opened_files(_audited: None) -> list[str]:
    """Paths that this process opens."""
    _OPENED.clear()
    return _OPENED


def worker_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_every_study_gets_a_whole_folder_and_its_rows(cohort: CohortOptions, contents, leftovers, failed_rows):
    output = Path(cohort.output_dir)
    assert infer_cohort(cohort) == (6, 0, 0, 0)
    found = contents(output)
    assert set(found) == {str(path) for path in cohort.input_dir.glob("*/*")}
    assert all({"lesions.json", "provenance.json", "probability.nii.gz"} <= set(files) for files in found.values())
    with (output / "summary.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == sorted(path.name for path in output.glob("case-*"))
    assert failed_rows(output) == leftovers(output) == []


def test_results_below_the_input_are_not_inferred(cohort: CohortOptions):
    below = dataclasses.replace(cohort, output_dir=str(cohort.input_dir / "out"))
    infer_cohort(below)
    assert infer_cohort(below) == (0, 6, 0, 0)
    assert infer_cohort(dataclasses.replace(cohort, dry_run=True)).to_do == 6


@pytest.mark.slow
def test_overlapped_and_in_two_workers_gives_the_same_bytes(cohort: CohortOptions, contents, tmp_path: Path):
    infer_cohort(cohort)
    other = dataclasses.replace(cohort, output_dir=str(tmp_path / "other"), workers=2, in_flight=3)
    infer_cohort(other)
    assert contents(Path(other.output_dir)) == contents(Path(cohort.output_dir))


def test_bad_studies_are_recorded_tried_again_when_asked_and_hold_up_nothing(
    cohort: CohortOptions, spoil, failed_rows, write_study: Callable[..., Path]
):
    output, studies = Path(cohort.output_dir), sorted(cohort.input_dir.glob("*/*"))
    spoil(studies[1])
    (studies[4] / "nodules.csv").unlink()
    assert infer_cohort(cohort) == (4, 0, 2, 0)
    rows = failed_rows(output)
    assert sorted(row["stage"] for row in rows) == ["infer", "read"]
    assert {row["reason"].partition(":")[0] for row in rows} == {
        "no DICOM file among 14 files",
        "no lungs were found in the image (20 cm2 of air inside the patient on a slice)",
    }
    assert "Zyxwvut" not in (output / "failed.csv").read_text()
    before = provenance_times(output)
    assert infer_cohort(cohort) == (0, 4, 2, 0)
    shutil.rmtree(studies[1])
    write_study(studies[1])
    assert infer_cohort(dataclasses.replace(cohort, dry_run=True)) == (0, 4, 1, 1)
    assert infer_cohort(dataclasses.replace(cohort, retry_failed=True)) == (1, 4, 1, 0)
    assert len(failed_rows(output)) == 1
    assert before.items() <= provenance_times(output).items()
    shutil.rmtree(studies[4])
    assert infer_cohort(cohort) == (0, 5, 0, 0)
    assert failed_rows(output) == []


@pytest.mark.slow
def test_a_missing_result_and_a_changed_study_are_done_again_and_nothing_else(
    cohort: CohortOptions, contents, write_study
):
    output, studies = Path(cohort.output_dir), sorted(cohort.input_dir.glob("*/*"))
    infer_cohort(cohort)
    before, times, cases = contents(output), provenance_times(output), cases_by_source(output)
    changed, missing = (str(study) for study in studies[:2])
    shutil.rmtree(output / cases[missing])
    shutil.rmtree(changed)
    write_study(Path(changed), seed=99)
    assert infer_cohort(cohort) == (2, 4, 0, 0)
    kept = {path: time for path, time in times.items() if Path(path).parent.name != cases[missing]}
    assert kept.items() <= provenance_times(output).items()
    assert cases_by_source(output)[changed] != cases[changed]
    shutil.rmtree(output / cases[changed])
    after = contents(output)
    assert set(after) == set(before)
    assert {source for source in before if after[source] != before[source]} == {changed}


def test_overwrite_with_the_same_options_does_its_cases_again_and_no_others(cohort: CohortOptions):
    infer_cohort(cohort)
    before = provenance_times(Path(cohort.output_dir))
    shard = dataclasses.replace(cohort, shard="1/2", overwrite=True)
    number = infer_cohort(dataclasses.replace(shard, dry_run=True)).to_do
    assert 0 < number < len(before)
    assert infer_cohort(shard) == (number, 0, 0, 0)
    after = provenance_times(Path(cohort.output_dir))
    assert (after.keys(), sum(after[case] != time for case, time in before.items())) == (before.keys(), number)
    assert infer_cohort(cohort) == (0, 6, 0, 0)


def test_a_cohort_whose_overwriting_was_stopped_is_gone_on_with(cohort: CohortOptions, monkeypatch: pytest.MonkeyPatch):
    infer_cohort(cohort)
    with monkeypatch.context() as patch:
        patch.setattr(CohortRun, "finished", lambda *_: (_ for _ in [1 / 0]))
        with pytest.raises(ZeroDivisionError):
            infer_cohort(dataclasses.replace(cohort, overwrite=True))
    assert infer_cohort(dataclasses.replace(cohort, dry_run=True)).to_do == 6
    assert infer_cohort(cohort) == (6, 0, 0, 0)


def test_other_options_in_the_same_folder_are_refused(cohort: CohortOptions):
    made = cohort.folder_options(file_sha256(cohort.checkpoint))
    claim_folder(Path(cohort.output_dir), made)
    with pytest.raises(ConfigError, match="was made with samples=4, not 2"):
        infer_cohort(dataclasses.replace(cohort, samples=2))


def test_another_version_in_the_middle_is_told_and_goes_on_where_it_is_accepted(cohort: CohortOptions, monkeypatch):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0")
    made = few.folder_options(file_sha256(few.checkpoint))
    claim_folder(Path(cohort.output_dir), made)
    monkeypatch.setattr("pipelines.common.runs.run_folder.__version__", "0.9.0")
    with pytest.raises(
        ConfigError, match=r"made by version .*, this is 0\.9\.0: name another, or add --accept-version"
    ):
        infer_cohort(few)
    with pytest.raises(
        ConfigError, match=r"made by version .*, this is 0\.9\.0: name another, or add --accept-version"
    ):
        infer_cohort(dataclasses.replace(few, dry_run=True))
    assert infer_cohort(dataclasses.replace(few, accept_version=True))[:3] == (3, 0, 0)
    before = provenance_times(Path(cohort.output_dir))
    assert infer_cohort(dataclasses.replace(few, accept_version=True))[:3] == (0, 3, 0)
    assert provenance_times(Path(cohort.output_dir)) == before


def test_a_resume_opens_no_study(cohort: CohortOptions, opened_files: list[str]):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0")
    infer_cohort(few)
    opened_files.clear()
    assert infer_cohort(few) == (0, 3, 0, 0)
    inside = [name for name in opened_files if name.startswith(str(cohort.input_dir))]
    assert (len(opened_files) > 3, inside) == (True, [])


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_a_study_that_is_there_twice_with_other_nodules_the_first_result_stays(
    cohort: CohortOptions, tmp_path: Path, failed_rows, overwrite: bool
):
    study = min(cohort.input_dir.glob("*/*"))
    header, row = (study / "nodules.csv").read_text().splitlines()
    twin = shutil.copytree(study, tmp_path / "zz twin")
    (twin / "nodules.csv").write_text("\n".join([header, row, row]) + "\n")
    (tmp_path / "list.csv").write_text(f"path\n{study}\n{twin}\n")
    listed = dataclasses.replace(cohort, input_dir=None, manifest=tmp_path / "list.csv", overwrite=overwrite)
    for _ in range(2):
        assert infer_cohort(dataclasses.replace(listed, retry_failed=True)).failed == 1
        (failed,) = failed_rows(Path(cohort.output_dir))
        assert "was made with different nodules" in failed["reason"]
        (case,) = Path(cohort.output_dir).glob("case-*")
        assert len(json.loads((case / "lesions.json").read_text())["lesions"]) == 1


def test_a_study_that_vanishes_and_one_of_which_most_is_missing_hold_up_nothing(
    cohort: CohortOptions, tmp_path: Path, failed_rows, huge_nifti: Path
):
    studies = sorted(cohort.input_dir.glob("*/*"))
    nodules = studies[0] / "nodules.csv"
    rows = [("gone", tmp_path / "gone"), ("huge", huge_nifti), ("good", studies[0])]
    lines = [f"{case},{path},{nodules}" for case, path in rows]
    (tmp_path / "list.csv").write_text("\n".join(["case,path,nodules", *lines]) + "\n")
    listed = dataclasses.replace(cohort, input_dir=None, manifest=tmp_path / "list.csv")
    assert infer_cohort(listed) == (1, 0, 2, 0)
    reasons = {row["case"]: (row["stage"], row["reason"]) for row in failed_rows(Path(cohort.output_dir))}
    assert reasons["gone"] == ("read", "the study does not exist")
    assert reasons["huge"][0] == "read"
    assert "it holds 0 bytes of voxels, its header says 65536000000000" in reasons["huge"][1]
    assert json.loads((Path(cohort.output_dir) / "good" / "lesions.json").read_text())["lesions"]


@pytest.mark.slow
def test_results_that_find_no_room_are_recorded_and_the_rest_goes_on(
    cohort: CohortOptions, failed_rows, leftovers, file_limit
):
    output = Path(cohort.output_dir)
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0")
    nodules = few.input_dir / "Zyxwvut 2" / "nodules.csv"
    header, row = nodules.read_text().splitlines()
    nodules.write_text("\n".join([header, *[row] * 100]) + "\n")  # more lesions than the file of them may hold
    file_limit(20_000)
    assert infer_cohort(few) == (2, 0, 1, 0)
    (row,) = failed_rows(output)
    assert (row["stage"], row["reason"]) == ("write", "File too large")
    assert row["advice"] == "make room for the results, then run again with --retry-failed"
    assert leftovers(output) == []
    file_limit(resource.RLIM_INFINITY)
    assert infer_cohort(dataclasses.replace(few, retry_failed=True)) == (1, 2, 0, 0)


@pytest.mark.slow
def test_a_journal_that_cannot_be_written_ends_the_run_and_what_is_done_stays_done(
    cohort: CohortOptions, failed_rows, leftovers, file_limit
):
    output = Path(cohort.output_dir)
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0")
    claim_folder(output, few.folder_options(file_sha256(few.checkpoint)))
    journal = Journal(output, "all")
    for n in range(5000):
        journal.append(Record(f"elsewhere {n}", "f", f"case {n}", "", ""))
    file_limit(500_000)
    with pytest.raises(ConfigError, match=r"journal .*all.jsonl cannot be written \(File too large\): make room"):
        infer_cohort(few)
    before = provenance_times(output)
    assert before
    assert leftovers(output) == []
    file_limit(resource.RLIM_INFINITY)
    assert infer_cohort(few) == (3, 0, 0, 0)
    assert before.items() <= provenance_times(output).items()
    assert failed_rows(output) == []


@pytest.mark.slow
def test_a_killed_worker_costs_no_case_and_a_stopped_one_costs_what_it_had_in_hand(
    cohort: CohortOptions, failed_rows, leftovers
):
    output = Path(cohort.output_dir)
    struck: list[int] = []

    def strike() -> None:
        for signal_number in (signal.SIGKILL, signal.SIGSTOP):
            done = len(list(output.glob("case-*")))
            while len(list(output.glob("case-*"))) <= done:
                time.sleep(0.002)
            process = next(child for child in worker_processes() if child.pid not in struck)
            os.kill(process.pid, signal_number)
            struck.append(process.pid)

    thread = threading.Thread(target=strike)
    thread.start()
    result = infer_cohort(dataclasses.replace(cohort, case_timeout_s=3.0, threads=1))
    thread.join()
    rows = failed_rows(output)
    assert result.failed == len(rows) <= 1
    assert result.done == 6 - len(rows)
    assert all(row["reason"] == "the case was not finished within 3 s" for row in rows)
    assert leftovers(output) == []
    assert worker_processes() == []


@pytest.fixture
def huge_nifti(tmp_path: Path) -> Path:
    """A NIfTI file of few bytes whose header speaks of more voxels than any machine has memory for."""
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((32000, 32000, 32000))
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    path = tmp_path / "huge.nii"
    path.write_bytes(header.binaryblock + bytes(4))
    return path
