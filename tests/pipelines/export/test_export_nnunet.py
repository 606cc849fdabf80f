from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.errors import ConfigError, DataError
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.export.nnunet import ExportNnunetOptions, export_nnunet
from pipelines.prepare.sources.rater_masks import PrepareRaterMasksOptions, prepare_rater_masks


@pytest.fixture
def options(rater_masks_root: Path, tmp_path: Path) -> ExportNnunetOptions:
    """Export of six cases of two slices; case-5 is the test part."""
    split = tmp_path / "split.csv"
    parts = ["training"] * 3 + ["validation"] * 2 + ["test"]
    split.write_text("patient_id,part\n" + "".join(f"case-{n},{part}\n" for n, part in enumerate(parts)))
    prepared = prepare_rater_masks(
        PrepareRaterMasksOptions(
            rater_masks_root, tmp_path / "data", roi_size=(16, 16), keep_ids=True, split_csv=split, quiet=True
        )
    )
    return ExportNnunetOptions(prepared.datalist, tmp_path / "Dataset501_Test", quiet=True)


def test_layout_is_nnunets(options: ExportNnunetOptions):
    folder = export_nnunet(options)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.nii.gz")}
    train, test = [f"case-{n}_lesion-1" for n in range(5)], "case-5_lesion-1"
    expected = {f"imagesTr/{name}_0000.nii.gz" for name in train} | {f"labelsTr/{name}.nii.gz" for name in train}
    assert files == expected | {f"imagesTs/{test}_0000.nii.gz", f"labelsTs/{test}.nii.gz"}
    content = json.loads((folder / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "CT"}
    assert content["labels"] == {"background": 0, "lesion": 1}
    assert (content["numTraining"], content["file_ending"]) == (5, ".nii.gz")
    assert json.loads((folder / "splits_final.json").read_text()) == [{"train": train[:3], "val": train[3:]}]


def test_images_and_labels_share_the_place_of_the_datalist(options: ExportNnunetOptions):
    folder = export_nnunet(options)
    source = nib.load(options.datalist.parent / "nodules" / "case-0_lesion-1.nii")
    image = nib.load(folder / "imagesTr" / "case-0_lesion-1_0000.nii.gz")
    label = nib.load(folder / "labelsTr" / "case-0_lesion-1.nii.gz")
    np.testing.assert_array_equal(image.dataobj, source.dataobj)
    np.testing.assert_allclose([image.affine, label.affine], [source.affine] * 2, atol=1e-5)
    assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)


def test_majority_leaves_missing_raters_out(options: ExportNnunetOptions):
    labels = export_nnunet(options) / "labelsTr"
    both = np.asarray(nib.load(labels / "case-0_lesion-1.nii.gz").dataobj)
    assert both.sum(axis=(0, 1)).tolist() == [12, 0]
    one = np.asarray(nib.load(labels / "case-3_lesion-1.nii.gz").dataobj)
    assert one.sum(axis=(0, 1)).tolist() == [16, 16]


def test_staple_is_run_through_the_command(options: ExportNnunetOptions):
    arguments = ["export", "nnunet", "--datalist", str(options.datalist), "--output-dir", str(options.output_dir)]
    assert invoke([*arguments, "--consensus", "staple", "--quiet"]) == ExitCode.DONE
    label = np.asarray(nib.load(options.output_dir / "labelsTr" / "case-0_lesion-1.nii.gz").dataobj)
    assert label.any()
    assert invoke([*arguments, "--quiet"]) == ExitCode.BAD_INPUT


def test_run_again_is_done_at_once(options: ExportNnunetOptions, caplog):
    export_nnunet(options)
    with caplog.at_level("INFO"):
        export_nnunet(options)
    assert "is already exported" in caplog.text


def test_missing_image_leaves_nothing(options: ExportNnunetOptions):
    (options.datalist.parent / "nodules" / "case-4_lesion-1.nii").unlink()
    with pytest.raises(DataError, match=r"case-4_lesion-1.nii does not exist"):
        export_nnunet(options)
    assert not options.output_dir.exists()


def test_unknown_consensus_is_refused(options: ExportNnunetOptions):
    with pytest.raises(ConfigError, match="consensus must be majority or staple, got 'mean'"):
        replace(options, consensus="mean")
