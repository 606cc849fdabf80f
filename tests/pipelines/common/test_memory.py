"""Memory that runs out in a training, an evaluation, a comparison or an inference, and processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mose_med.checkpoint import read_checkpoint
from mose_med.data import load_datalist
from mose_med.errors import MoseError
from mose_med.losses import OptimalTransportLoss
from mose_med.networks import MoSE
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode, run_command
from pipelines.common.memory import named_memory_errors
from pipelines.evaluate.prediction import BatchPrediction
from pipelines.evaluate.run import EvaluateOptions, evaluate
from pipelines.infer.run import InferOptions, infer
from pipelines.models.comparison import Scoring, score_model
from pipelines.prepare.failures import Failures
from pipelines.prepare.jobs import run_cases
from pipelines.train.run import TrainOptions, train

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
def test_a_training_names_the_remedy_and_goes_on_from_the_last_checkpoint(
    options: TrainOptions, scarce, failure: Failure
):
    whole = train(replace(options, output_dir=options.output_dir.with_name("whole")))
    scarce(
        OptimalTransportLoss, "forward", failure, 5
    )  # after the trial of both gammas, the first step of the second epoch
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


def test_an_evaluation_names_the_remedy(tiny_datalist: Path, tiny_checkpoint: Path, tmp_path: Path, scarce):
    scarce(BatchPrediction, "compact", allocator, 1)
    options = EvaluateOptions(tiny_datalist, tiny_checkpoint, tmp_path / "out", device="cpu", quiet=True)
    with pytest.raises(MoseError, match="memory ran out while 16 slices were scored at once: ask for fewer samples"):
        evaluate(options)


def test_a_comparison_names_the_remedy(tiny_datalist: Path, tiny_checkpoint: Path, scarce):
    scarce(BatchPrediction, "compact", python, 1)
    scoring = Scoring(device="cpu", quiet=True)
    with pytest.raises(MoseError, match="memory ran out while version 1 was scored: ask for fewer samples"):
        score_model(tiny_checkpoint, "version 1", load_datalist(tiny_datalist), "test", scoring)


@pytest.fixture
def inference(tmp_path: Path, infer_checkpoint: Path, write_study: Callable[..., Path]) -> InferOptions:
    """Inference of a small study with a nodule list."""
    study = write_study(tmp_path / "study")
    options = {"nodules": study / "nodules.csv", "device": "cpu", "quiet": True}
    return InferOptions(study, tmp_path / "out", infer_checkpoint, **options)


@pytest.mark.parametrize("failure", [gpu, python, allocator])
def test_an_inference_names_the_remedy_and_leaves_nothing(inference: InferOptions, scarce, failure: Failure):
    scarce(MoSE, "features", failure, 1)
    message = "memory ran out while batches of 16 windows were inferred: set a smaller --sw-batch-size, or"
    with pytest.raises(MoseError, match=message):
        infer(inference)
    assert not inference.output_dir.exists()


def test_the_remedy_of_an_inference_is_an_option_and_gives_the_same_case(inference: InferOptions, scarce):
    whole = infer(inference)
    other = inference.output_dir.with_name("other")
    where = ["--nodules", str(inference.nodules), "--checkpoint", str(inference.checkpoint), "--output-dir", str(other)]
    assert invoke(["infer", str(inference.source), *where, "--device", "cpu", "--sw-batch-size", "1", "--quiet"]) == 0
    (found,) = other.glob("case-*/lesions.json")
    assert json.loads(found.read_text()) == json.loads((whole.folder / "lesions.json").read_text())


def test_another_number_of_windows_goes_on_in_the_same_folder(inference: InferOptions):
    infer(inference)
    assert infer(replace(inference, sw_batch_size=2)).resumed
    record = json.loads((inference.output_dir / "options.json").read_text())
    (inference.output_dir / "options.json").write_text(json.dumps(record | {"sw_batch_size": 16}))  # as 0.1.0 did
    assert infer(inference).resumed


def test_memory_that_runs_out_elsewhere_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert run_command(allocator) == run_command(python) == ExitCode.BAD_INPUT
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("mose-med: memory ran out (")
    assert second == "mose-med: memory ran out: free some, or process less at once"


def test_a_real_limit_of_memory_is_one_line(inference: InferOptions):
    options = ["--nodules", str(inference.nodules), "--checkpoint", str(inference.checkpoint), "--device", "cpu"]
    arguments = ["infer", str(inference.source), *options, "--output-dir", str(inference.output_dir), "--quiet"]
    code = f"""
import resource, sys
from mose_med.networks import MoSE
from pipelines.cli import invoke
def features(*arguments, **keywords):
    import torch
    used = 4096 * int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, resource.RLIM_INFINITY))
    return torch.zeros(2**28)
MoSE.features = features
sys.exit(invoke({arguments!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "mose-med: memory ran out while batches of 16 windows were inferred: set a smaller --sw-batch-size, or ask for "
        "fewer --samples"
    ]


def killed(case: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_of_a_preparation_is_one_line(capfd: pytest.CaptureFixture[str]):
    failures = Failures(keep_going=True)
    code = run_command(lambda: run_cases(killed, {"a": 1, "b": 2}, failures, description="", jobs=2, quiet=True))
    assert code == ExitCode.BAD_INPUT
    (line,) = capfd.readouterr().err.splitlines()
    assert "was killed, probably because memory ran out: run the same command again to continue, with fewer" in line


def test_a_killed_loader_of_a_training_is_one_line(options: TrainOptions, scarce):
    def loader() -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    scarce(OptimalTransportLoss, "forward", loader, 1)
    with pytest.raises(MoseError, match=r"a data loading process was killed, .*: set a smaller num_workers"):
        train(options)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shape"), named_memory_errors("here", "there"):
        raise RuntimeError("shape mismatch")
