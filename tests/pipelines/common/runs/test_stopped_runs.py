"""Commands that are told to end, by Ctrl-C or a scheduler: tidied up, no process left, and the same command goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode, run_command
from pipelines.common.runs.termination import Terminated, ended_by_signals
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.workers.ray_engine import _connect

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
signals = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)


def workers_of(pid: int) -> list[psutil.Process]:
    """Processes that a command has begun."""
    return [child for child in psutil.Process(pid).children() if "resource_tracker" not in " ".join(child.cmdline())]


def assert_gone(processes: list[psutil.Process]) -> None:
    assert processes
    assert psutil.wait_procs(processes, timeout=30)[1] == []


@pytest.fixture
def study(write_study: Callable[..., Path], infer_checkpoint: Path, tmp_path: Path) -> list[object]:
    """Command that infers one study into ``out``."""
    folder = write_study(tmp_path / "studies" / "Zyxwvut")
    command: list[object] = ["infer", folder, "--nodules", folder / "nodules.csv", "--output-dir", tmp_path / "out"]
    return [*command, "--checkpoint", infer_checkpoint, "--device", "cpu", "--threads", 1, "--quiet"]


@pytest.fixture
def many(cohort: CohortOptions) -> list[object]:
    """Command that infers the cohort."""
    command: list[object] = ["infer", "--input-dir", cohort.input_dir, "--output-dir", cohort.output_dir, "--quiet"]
    return [*command, "--checkpoint", cohort.checkpoint, "--device", "cpu", "--workers", 1]


@signals
def test_one_study_that_is_stopped_while_its_files_are_written_leaves_nothing(hold, study, number, tmp_path: Path):
    program = hold(study, "mose_med.api.writers:write_json")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".case-*.tmp/probability.nii.gz")):  # another thread writes it
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert program.signalled(number) == CODES[number]
    assert program.said().splitlines()[-1].endswith("run the same command again to continue")
    assert not (tmp_path / "out").exists()
    assert program.temporary() == []
    assert invoke([str(part) for part in study]) == 0


@pytest.mark.parametrize(
    ("number", "group"),
    [
        pytest.param(signal.SIGTERM, False, id="as Docker does"),
        pytest.param(signal.SIGTERM, True, id="as SLURM does", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, True, id="as a terminal does", marks=pytest.mark.slow),
    ],
)
def test_a_cohort_that_is_stopped_tidies_up_and_ends_its_workers(
    hold, many, cohort: CohortOptions, number, group: bool, leftovers
):
    program = hold(many, "pipelines.infer.cohort.journal:Journal.append")
    workers = workers_of(program.pid)
    assert program.signalled(number, group=group) == CODES[number]
    assert_gone(workers)
    assert leftovers(cohort.home) == program.temporary() == []
    assert invoke([str(part) for part in many]) == 0
    assert len(list(cohort.home.glob("case-*/"))) == 6


@pytest.mark.slow
def test_workers_end_with_a_run_that_is_killed(hold, many):
    program = hold(many, "pipelines.infer.cohort.journal:Journal.append")
    workers = workers_of(program.pid)
    assert program.signalled(signal.SIGKILL) == -signal.SIGKILL
    assert_gone(workers)


@pytest.mark.slow
@signals
def test_prepare_in_several_processes_ends_them_and_goes_on(
    hold, phantom_lidc_root: Path, phantom_split_csv: Path, number, tmp_path: Path
):
    command = ["prepare", "lidc", "--lidc-root", phantom_lidc_root, "--split", phantom_split_csv, "--jobs", 2]
    command += ["--output-dir", tmp_path / "out", "--quiet"]
    program = hold(command, "pipelines.prepare.failures:Failures.case")
    workers = workers_of(program.pid)
    assert program.signalled(number, group=True) == CODES[number]
    assert_gone(workers)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "out"]
    assert program.temporary() == []
    assert invoke([str(part) for part in command]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@signals
def test_a_training_that_is_stopped_goes_on(hold, tiny_datalist: Path, tiny_overlay: Path, number, tmp_path: Path):
    command = ["train", "--datalist", tiny_datalist, "--config", tiny_overlay, "--output-dir", tmp_path / "run"]
    command += ["--max-epochs", 2, "--device", "cpu", "--quiet"]
    program = hold(command, "mose_med.checkpoint:torch.save")
    assert program.signalled(number) == CODES[number]
    assert not list((tmp_path / "run").glob(".*")) + list((tmp_path / "run").glob("*.pt"))
    assert [path for path in program.temporary() if not path.name.startswith("torchinductor")] == []  # its cache
    assert invoke([str(part) for part in command]) == 0


@pytest.mark.parametrize(
    ("command", "moment"),
    [
        (["evaluate", "--datalist", "d.json", "--checkpoint", "w.pt"], "pipelines.evaluate.run:evaluate"),
        (["retrain", "--datalist", "d.json"], "pipelines.retrain.run:retrain"),
        (["demo"], "pipelines.demo.run:run_demo"),
    ],
)
def test_every_command_says_that_it_was_terminated(hold, command: list[str], moment: str, tmp_path: Path):
    program = hold([*command, "--output-dir", tmp_path / "out"], moment)
    assert program.signalled(signal.SIGTERM) == ExitCode.TERMINATED
    assert program.said() == "mose-med: terminated: run the same command again to continue\n"


def test_a_second_signal_does_not_interrupt_the_tidying_up():
    tidied = []

    def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
            tidied.append(True)

    before = [signal.getsignal(number) for number in CODES]
    with pytest.raises(Terminated), ended_by_signals():
        command()
    assert run_command(command) == ExitCode.TERMINATED
    assert tidied == [True, True]
    assert [signal.getsignal(number) for number in CODES] == before


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch):
    """As SIGINT is for what a shell starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_command(lambda: os.kill(os.getpid(), signal.SIGINT)) == ExitCode.DONE
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_cluster_does_not_take_the_signals_of_the_command():
    class Cluster:
        job_config = SimpleNamespace(JobConfig=dict)

        def init(self, *_: object, **__: object) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    with ended_by_signals():
        before = signal.getsignal(signal.SIGTERM)
        _connect(Cluster(), None, 1)
        assert signal.getsignal(signal.SIGTERM) is before
