"""The demo as a user runs it: minutes, so it is not part of `make test`."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.evaluate.run import COMPACT, CONSTANT, MARGINAL, STANDARD

pytestmark = pytest.mark.slow


def test_the_demo_beats_its_baselines(tmp_path: Path):
    assert invoke(["demo", "--output-dir", str(tmp_path / "demo"), "--quiet"]) == ExitCode.DONE
    rows = json.loads((tmp_path / "demo" / "evaluation" / "metrics.json").read_text(encoding="utf-8"))["rows"]
    ged = {row["method"]: row["ged"]["mean"] for row in rows}
    assert max(ged[COMPACT], ged[STANDARD]) < min(ged[MARGINAL], ged[CONSTANT])
    cases = sorted((tmp_path / "demo" / "inference").glob("case-*"))
    assert len(cases) == 2
    (volume,) = (tmp_path / "demo" / "studies").glob("*.nii")
    affines = [nib.load(case / "probability.nii.gz").affine for case in cases]
    assert any(np.array_equal(affine, nib.load(volume).affine) for affine in affines)
    (shipped,) = (tmp_path / "demo" / "shipped").glob("case-*")
    assert json.loads((shipped / "lesions.json").read_text())["lesions"][0]["expert_probs"][15] > 0
