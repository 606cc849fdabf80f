"""The wheel in an environment that holds its base dependencies and nothing else: every command answers and works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import typer

from pipelines.cli import app
from tests.test_architecture import OF_EXTRAS

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("mose_med", "pipelines", "data_prep", "configs", "pyproject.toml", "README.md", "LICENSE")
SHAPE = (40, 40, 4)
OVERLAY = {
    "num_raters": 2,
    "classes": ["background", "lesion"],
    "network::channels": [4, 8],
    "network::num_experts": 2,
    "network::samples_per_expert": 2,
    "val_samples_per_expert": 2,
    "preprocessing::roi_size": [32, 32],
    "batch_size": 3,
    "max_epochs": 1,
    "gamma_epochs": 1,
}
IMPORT_ALL = """
import importlib, pkgutil, mose_med
optional = {optional}
for module in pkgutil.walk_packages(mose_med.__path__, "mose_med."):
    if module.name not in optional:
        importlib.import_module(module.name)
"""
PLACE = "import pathlib, mose_med, pipelines, data_prep, configs; print(pathlib.Path(mose_med.__file__).parents[1])"
ABSENT = "import importlib.util; print([name for name in {names} if importlib.util.find_spec(name)])"
PAGE = "from importlib.resources import files; print(len(list((files('mose_med.report') / 'page').iterdir())))"
FACE = """
import mose_med
model = mose_med.load_model({weights})
case = model.infer({image!r}, nodules=[(-14.0, -14.0, 2.5)])
assert case.lesions[0].volume_ml.p05 <= case.lesions[0].volume_ml.p95
assert abs(case.lesions[0].expert_probs.sum() - 1) < 1e-6 and 0 <= case.lesions[0].p_empty <= 1
assert case.samples(lesion=1).dtype == bool and case.samples(lesion=1).affine.shape == (4, 4)
assert case.samples(lesion=1).shape == (*case.lesions[0].volume_ml.samples.shape, *case.probability(lesion=1).shape)
assert case.entropy(lesion=1).shape == case.probability(lesion=1).shape
assert case.plot(lesion=1)._repr_png_().startswith(b"\\x89PNG") and "<table>" in case._repr_html_()
again = mose_med.open_case(case.save({folder!r}))
assert (again.samples(lesion=1) == case.samples(lesion=1)).all()
print(model.network.num_experts, model.classes, model.preprocessing.roi_size)
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.slow


