from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.cityscapes.classes import train_ids
from mose_med.data import CITYSCAPES_FLIPS, FlippedClassDataset, load_datalist
from mose_med.errors import ConfigError
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.prepare.sources.cityscapes import PrepareCityscapesOptions, prepare_cityscapes


@pytest.fixture
def options(cityscapes_root: Path, tmp_path: Path) -> PrepareCityscapesOptions:
    return PrepareCityscapesOptions(cityscapes_root, tmp_path / "out", size=(8, 16), quiet=True)


def test_datalist_is_what_the_dataset_reads(options: PrepareCityscapesOptions, cityscapes_root: Path):
    result = prepare_cityscapes(options)
    datalist = load_datalist(result.datalist)
    assert (len(datalist.classes), datalist.num_raters) == (25, 32)
    assert result.counts["pictures_by_part"] == {"training": 2, "validation": 1, "test": 1}
    assert (datalist.num_masks, datalist.flips) == (1, CITYSCAPES_FLIPS)
    item = FlippedClassDataset(datalist.part("validation"), datalist.flips)[0]
    path = cityscapes_root / "gtFine" / "train" / "ulm" / "ulm_000000_000019_gtFine_labelIds.png"
    np.testing.assert_array_equal(item["label"][0], train_ids(np.asarray(Image.open(path)))[::4, ::4])
    assert item["image"].shape == (3, 8, 16)
    assert item["label"].unique().max() >= 20


def test_modes_are_not_stored(options: PrepareCityscapesOptions):
    prepare_cityscapes(options)
    sizes = [path.stat().st_size for path in (options.output_dir / "frames").glob("*_label.nii")]
    assert sizes == [352 + 8 * 16] * 4


def test_default_size_is_the_papers(cityscapes_root: Path, tmp_path: Path):
    arguments = ["prepare", "cityscapes", "--root", str(cityscapes_root), "--output-dir", str(tmp_path / "out")]
    for _ in range(2):
        assert invoke([*arguments, "--quiet"]) == ExitCode.DONE
    item = FlippedClassDataset(load_datalist(tmp_path / "out" / "dataset.json").part("test"))[0]
    assert item["label"].shape == (32, 256, 512)


def test_predictions_become_a_channel(options: PrepareCityscapesOptions, cityscapes_root: Path, tmp_path: Path):
    predictions = tmp_path / "predictions"
    shutil.copytree(cityscapes_root / "gtFine", predictions)
    arguments = ["prepare", "cityscapes", "--root", str(cityscapes_root), "--output-dir", str(tmp_path / "out")]
    arguments += ["--prediction-channel", str(predictions), "--quiet"]
    assert invoke(arguments) == ExitCode.DONE
    item = FlippedClassDataset(load_datalist(tmp_path / "out" / "dataset.json").part("training"))[0]
    np.testing.assert_array_equal(item["image"][3], item["label"][0])
    shutil.rmtree(tmp_path / "out")
    next(predictions.rglob("aachen*.png")).unlink()
    assert invoke(arguments) == ExitCode.BAD_INPUT
    assert not (tmp_path / "out").exists()


def test_keep_going_records_the_broken_ones(options: PrepareCityscapesOptions, cityscapes_root: Path, capsys):
    next(cityscapes_root.rglob("aachen_000001*labelIds.png")).unlink()
    arguments = ["prepare", "cityscapes", "--root", str(cityscapes_root), "--output-dir", str(options.output_dir)]
    assert invoke([*arguments, "--quiet"]) == ExitCode.BAD_INPUT
    assert "aachen_000001_000019_gtFine_labelIds.png does not exist" in capsys.readouterr().err.replace("\n", "")
    assert not options.output_dir.exists()
    assert invoke([*arguments, "--keep-going", "--quiet"]) == ExitCode.SOME_CASES_FAILED
    assert "aachen_000001_000019" in (options.output_dir / "failed.csv").read_text()
    manifest = json.loads((options.output_dir / "manifest.json").read_text())
    assert manifest["counts"]["left_out"] == {"cases_failed": 1}


def test_card_and_montage_are_written(options: PrepareCityscapesOptions, cityscapes_root: Path):
    prepare_cityscapes(options)
    card = json.loads((options.output_dir / "card.json").read_text())
    assert card["parts"]["training"] == {"patients": 1, "series": 1, "objects": 2, "slices": 2}
    assert card["flips"]["sidewalk"] == pytest.approx(8 / 17, abs=1e-4)
    assert card["agreement"]["two_random_modes"]["slices"] == 4
    text = (options.output_dir / "card.md").read_text()
    assert "Cordts et al. 2016" in text
    assert str(cityscapes_root) not in text
    colours = np.asarray(Image.open(options.output_dir / "montage.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 200


def test_missing_validation_cities_are_told(options: PrepareCityscapesOptions, cityscapes_root: Path):
    shutil.rmtree(cityscapes_root / "leftImg8bit" / "train" / "ulm")
    with pytest.raises(ConfigError, match="validation part has no picture"):
        prepare_cityscapes(options)
    assert not options.output_dir.exists()


def test_doctor_finds_nothing_wrong(options: PrepareCityscapesOptions):
    prepare_cityscapes(options)
    assert invoke(["doctor", "--data", str(options.output_dir)]) == ExitCode.DONE


def test_a_label_that_was_corrected_in_place_is_seen(options: PrepareCityscapesOptions, cityscapes_root: Path):
    prepare_cityscapes(options)
    label = sorted(cityscapes_root.rglob("*_labelIds.png"))[0]
    label.write_bytes(label.read_bytes() + b"0")
    with pytest.raises(ConfigError, match=r"was made from other files: gtFine/.*_labelIds\.png has changed: name"):
        prepare_cityscapes(options)
