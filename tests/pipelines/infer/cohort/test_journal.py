from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.infer.cohort.journal import Journal, Record


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


def test_the_journal_is_private(tmp_path: Path):
    Journal(tmp_path, "all").append(record("a"))
    folder = tmp_path / "private" / "journal"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "all.jsonl").stat().st_mode & 0o777 == 0o600
