from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mose_med.metrics import Interval
from pipelines.evaluate.files import METRICS_NAME, Evaluation, markdown_table, read_evaluation, write_evaluation
from pipelines.evaluate.scores import ScoreRow, Spread


def an_evaluation(threshold: float | None = 0.5, std: float = 0.0) -> Evaluation:
    means = (Spread(0.1954, std), Spread(0.63, 0.0), Spread(0.054, 0.0), Spread(0.4, 0.0))
    row = ScoreRow("compact", 48, *means, Interval(0.18, 0.21), Interval(0.6, 0.65))
    seeds = (0, 1) if std else (0,)
    return Evaluation("lidc", "test", 10, 3, seeds, "abc", (row,), (0.75, 0.25), 1.7548, constant_threshold=threshold)


@pytest.mark.parametrize("threshold", [0.5, float("inf"), None])
def test_what_is_written_is_read_again(tmp_path: Path, threshold: float | None):
    write_evaluation(tmp_path, an_evaluation(threshold))
    assert read_evaluation(tmp_path) == an_evaluation(threshold)


def test_an_unfinished_folder_holds_none(tmp_path: Path):
    assert read_evaluation(tmp_path) is None


def test_table_shows_the_spread_of_several_seeds():
    scores = "0.195 | 0.180 to 0.210 |  | 0.630 | 0.600 to 0.650 | 0.054 |  | 0.400 | "
    assert f"| compact, random codes | 48 | {scores} |" in markdown_table(an_evaluation())
    table = markdown_table(an_evaluation(std=0.002))
    assert "0.195 ± 0.002" in table
    assert "over 2 seeds" in table


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ("quadrature", "Codes of the compact form are quadrature points"),
        ("random", "the compact form are drawn at random"),
    ],
)
def test_table_names_the_codes(codes: str, told: str):
    table = markdown_table(replace(an_evaluation(), codes=codes))
    assert f"| compact, {codes} codes | 48 |" in table
    assert told in table


def test_an_evaluation_of_before_had_random_codes(tmp_path: Path):
    write_evaluation(tmp_path, an_evaluation())
    content = json.loads((tmp_path / METRICS_NAME).read_text())
    del content["codes"]
    (tmp_path / METRICS_NAME).write_text(json.dumps(content))
    assert read_evaluation(tmp_path).codes == "random"


def test_table_tells_how_the_experts_are_used():
    assert "Mean expert probabilities 0.75, 0.25: 1.8 experts in effect." in markdown_table(an_evaluation())


def test_table_of_a_network_without_experts_speaks_of_none():
    assert "expert" not in markdown_table(replace(an_evaluation(), expert_probs=(1.0,))).lower()


def test_published_scores_stand_below_with_their_data_named():
    table = markdown_table(an_evaluation())
    assert "Published on LIDC v1 (15,096 slices" in table
    assert "| MoSE standard | 16 | 0.218 | 0.624 | 0.064 |" in table
    assert "| ATFM | 100 | 0.162 |  |  |" in table


def test_a_missing_row_is_named():
    with pytest.raises(KeyError, match="no row of standard with 16 samples"):
        an_evaluation().row("standard", 16)
