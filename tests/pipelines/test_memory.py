"""Memory that runs out in a training, an evaluation or a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mose_med.checkpoint import read_checkpoint
from mose_med.data import load_datalist
from mose_med.errors import MoseError
from mose_med.losses import OptimalTransportLoss
from pipelines.cli import invoke
from pipelines.evaluate import EvaluateOptions, evaluate
from pipelines.evaluation.prediction import BatchPrediction
from pipelines.memory import named_memory_errors
from pipelines.models.comparison import Scoring, score_model
from pipelines.train import TrainOptions, train

Failure = Callable[[], None]


def gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def python() -> None:
    raise MemoryError


def allocator() -> None:
    torch.empty(2**60, dtype=torch.uint8)


@pytest.fixture
def options(tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(tiny_datalist, tmp_path / "run", (str(tiny_overlay),), device="cpu", quiet=True)


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str, Failure, int], None]:
    """Let a method fail at its n-th call, and work again after that."""

    def arrange(owner: type, method: str, failure: Failure, call: int) -> None:
        works, calls = getattr(owner, method), 0

        def counted(*arguments, **keywords):
            nonlocal calls
            calls += 1
            if calls == call:
                failure()
            return works(*arguments, **keywords)

        monkeypatch.setattr(owner, method, counted)

    return arrange


@pytest.mark.parametrize("failure", [gpu, python, allocator])
def test_a_training_names_the_way_out_and_goes_on_from_the_last_checkpoint(
    options: TrainOptions, scarce, failure: Failure
):
    whole = train(replace(options, output_dir=options.output_dir.with_name("whole")))
    scarce(OptimalTransportLoss, "forward", failure, 3)  # the first step of the second epoch
    with pytest.raises(
        MoseError, match="memory ran out in the training with batch_size 3: set a smaller batch_size or"
    ):
        train(options)
    assert read_checkpoint(options.output_dir / "last.pt").epoch == 1
    train(options)
    found, expected = (read_checkpoint(folder / "last.pt").model for folder in (options.output_dir, whole.output_dir))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_command_says_it_in_one_line(options: TrainOptions, scarce, capfd: pytest.CaptureFixture[str]):
    scarce(OptimalTransportLoss, "forward", allocator, 1)
    where = ["--datalist", str(options.datalist), "--output-dir", str(options.output_dir), "--no-tracking"]
    assert invoke(["train", *where, "--config", options.configs[0], "--device", "cpu", "--quiet"]) == 2
    said = capfd.readouterr().err
    assert "add --config amp; the last checkpoint is intact" in " ".join(said.split())
    assert "Traceback" not in said


def test_an_evaluation_names_the_way_out(tiny_datalist: Path, tiny_checkpoint: Path, tmp_path: Path, scarce):
    scarce(BatchPrediction, "compact", allocator, 1)
    options = EvaluateOptions(tiny_datalist, tiny_checkpoint, tmp_path / "out", device="cpu", quiet=True)
    with pytest.raises(MoseError, match="memory ran out while 16 slices were scored at once: ask for fewer samples"):
        evaluate(options)


def test_a_comparison_names_the_way_out(tiny_datalist: Path, tiny_checkpoint: Path, scarce):
    scarce(BatchPrediction, "compact", python, 1)
    scoring = Scoring(device="cpu", quiet=True)
    with pytest.raises(MoseError, match="memory ran out while version 1 was scored: ask for fewer samples"):
        score_model(tiny_checkpoint, "version 1", load_datalist(tiny_datalist), "test", scoring)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shape"), named_memory_errors("here", "there"):
        raise RuntimeError("shape mismatch")
