"""A self-contained bundle in an environment with MONAI and the packages of its metadata, without mose_med.

Written like the unit tests of MONAI's model zoo: fake data, the bundle's own config files, a workflow that runs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipelines.export.bundle import ExportBundleOptions, export_bundle
from tests.test_packaging import execute

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

ABSENT = (
    "import importlib.util as u; assert not any(map(u.find_spec, ('mose_med', 'pipelines', 'SimpleITK', 'mlflow')))"
)
PARSED = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, ".")
from monai.bundle import ConfigWorkflow
for kind, names in (("train", ["train"]), ("eval", ["train", "evaluate"]), ("infer", ["inference"])):
    files = [f"configs/{{name}}.yaml" for name in names]
    workflow = ConfigWorkflow(
        files, "configs/metadata.json", logging_file=False, workflow_type=kind, datalist={datalist!r}, device_name="cpu"
    )
    workflow.initialize()
    assert workflow.check_properties() == [], kind
"""


@pytest.fixture(scope="module")
def bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Unpacked bundle, and beside it the environment ``env`` of its metadata."""
    root = tmp_path_factory.mktemp("zoo")
    archive = export_bundle(ExportBundleOptions(tiny_checkpoint, root / "tiny.zip", self_contained=True))
    with zipfile.ZipFile(archive) as content:
        content.extractall(root)
    metadata = json.loads((root / "tiny/configs/metadata.json").read_text())
    pins = {name: metadata[f"{key}_version"] for name, key in (("monai", "monai"), ("torch", "pytorch"))}
    pins |= {"numpy": metadata["numpy_version"]} | metadata["required_packages_version"]
    venv.create(root / "env", with_pip=True)
    wanted = [f"{name}=={version}" for name, version in pins.items()]
    execute(root / "env/bin/pip", "install", "--quiet", "--no-compile", *wanted, cwd=root)
    yield root / "tiny"
    shutil.rmtree(root)


@pytest.fixture
def python(bundle: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the environment's Python in the folder of the bundle."""
    return lambda *arguments: execute(bundle.parent / "env/bin/python", "-W", "ignore", *arguments, cwd=bundle)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Folder of one CT volume, 40 x 48 x 3 voxels."""
    image = np.random.default_rng(0).integers(-1000, 400, (40, 48, 3)).astype(np.int16)
    nib.save(nib.Nifti1Image(image, np.diag([0.7, 0.7, 2.5, 1.0])), tmp_path / "ct.nii.gz")
    return tmp_path


def test_mose_med_is_not_there(python):
    python("-c", ABSENT)


def test_training_evaluation_and_inference_are_built(python, tiny_datalist: Path):
    python("-c", PARSED.format(datalist=str(tiny_datalist)))


def test_prepared_slices_are_inferred(bundle: Path, python, tiny_datalist: Path):
    run = ("-m", "monai.bundle", "run", "--config_file=configs/inference.json", "--device_name=cpu")
    python(*run, f"--datalist={tiny_datalist}")
    assert nib.load(bundle / "predictions/P-5_nodule-1_probability.nii.gz").shape == (32, 32, 3, 2)


def test_a_volume_is_inferred(bundle: Path, python, volume: Path):
    run = ("-m", "monai.bundle", "run", "--config_file=configs/inference.yaml", "--device_name=cpu")
    python(*run, f"--dataset_dir={volume}", "--output_dir=volumes")
    found = nib.load(bundle / "volumes/ct_probability.nii.gz")
    assert found.shape == (40, 48, 3, 2)
    np.testing.assert_allclose(found.affine, np.diag([0.7, 0.7, 2.5, 1.0]), atol=1e-6)


def test_a_training_runs(bundle: Path, python, tiny_datalist: Path):
    tiny = ("--max_epochs=1", "--val_interval=1", "--batch_size=3", "--gamma_epochs=1", "--val_samples_per_expert=2")
    run = ("-m", "monai.bundle", "run", "--config_file=configs/train.yaml", "--device_name=cpu", *tiny)
    python(*run, f"--datalist={tiny_datalist}", "--output_dir=training")
    assert (bundle / "training/best.pt").is_file()