def execute(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    hidden = ("PYTHON", "COV_", "MLFLOW", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    result = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with the environment ``env``, which holds the wheel and what pip fetches for it."""
    root = tmp_path_factory.mktemp("installed")
    (root / "source").mkdir()  # a copy, since a build leaves its folder behind
    for name in SOURCES:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, root / "source" / name)
    wheel = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", root, root / "source")
    execute(sys.executable, "-m", "pip", "--quiet", *wheel, cwd=root)
    venv.create(root / "env", with_pip=True)
    (built,) = root.glob("*.whl")
    pip = root / "env" / "bin" / "pip"
    execute(pip, "install", "--quiet", "--no-compile", "-c", ROOT / "constraints.txt", built, cwd=root)
    yield root
    shutil.rmtree(root)  # nearly 2 GB, and pytest would keep those of three runs


@pytest.fixture(scope="module")
def python(installed: Path) -> Run:
    """Run code in the environment."""
    return lambda code: execute(installed / "env" / "bin" / "python", "-c", code, cwd=installed)


@pytest.fixture(scope="module")
def mose_med(installed: Path) -> Run:
    """Run ``mose-med`` in the environment."""
    return lambda *arguments: execute(installed / "env" / "bin" / "mose-med", *arguments, cwd=installed)


@pytest.fixture(scope="module")
def dataset(installed: Path, mose_med: Run) -> Path:
    """Datalist that ``prepare rater-masks`` makes of six small volumes with two raters."""
    box = np.zeros(SHAPE, np.uint8)
    box[16:24, 16:24, 1:3] = 1
    for number in range(6):
        folder = installed / "cases" / f"case-{number}"
        folder.mkdir(parents=True)
        image = np.random.default_rng(number).integers(-1000, 400, SHAPE).astype(np.int16)
        for name, array in {"image": image, "rater-a": box, "rater-b": np.roll(box, 1, axis=0)}.items():
            nib.save(nib.Nifti1Image(array, np.diag([-0.7, -0.7, 2.5, 1.0])), folder / f"{name}.nii.gz")
    mose_med("prepare", "rater-masks", installed / "cases", "--output-dir", installed / "data", "--crop", 32)
    return installed / "data" / "dataset.json"


@pytest.fixture(scope="module")
def training(installed: Path, mose_med: Run, dataset: Path) -> subprocess.CompletedProcess[str]:
    """A finished training in the folder ``run``."""
    (installed / "tiny.json").write_text(json.dumps(OVERLAY))
    options = ("--output-dir", installed / "run", "--config", installed / "tiny.json", "--threads", 1)
    return mose_med("train", "--datalist", dataset, *options, "--device", "cpu", "--quiet")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group of commands, by the words that name it."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def test_the_environment_holds_the_base_dependencies_alone(installed: Path, python: Run):
    assert Path(python(PLACE).stdout.strip()).is_relative_to(installed)
    names = ["click", "pytest", "mlflow", "pylidc", "h5py", "onnx", "highdicom", "requests", "ray", "ipyniivue"]
    assert python(ABSENT.format(names=names)).stdout.strip() == "[]"


def test_the_library_imports_without_extras(python: Run):
    python(IMPORT_ALL.format(optional=sorted(OF_EXTRAS)))


def test_the_wheel_holds_the_review_page(python: Run):
    assert python(PAGE).stdout.strip() == str(len([*(ROOT / "mose_med/report/page").iterdir()]))


@pytest.mark.parametrize("path", [*commands(typer.main.get_command(app))], ids=" ".join)
def test_every_command_answers_for_help(mose_med: Run, path: tuple[str, ...]):
    assert " ".join(("Usage: mose-med", *path)) in mose_med(*path, "--help").stdout


def test_a_training_without_mlflow_is_untracked_and_says_so(installed: Path, training):
    said = " ".join(training.stderr.split())
    assert said.count("training without tracking: mlflow is not installed") == 1
    assert (installed / "run" / "best.pt").is_file()
    assert not (installed / "run" / "mlflow.db").exists()


def test_a_model_is_evaluated(installed: Path, mose_med: Run, dataset: Path, training):
    weights = ("--checkpoint", installed / "run" / "best.pt", "--output-dir", installed / "evaluation")
    mose_med("evaluate", "--datalist", dataset, *weights, "--part", "validation", "--num-samples", 4, "--quiet")
    assert (installed / "evaluation" / "metrics.json").is_file()


def test_the_face_works_with_the_shipped_weights(installed: Path, python: Run, dataset: Path):
    image, folder = installed / "cases" / "case-0" / "image.nii.gz", installed / "face" / "shipped"
    said = python(FACE.format(weights="", image=str(image), folder=str(folder))).stdout
    assert "('background', 'nodule')" in said
    assert (folder / "lesions.json").is_file()


def test_the_face_works_with_a_checkpoint(installed: Path, python: Run, training):
    image, folder = installed / "cases" / "case-1" / "image.nii.gz", installed / "face" / "own"
    weights = repr(str(installed / "run" / "best.pt"))
    said = python(FACE.format(weights=weights, image=str(image), folder=str(folder))).stdout
    assert said.strip() == "2 ('background', 'lesion') (32, 32)"


def test_a_case_is_inferred(installed: Path, mose_med: Run, training):
    weights = ("--checkpoint", installed / "run" / "best.pt", "--output-dir", installed / "inferred")
    mose_med("infer", installed / "cases" / "case-0" / "image.nii.gz", *weights, "--region", "full", "--quiet")
    assert len([*(installed / "inferred").glob("case-*/lesions.json")]) == 1
