"""Whoever scores a model on patients it was trained on is told so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mose_med.checkpoint import read_checkpoint, write_checkpoint
from mose_med.data import learnt_from, load_datalist
from pipelines.calibrate.run import CalibrateOptions, calibrate
from pipelines.evaluate.run import EvaluateOptions, evaluate
from pipelines.models.comparison import Scoring, score_model

MESSAGE = "was trained on 1 of the 2 patients: its scores are better than those on new patients"


@pytest.fixture
def trained_on(tiny_datalist: Path, tiny_checkpoint: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Function that gives the tiny checkpoint as if trained on the first patient of a part."""

    def write(part: str) -> Path:
        entries = load_datalist(tiny_datalist).part(part)
        known = [entry for entry in entries if entry.patient_id == entries[0].patient_id]
        content = replace(read_checkpoint(tiny_checkpoint), learnt_from=[learnt_from(known)])
        write_checkpoint(tmp_path / f"{part}.pt", content)
        return tmp_path / f"{part}.pt"

    return write


@pytest.mark.parametrize(("part", "told"), [("test", 1), ("training", 0)])
def test_an_evaluation_tells(
    tiny_datalist: Path,
    trained_on: Callable[[str], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    part: str,
    told: int,
):
    evaluate(
        EvaluateOptions(tiny_datalist, trained_on(part), tmp_path / "out", num_samples=(2,), device="cpu", quiet=True)
    )
    assert [MESSAGE in message for message in caplog.messages if "was trained" in message] == [True] * told


def test_the_comparison_of_a_retraining_tells(
    tiny_datalist: Path, trained_on: Callable[[str], Path], caplog: pytest.LogCaptureFixture
):
    weights, datalist = trained_on("test"), load_datalist(tiny_datalist)
    score_model(weights, "version 3", datalist, "test", Scoring(2, 0, "cpu", quiet=True))
    assert caplog.messages == [f"version 3 {MESSAGE}"]


def test_a_calibration_tells(
    tiny_datalist: Path, trained_on: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    settings = {"folds": 2, "num_samples": 2, "device": "cpu", "quiet": True}
    calibrate(CalibrateOptions(tiny_datalist, trained_on("validation"), tmp_path / "out.pt", **settings))
    assert MESSAGE in caplog.messages[0]
    assert read_checkpoint(tmp_path / "out.pt").learnt_from
