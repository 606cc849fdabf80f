"""A folder in, a folder out, as mercure, MHub and MONAI application packages have it."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import yaml
from monai.data import MetaTensor

from mose_med.errors import ConfigError, DataError
from pipelines.deploy import folders as deploy_folders
from pipelines.deploy.__main__ import folders, main
from pipelines.deploy.folders import FolderOptions, process_folder
from pipelines.infer.run import InferResult

ALL = ["lesions.json", "probability_seg.dcm", "report.html", "report_sr.dcm", "seg.dcm"]


@pytest.fixture
def series(write_ct_series: Callable[..., list[Path]], chest: MetaTensor, tmp_path: Path) -> Path:
    """A chest with lungs."""
    voxels = chest[0].numpy().astype(np.int16).transpose(2, 1, 0)
    write_ct_series(tmp_path / "input", voxels, step_mm=5.0, PixelSpacing=[4.0, 4.0])
    return tmp_path / "input"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_objects_and_the_report_are_written_and_nothing_else(series: Path, bright_checkpoint, tmp_path: Path):
    written = process_folder(FolderOptions(series, tmp_path / "output", bright_checkpoint, device="cpu"))
    assert names(tmp_path / "output") == sorted(path.name for path in written) == ALL
    kinds = {name: pydicom.dcmread(tmp_path / "output" / name).Modality for name in ALL if name.endswith(".dcm")}
    assert kinds == {"seg.dcm": "SEG", "probability_seg.dcm": "SEG", "report_sr.dcm": "SR"}


def test_the_same_input_gives_the_same_objects(series: Path, bright_checkpoint, tmp_path: Path):
    hashes = []
    for run in ("1", "2"):
        process_folder(FolderOptions(series, tmp_path / run, bright_checkpoint, report=False, device="cpu", threads=1))
        hashes.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / run).iterdir())])
    assert hashes[0] == hashes[1]


def test_a_series_that_cannot_be_used_leaves_nothing(series: Path, bright_checkpoint, tmp_path: Path):
    for path in series.iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError):
        process_folder(FolderOptions(series, tmp_path / "output", bright_checkpoint, device="cpu"))
    assert not (tmp_path / "output").exists()


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], None]:
    """Function that processes a study whose case has these files, each with the name of the study."""

    def run(study: str, made: list[str]) -> None:
        case = tmp_path / study
        case.mkdir()
        for name in made:
            (case / name).write_text(study)
        monkeypatch.setattr(deploy_folders, "infer", lambda options: InferResult("case", case, resumed=False))
        process_folder(FolderOptions(tmp_path, tmp_path / "output"))

    return run


def test_a_study_without_objects_leaves_none_of_the_study_before_it(process, tmp_path: Path):
    process("a", ALL)
    (tmp_path / "output" / "task.json").write_text("of the platform")
    process("b", ["lesions.json", "report.html"])
    found = {path.name: path.read_text() for path in (tmp_path / "output").iterdir()}
    assert found == {"lesions.json": "b", "report.html": "b", "task.json": "of the platform"}


def test_a_disk_that_fills_up_leaves_what_was_there(process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    process("a", ALL)

    def copy(source: Path, target: Path) -> None:
        target.write_text("cut")
        if "report_sr.dcm" in target.name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", copy)
    with pytest.raises(OSError, match="No space left"):
        process("b", ALL)
    assert {path.name: path.read_text() for path in (tmp_path / "output").iterdir()} == dict.fromkeys(ALL, "a")


def test_what_a_killed_run_left_half_copied_goes(process, tmp_path: Path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / ".seg.dcm.0a1b2c3d.tmp").write_text("cut")
    process("a", ["lesions.json"])
    assert names(tmp_path / "output") == ["lesions.json"]


def test_the_contract_of_mercure(series: Path, bright_checkpoint: Path, tmp_path: Path):
    (series / "task.json").write_text("{}")
    environment = {"MERCURE_IN_DIR": str(series), "MERCURE_OUT_DIR": str(tmp_path / "out")}
    assert main([], {**environment, "MOSE_MED_CHECKPOINT": str(bright_checkpoint)}) == 0
    assert names(tmp_path / "out") == ALL


def test_what_is_missing_is_one_line(tmp_path: Path, capfd):
    assert main([str(tmp_path / "none"), str(tmp_path / "out")], {}) == 2
    assert capfd.readouterr().err.strip().endswith("none does not exist")
    with pytest.raises(ConfigError, match="give INPUT and OUTPUT, or neither, got 1 arguments"):
        folders(["in"], {})


def test_the_compose_file_calls_what_there_is():
    docker = Path(__file__).resolve().parents[3] / "docker"
    service = yaml.safe_load((docker / "pipeline.yaml").read_text())["services"]["pipeline"]
    assert importlib.util.find_spec(service["entrypoint"][-1]) is not None
    assert folders(service["command"], {}) == (Path("/input"), Path("/output"))
    assert (docker.parent / service["build"]["dockerfile"]).is_file()
    assert [volume.rpartition("}:")[2] for volume in service["volumes"]] == ["/input:ro", "/output"]
