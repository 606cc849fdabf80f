"""Data that changed under names that did not: seen on resume, and read only where size or time differ."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import pipelines.common.runs.content as module
from mose_med.data import load_datalist
from mose_med.errors import ConfigError, DataError
from mose_med.files.hashes import file_sha256
from pipelines.common.runs.content import Content, claim_with_content
from pipelines.evaluate.run import EvaluateOptions, evaluate
from pipelines.export.nnunet import ExportNnunetOptions, export_nnunet
from pipelines.train.run import TrainOptions, train


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read for their SHA-256."""
    names: list[str] = []
    monkeypatch.setattr(module, "file_sha256", lambda path: names.append(path.name) or file_sha256(path))
    return names


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "in").mkdir()
    paths = {name: tmp_path / "in" / name for name in "abc"}
    for path in paths.values():
        path.write_text("0")
    return paths


def claim(tmp_path: Path, files: dict[str, Path], **options: bool) -> bool:
    content = Content.of_files(tmp_path / "out", files)
    return claim_with_content(tmp_path / "out", {"seed": 0}, content, **({"overwrite": False} | options))


def test_a_resume_opens_no_file_that_has_its_size_and_time(tmp_path: Path, files, opened: list[str]):
    assert not claim(tmp_path, files)
    assert sorted(opened) == ["a", "b", "c"]
    opened.clear()
    os.utime(files["b"], ns=(1, 1))
    assert claim(tmp_path, files)
    assert claim(tmp_path, files)
    assert opened == ["b"]


def test_other_content_of_the_same_size_is_named(tmp_path: Path, files):
    claim(tmp_path, files)
    files["b"].write_text("1")
    os.utime(files["b"], ns=(1, 1))
    with pytest.raises(
        ConfigError, match=r"out was made from other files: b has changed: name another or add --overwr"
    ):
        claim(tmp_path, files)
    assert not claim(tmp_path, files, overwrite=True)
    assert claim(tmp_path, files)


def test_files_that_came_and_went_are_named(tmp_path: Path, files):
    claim(tmp_path, files)
    with pytest.raises(ConfigError, match="made from other files: c is gone: name"):
        claim(tmp_path, {name: files[name] for name in "ab"})
    files["c"].write_text("2")
    with pytest.raises(ConfigError, match="made from other files: c has changed and 1 more: name"):
        claim(tmp_path, files | {"d": files["a"]})


def test_other_options_are_told_before_other_files(tmp_path: Path, files):
    claim(tmp_path, files)
    content = Content.of_files(tmp_path / "out", {})
    with pytest.raises(ConfigError, match="was made with seed=0, not 1"):
        claim_with_content(tmp_path / "out", {"seed": 1}, content, overwrite=False)


def test_a_note_that_is_lost_costs_a_reading_and_no_refusal(tmp_path: Path, files, opened: list[str]):
    claim(tmp_path, files)
    shutil.rmtree(tmp_path / "out" / "private")
    assert claim(tmp_path, files)
    assert len(opened) == 6
    shutil.rmtree(tmp_path / "out" / "private")
    files["a"].write_text("1")
    with pytest.raises(ConfigError, match="was made with content_sha256="):
        claim(tmp_path, files)


def test_a_file_that_is_gone_is_named(tmp_path: Path, files):
    files["a"].unlink()
    with pytest.raises(DataError, match="in/a does not exist"):
        claim(tmp_path, files)


@pytest.fixture
def datalist(tiny_datalist: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set, with a manifest."""
    root = shutil.copytree(tiny_datalist.parent, tmp_path / "data")
    nodules = {f"nodules/{path.name}": file_sha256(path) for path in (root / "nodules").iterdir()}
    (root / "manifest.json").write_text(json.dumps({"sha256": nodules}))
    return root / "dataset.json"


def change_voxel(path: Path) -> None:
    """Change a value, and nothing that is seen from outside but the time."""
    image = nib.load(path)
    values = np.asarray(image.dataobj).copy()
    values.flat[0] += 1
    size = path.stat().st_size
    nib.save(nib.Nifti1Image(values, image.affine, image.header), path)
    assert path.stat().st_size == size


def test_the_manifest_saves_the_reading_until_a_file_is_newer(datalist: Path, tmp_path: Path, opened: list[str]):
    data = {"": load_datalist(datalist)}
    first = Content.of_datalist(tmp_path / "out", data, ("training",)).sha256
    assert opened == []
    label = data[""].parts["training"][0].label
    change_voxel(label)
    os.utime(label)
    assert Content.of_datalist(tmp_path / "out", data, ("training",)).sha256 != first
    assert opened == [label.name]


def train_of(datalist: Path, tiny_overlay: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(datalist, tmp_path / "run", (str(tiny_overlay),), max_epochs=1, device="cpu", quiet=True)


def test_a_training_sees_voxels_that_changed(datalist: Path, tiny_overlay: Path, tmp_path: Path):
    options = train_of(datalist, tiny_overlay, tmp_path)
    train(options)
    parts = load_datalist(datalist).parts
    change_voxel(parts["test"][0].image)
    assert train(options).epochs == 1
    change_voxel(parts["training"][0].label)
    with pytest.raises(ConfigError, match=r"from other files: nodules/P-1_nodule-1_raters.nii has changed: name"):
        train(options)


def test_an_evaluation_sees_voxels_that_changed(datalist: Path, tiny_checkpoint: Path, tmp_path: Path):
    options = EvaluateOptions(datalist, tiny_checkpoint, tmp_path / "scores", device="cpu", quiet=True)
    first = evaluate(options)
    assert evaluate(options) == first
    change_voxel(load_datalist(datalist).parts["test"][0].image)
    with pytest.raises(ConfigError, match=r"was made from other files: nodules/P-5_nodule-1.nii has changed: name"):
        evaluate(options)
    assert evaluate(replace(options, overwrite=True)).images == first.images


def test_an_export_sees_voxels_that_changed(datalist: Path, tmp_path: Path):
    options = ExportNnunetOptions(datalist, tmp_path / "Dataset001", quiet=True)
    export_nnunet(options)
    export_nnunet(options)
    change_voxel(load_datalist(datalist).parts["test"][0].label)
    with pytest.raises(ConfigError, match=r"from other files: nodules/P-5_nodule-1_raters.nii has changed: name"):
        export_nnunet(options)


def test_files_behind_a_header_are_listed(tmp_path: Path, write_volume: Callable[..., Path]):
    from pipelines.common.data_files import files_of_image

    for name, values in {"a.mhd": "a.raw", "b.nhdr": "b.raw"}.items():
        header = write_volume(tmp_path / name, np.zeros((3, 3, 3), dtype=np.int16))
        assert files_of_image(str(header)) == [str(header), str(tmp_path / values)]
    alone = write_volume(tmp_path / "c.mha", np.zeros((3, 3, 3), dtype=np.int16))
    assert files_of_image(str(alone)) == [str(alone)]
