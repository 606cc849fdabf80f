from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.journal import Journal, Record, failed_cases


def record(key: str, stage: str = "") -> Record:
    return Record(key, "f", f"case-{key}", "p", "/source", stage=stage)


def test_the_latest_record_of_a_case_counts_over_all_shards(tmp_path: Path):
    first, second = Journal(tmp_path, "1-of-2"), Journal(tmp_path, "2-of-2")
    first.append(record("a", stage="read"))
    second.append(record("b"))
    second.append(record("a"))
    records = first.records()
    assert set(records) == {"a", "b"}
    assert not records["a"].failed


@pytest.mark.parametrize("keep", [1, 20, 60])
def test_a_line_cut_short_by_a_kill_loses_that_case_alone(tmp_path: Path, keep: int):
    journal = Journal(tmp_path, "all")
    journal.append(record("a"))
    file = tmp_path / "private" / "journal" / "all.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:keep])
    journal.append(record("c"))
    assert set(journal.records()) == {"a", "c"}


def test_a_full_disk_is_told_and_the_line_it_cut_short_costs_no_other(
    tmp_path: Path, file_limit: Callable[[int], None]
):
    journal = Journal(tmp_path, "all")
    journal.append(record("a"))
    file_limit((tmp_path / "private" / "journal" / "all.jsonl").stat().st_size + 20)
    with pytest.raises(ConfigError, match=r"journal .*all.jsonl cannot be written \(File too large\): make room"):
        journal.append(record("b"))
    file_limit(resource.RLIM_INFINITY)
    journal.append(record("c"))
    assert set(journal.records()) == {"a", "c"}


def failure(entry: Entry, time: float, case: str = "") -> Record:
    name = case or entry.case or "unread-1"
    return Record(entry.key, "f", name, "", entry.source, stage="read", reason="damaged", time=time)


def test_a_failure_is_over_once_its_case_is_done_and_not_before():
    wrong, right = Entry("p", "/data/wrong", case="p"), Entry("p", "/data/right", case="p")
    done = Record(right.key, "f", "p", "sha", right.source, time=2.0)
    assert failed_cases([failure(wrong, 1.0), done]) == []
    assert [failed.case for failed in failed_cases([failure(wrong, 3.0), done])] == ["p"]


def test_a_failure_whose_study_is_gone_is_over(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    other = Entry("other", str(tmp_path / "kept"))
    gone, listed = Entry("gone", str(tmp_path / "gone")), Entry("listed", str(tmp_path / "listed"))
    records = [failure(other, 1.0, "a"), failure(gone, 1.0, "b"), failure(listed, 1.0, "c")]
    assert [failed.case for failed in failed_cases(records, [listed])] == ["a", "c"]
    assert [failed.case for failed in failed_cases(records, [listed], tmp_path)] == ["c"]
    assert [failed.case for failed in failed_cases(records, [listed, other._replace(series="1.2")])] == ["c"]
    assert len(failed_cases(records)) == 3


def test_the_journal_is_private(tmp_path: Path):
    Journal(tmp_path, "all").append(record("a"))
    folder = tmp_path / "private" / "journal"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "all.jsonl").stat().st_mode & 0o777 == 0o600
