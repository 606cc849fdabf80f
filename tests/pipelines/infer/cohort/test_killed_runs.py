"""Runs that are killed outright, again and again, and then finished."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.infer.cohort.options import CohortOptions

pytestmark = pytest.mark.slow


@pytest.fixture
def start(cohort: CohortOptions) -> Callable[[Path], subprocess.Popen[bytes]]:
    """Function that starts ``mose-med infer`` of the cohort into a folder, as a group of processes."""

    def run(output: Path) -> subprocess.Popen[bytes]:
        code = "from pipelines.cli import main; main()"
        options = ["--output-dir", output, "--input-dir", cohort.input_dir, "--checkpoint", cohort.checkpoint]
        arguments = [*options, "--workers", 2, "--device", "cpu", "--quiet"]
        command = [sys.executable, "-c", code, "infer", *map(str, arguments)]
        return subprocess.Popen(command, start_new_session=True)

    return run


def test_after_ten_kills_the_outputs_are_those_of_an_undisturbed_run(
    start, contents, leftovers, failed_rows, tmp_path: Path
):
    begun = time.monotonic()
    assert start(tmp_path / "undisturbed").wait() == 0
    whole_s = time.monotonic() - begun
    output, moments = tmp_path / "disturbed", random.Random(0)
    for number in range(10):
        process = start(output)
        time.sleep(moments.uniform(0.3, 1.0) * whole_s)
        if number % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    assert start(output).wait() == 0
    assert contents(output) == contents(tmp_path / "undisturbed")
    assert leftovers(output) == failed_rows(output) == []
