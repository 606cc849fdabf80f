"""Processes that commands start in a folder with modules that are named like ours, or like Python's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.common.processes import wait_without_spinning
from pipelines.export.torchscript import torchscript_bytes
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.run import infer_cohort
from pipelines.infer.cohort.workers.preflight import preflight
from pipelines.prepare.failures import Failures
from pipelines.prepare.jobs import run_cases

NAMES = ("torch.py", "random.py", "tempfile.py", "multiprocessing/__init__.py", "pipelines/__init__.py")


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; a module of it that is run leaves a file ``ran`` and ends the process."""
    folder = tmp_path / "traps"
    for name in (*NAMES, "mose_med/__init__.py"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(folder / 'ran')!r}, 'a').write(__name__)\nraise SystemExit(9)\n")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return folder


def test_the_process_that_writes_torchscript_runs_none(traps: Path, tiny_checkpoint: Path, tmp_path: Path):
    checkpoint = tmp_path / "weights.pt"
    checkpoint.write_bytes(tiny_checkpoint.read_bytes())
    (tmp_path / "metadata.json").write_text("{}")
    assert torchscript_bytes(checkpoint, tmp_path / "metadata.json")
    assert not (traps / "ran").exists()


def test_the_process_that_tries_the_weights_runs_none(traps: Path, tiny_checkpoint: Path):
    assert preflight(tiny_checkpoint, "cpu", 100).devices == ["cpu"]
    assert not (traps / "ran").exists()


def test_the_processes_that_prepare_run_none(traps: Path):
    failures = Failures(keep_going=False)
    run_cases(len, {"a": "x", "b": "y"}, failures, description="", jobs=2, quiet=True)
    assert not (traps / "ran").exists()


def test_the_console_script_and_what_it_starts_run_none(traps: Path):
    script = Path(sys.executable).with_name("mose-med")
    if not script.is_file():
        pytest.skip("needs the console script beside Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (traps / "ran").exists()


@pytest.mark.slow
def test_actors_of_ray_run_none(traps: Path, cohort: CohortOptions):
    from dataclasses import replace

    pytest.importorskip("ray")
    few = replace(cohort, input_dir=cohort.input_dir / "site 0", engine="ray", workers=1)
    assert infer_cohort(few)[:3] == (3, 0, 0)
    assert not (traps / "ran").exists()


def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    wait_without_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("KMP_BLOCKTIME", "7")
    wait_without_spinning()
    assert (os.environ.pop("GOMP_SPINCOUNT"), os.environ["KMP_BLOCKTIME"]) == ("2000", "7")
