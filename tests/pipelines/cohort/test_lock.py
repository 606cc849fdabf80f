from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from pipelines.cohort.lock import shared_run
from pipelines.cohort.options import CohortOptions
from pipelines.cohort.run import infer_cohort
from pipelines.inference.store import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def test_a_run_that_is_alone_is_the_last(tmp_path: Path, store: FolderStore):
    with shared_run(tmp_path, store) as is_last:
        assert is_last()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_runs_the_one_that_is_done_later_is_the_last(order, tmp_path: Path, store: FolderStore):
    with shared_run(tmp_path, store) as first, shared_run(tmp_path, store) as second:
        runs = (first, second)
        assert [runs[n]() for n in order] == [False, True]


def test_leftovers_stay_while_another_run_takes_part(tmp_path: Path, store: FolderStore):
    with shared_run(tmp_path, store):
        (tmp_path / ".case-1.tmp").mkdir()
        with shared_run(tmp_path, store):
            assert (tmp_path / ".case-1.tmp").is_dir()
        assert (tmp_path / ".case-1.tmp").is_dir()
    assert not (tmp_path / ".case-1.tmp").exists()


def test_a_shard_beside_another_leaves_the_tables_to_the_last(cohort: CohortOptions):
    def summarised(shard: str) -> int:
        infer_cohort(dataclasses.replace(cohort, shard=shard))
        with (cohort.home / "summary.csv").open(newline="") as stream:
            return len(list(csv.DictReader(stream)))

    first = summarised("1/2")
    with shared_run(cohort.home, FolderStore(cohort.home)):
        assert summarised("2/2") == first < 6
        assert len(list(cohort.home.glob("case-*"))) == 6
    assert summarised("1/2") == 6
