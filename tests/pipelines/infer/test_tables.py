from __future__ import annotations

import csv
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from pipelines.infer.store import FolderStore
from pipelines.infer.tables import FailedCase, lesion_uncertainty, write_tables


def lesion(p05: float, p95: float, p_empty: float = 0.0, probs: tuple[float, ...] = (0.5, 0.5)) -> dict:
    volume = {"mean": p05, "p05": p05, "p50": p05, "p95": p95, "by_expert": [p05, p95][: len(probs)]}
    flags = {"in_consensus": True, "touches_edge": False, "same_as_lesion": None}
    flags["entropy"] = {"total": 0.3, "between": 0.1, "within": 0.2}
    return {"lesion": 1, "nodule_id": "1", "p_empty": p_empty, "expert_probs": probs, "volume_ml": volume} | flags


@pytest.fixture
def tables(tmp_path: Path):
    """Function that writes cases and the tables, and reads a table."""

    def write(cases: dict[str, list[dict]], name: str, failed=()) -> list[dict[str, str]]:
        for case, lesions in cases.items():
            (tmp_path / case).mkdir()
            (tmp_path / case / "lesions.json").write_text(json.dumps({"lesions": lesions}))
            (tmp_path / case / "provenance.json").write_text("{}")
        write_tables(FolderStore(tmp_path), failed)
        with (tmp_path / name).open(newline="") as stream:
            return list(csv.DictReader(stream))

    return write


def test_the_queue_begins_with_the_most_uncertain_case(tables):
    cases = {
        "sure": [lesion(1.0, 1.0)],
        "none": [],
        "wide": [lesion(1.0, 1.0), lesion(1.0, 3.0)],
        "absent": [lesion(0.0, 1.0, p_empty=0.2)],
        "doubtful": [lesion(0.0, 1.0, p_empty=0.5)],
    }
    rows = tables(cases, "queue.csv")
    assert [row["case"] for row in rows] == ["doubtful", "absent", "wide", "sure", "none"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert (rows[2]["uncertainty"], rows[2]["lesions"]) == ("0.5", "2")


def test_the_summary_has_a_row_a_lesion_with_every_expert(tables):
    rows = tables({"b": [lesion(1.0, 2.0)], "a": [lesion(1.0, 3.0, p_empty=0.1), lesion(0.0, 0.0)]}, "summary.csv")
    assert [row["case"] for row in rows] == ["a", "a", "b"]
    assert (rows[0]["volume_p05_ml"], rows[0]["volume_expert-2_ml"], rows[0]["expert-1_prob"]) == ("1.0", "3.0", "0.5")
    assert rows[0]["presence_entropy_nats"] == "0.325083"
    assert (rows[0]["entropy_nats"], rows[0]["entropy_between_experts_nats"]) == ("0.3", "0.1")
    assert rows[1]["volume_spread"] == "0.0"


@pytest.mark.parametrize("stated", [True, False])
def test_without_experts_the_summary_speaks_of_none(tables, stated: bool):
    known = lesion(1.0, 2.0, probs=(1.0,))
    if not stated:
        del known["expert_probs"], known["volume_ml"]["by_expert"]
    (row,) = tables({"a": [known]}, "summary.csv")
    assert [column for column in row if "expert" in column] == []
    assert row["volume_p95_ml"] == "2.0"


def test_memory_of_the_tables_does_not_grow_with_what_is_known_of_a_lesion(tables):
    known = lesion(1.0, 2.0) | {"samples": list(range(10_000))}
    cases = {f"case-{n:02d}": [known] for n in range(40)}
    tracemalloc.start()
    assert len(tables(cases, "summary.csv")) == len(cases)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(cases) * len(json.dumps(known))


def test_failures_are_sorted_by_case(tables):
    rows = tables({}, "failed.csv", [FailedCase("b", "read", "x", "y"), FailedCase("a", "write", "x", "y")])
    assert [(row["case"], row["stage"]) for row in rows] == [("a", "write"), ("b", "read")]


def test_a_lesion_that_no_sample_sees_is_sure_of_its_volume():
    assert lesion_uncertainty(lesion(0.0, 0.0, p_empty=1.0, probs=(1.0, 0.0))) == (0.0, 0.0, 0.3)


def test_a_case_whose_patient_cannot_be_read_has_no_rows(tables, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "options.json").write_text(json.dumps({"keep_identity": True}))
    assert tables({"a": [lesion(1.0, 2.0)]}, "summary.csv") == []
    assert "a has no rows in the tables: a/provenance.json is damaged" in caplog.text


def test_a_reason_may_name_a_file_that_is_not_utf8(tmp_path: Path):
    name = os.fsdecode(b"M\xfcller.nii")
    write_tables(FolderStore(tmp_path), [FailedCase("case-a", "read", f"{name} is cut short", "")])
    assert b",M\xfcller.nii is cut short," in (tmp_path / "failed.csv").read_bytes()
