"""The command under the conditions of the container, made by namespaces of the kernel instead of a Docker engine."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.infer.cohort.options import CohortOptions
from tests.docker.test_docker import ROOT, arguments

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces of mounts"),
]

#: Studies, weights and results where volumes would be; everything else read-only, but for an empty /tmp; no network,
#: no rights. The user has the image's number but no name; what root owns outside is its own.
CONFINED = """
set -e
mount --make-rprivate /
mount --bind "$1" /srv
mount --bind "$2" /media
mount --bind "$3" /mnt
mount -o remount,bind,ro /srv
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /tmp
cd /tmp
shift 3
exec unshare --user --map-user 10001 --map-group 10001 setpriv --no-new-privs "$@"
"""


@pytest.fixture
def confined(tmp_path: Path, infer_checkpoint: Path, system_tool) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Function that runs the command on studies with the environment of the image, as its user."""
    tools = [system_tool(name) for name in ("unshare", "setpriv", "bash")]
    probe = [tools[0], "--mount", "--net", "mount", "--make-rprivate", "/"]
    if subprocess.run(probe, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs a kernel that lets root make namespaces")
    if any(Path(place).resolve().is_relative_to("/tmp") for place in (ROOT, sys.prefix)):
        pytest.skip("needs a checkout outside /tmp, which is empty in the container")
    pairs = " ".join(arguments("Dockerfile", "ENV")).split()
    variables = [pair for pair in pairs if not pair.startswith("PATH=")]
    weights, results = tmp_path / "weights", tmp_path / "results"
    weights.mkdir()
    results.mkdir()
    (weights / "best.pt").write_bytes(infer_checkpoint.read_bytes())

    def run(studies: Path, *options: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from pipelines.cli import main; main()", "infer", "--input-dir", "/srv"]
        program += ["--output-dir", "/mnt/run", "--checkpoint", "/media/best.pt", *options]
        environment = ["env", "-i", f"PATH={os.defpath}", f"PYTHONPATH={ROOT}", *variables]
        shell = [tools[0], "--mount", "--net", tools[2], "-c", CONFINED, "-"]
        command = [*shell, studies, weights, results, *environment, *program]
        return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)

    return run


def test_it_needs_nothing_but_its_volumes_and_an_empty_tmp(
    confined, cohort: CohortOptions, tmp_path: Path, contents, failed_rows, leftovers
):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0")
    done = confined(few.input_dir, "--workers", "2", "--report")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    output = tmp_path / "results" / "run"
    assert len(contents(output)) == 3
    assert all("report.html" in files for files in contents(output).values())
    assert failed_rows(output) == leftovers(output) == []


def test_results_that_may_not_be_written_end_with_one_line(confined, cohort: CohortOptions, tmp_path: Path):
    os.chown(tmp_path / "results", 12345, 12345)
    refused = confined(cohort.input_dir / "site 0")
    assert refused.returncode == 2
    assert "/mnt/run: Permission denied" in refused.stderr
    assert "Traceback" not in refused.stderr
