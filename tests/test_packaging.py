"""The wheel, installed away from the checkout, has everything; the library needs no extra."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("mose_med", "pipelines", "data_prep", "configs", "pyproject.toml", "README.md", "LICENSE")
IMPORT_ALL = """
import importlib, pkgutil, sys
for extra in {extras}:
    sys.modules[extra] = None
import mose_med
for module in pkgutil.walk_packages(mose_med.__path__, "mose_med."):
    importlib.import_module(module.name)
"""
BUNDLE = """
import pathlib, mose_med, pipelines
from pipelines.train_config import compose, config_files
print(pathlib.Path(mose_med.__file__).parents[1])
print(compose(config_files("lidc", ("demo",), tracking=False), {})["network"]["channels"])
"""


def run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environment with the wheel; the dependencies are those of the running environment, without its checkout."""
    root = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--quiet")
    (root / "source").mkdir()  # a copy, since a build leaves its folder behind
    for name in SOURCES:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, root / "source" / name)
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", root, root / "source", cwd=root)
    venv.create(root / "env", with_pip=False)
    (site,) = (root / "env").glob("lib/python*/site-packages")
    (wheel,) = root.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", site, wheel, cwd=root)
    dependencies = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "dependencies.pth").write_text(dependencies + "\n", encoding="utf-8")
    return root


def test_the_wheel_runs_away_from_the_checkout(installed: Path):
    python = installed / "env" / "bin" / "python"
    help_text = run(python, "-c", "from pipelines.cli import main; main()", "--help", cwd=installed)
    assert "mose-med" in help_text
    place, channels = run(python, "-c", BUNDLE, cwd=installed).splitlines()[-2:]
    assert Path(place).is_relative_to(installed)
    assert channels == "[8, 16, 32, 48, 64, 64]"


def test_the_library_imports_without_extras(tmp_path: Path):
    run(sys.executable, "-c", IMPORT_ALL.format(extras=["pylidc", "mlflow", "h5py", "onnx"]), cwd=tmp_path)


def test_the_wheel_holds_the_review_page(installed: Path):
    python = installed / "env" / "bin" / "python"
    code = "from importlib.resources import files; print(len(list((files('mose_med.report') / 'page').iterdir())))"
    assert run(python, "-c", code, cwd=installed).strip() == str(len([*(ROOT / "mose_med/report/page").iterdir()]))
