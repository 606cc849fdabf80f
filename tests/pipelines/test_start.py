"""What a command loads before it works: MONAI and what it brings take seconds, so only what needs them has them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

HEAVY = {"SimpleITK", "h5py", "ignite", "jsonschema", "matplotlib", "mlflow", "monai", "pandas", "skimage", "sklearn"}
HEAVY |= {"torch", "scipy.optimize", "scipy.stats"}
#: nibabel brings pydicom, and scipy.ndimage labels components.
LIGHT = {"nibabel", "scipy.ndimage"}


def loaded(code: str) -> set[str]:
    """Heavy modules that a fresh interpreter has after running code."""
    told = f"{code}\nprint(*sorted({HEAVY | LIGHT} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", f"import sys\n{told}"], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("where", [["--nodules", "nodules.csv"], ["--region", "full"]])
def test_inferring_a_nifti_file_loads_torch_and_little_else(where: list[str], infer_checkpoint: Path, tmp_path: Path):
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 3), np.int16), np.eye(4)), tmp_path / "ct.nii.gz")
    (tmp_path / "nodules.csv").write_text("x_ras_mm,y_ras_mm,z_ras_mm\n9,9,1\n")
    command = ["infer", "ct.nii.gz", "--checkpoint", str(infer_checkpoint), "--output-dir", "out", "--device", "cpu"]
    code = f"import os\nfrom pipelines.cli import invoke\nos.chdir({str(tmp_path)!r})\n"
    assert loaded(f"{code}assert invoke({command + where}) == 0") == {"torch", *LIGHT}


def test_the_modules_of_a_command_are_kept_from_the_collector(tmp_path: Path):
    command = ["infer", str(tmp_path / "missing.nii"), "--output-dir", str(tmp_path / "out"), "--device", "cpu"]
    code = f"from pipelines.cli import invoke; import gc; invoke({command}); print(gc.get_freeze_count())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) > 100_000


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("pipelines.infer.run", {"torch"}),
        ("pipelines.infer.cohort.run", set()),
        ("pipelines.report.run", {"torch", "matplotlib"}),
        ("pipelines.doctor.run", {"jsonschema"}),
        ("pipelines.prepare.sources.lidc", {"torch", "matplotlib", "jsonschema"}),
        ("mose_med.networks", {"torch"}),
        ("mose_med.losses", {"torch"}),
        ("mose_med.metrics", {"torch"}),
        ("mose_med.inferers", {"torch"}),
        ("mose_med.io.case.folder", {"torch"}),
        ("mose_med.api.model", {"torch"}),
        ("mose_med.data", set()),
    ],
)
def test_a_module_loads_what_it_needs(module: str, heavy: set[str]):
    assert loaded(f"import {module}") - LIGHT == heavy


@pytest.mark.parametrize("package", ["mose_med.data", "mose_med.io"])
def test_names_that_are_looked_up_late_are_all_there(package: str):
    found = importlib.import_module(package)
    assert all(getattr(found, name) is not None for name in found.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        found.nothing  # noqa: B018
