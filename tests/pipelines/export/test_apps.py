"""Applications for MONAI Label and MONAI Deploy as folders."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from mose_med import __version__
from mose_med.errors import ConfigError
from mose_med.weights.files import weights_sha256
from pipelines.cli import invoke
from pipelines.export.app_folder import export_deploy_app, export_label_app
from pipelines.export.options import ExportAppOptions

FILES = {
    "label-app": {"main.py", "start.sh", "requirements.txt", "README.md", "pydicom_2_names.py", "model"},
    "deploy-app": {"__main__.py", "app.yaml", "package.sh", "requirements.txt", "README.md", "models"},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")


@pytest.mark.parametrize("kind", FILES)
def test_a_folder_holds_files_and_weights(kind: str, infer_checkpoint: Path, tmp_path: Path):
    assert invoke(["export", kind, str(tmp_path / "app"), "--checkpoint", str(infer_checkpoint), "--quiet"]) == 0
    assert {path.name for path in (tmp_path / "app").iterdir()} == FILES[kind]
    for path in (tmp_path / "app").glob("*.py"):
        ast.parse(path.read_text())
    for path in (tmp_path / "app").glob("*.sh"):
        assert os.access(path, os.X_OK)
        bash = shutil.which("bash") or "bash"
        assert subprocess.run([bash, "-n", path], check=False).returncode == 0
    assert "@" not in "".join(path.read_text() for path in (tmp_path / "app").glob("*.yaml"))
    (weights,) = (tmp_path / "app").rglob("exported.zip")
    assert len(weights_sha256(weights)) == 64


def test_the_description_of_the_package_is_of_this_version(infer_checkpoint: Path, tmp_path: Path):
    export_deploy_app(ExportAppOptions(tmp_path / "app", infer_checkpoint))
    described = yaml.safe_load((tmp_path / "app" / "app.yaml").read_text())
    assert str(described["application"]["version"]) == __version__
    assert {"cpu", "gpu", "memory", "gpuMemory"} == set(described["resources"])
    assert f"mose-med[dicom,report]=={__version__}" in (tmp_path / "app" / "requirements.txt").read_text()


def test_a_folder_with_other_files_is_not_touched(infer_checkpoint: Path, tmp_path: Path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty: name another folder or add --overwrite"):
        export_deploy_app(ExportAppOptions(tmp_path / "app", infer_checkpoint))
    export_deploy_app(ExportAppOptions(tmp_path / "app", infer_checkpoint, overwrite=True))
    assert (tmp_path / "app" / "mine").read_text() == "mine"


def test_a_bundle_is_named_only_for_a_checkpoint(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"--bundle applies only to a checkpoint, lung\.zip is a bundle already"):
        export_label_app(ExportAppOptions(tmp_path / "app", Path("lung.zip"), bundle="lidc"))
    assert not (tmp_path / "app").exists()


def test_files_of_others_are_not_overwritten(infer_checkpoint: Path, tmp_path: Path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"app holds README\.md and is not such an application: name another folder"):
        export_label_app(ExportAppOptions(tmp_path / "app", infer_checkpoint, overwrite=True))
    assert [path.name for path in (tmp_path / "app").iterdir()] == ["README.md"]
