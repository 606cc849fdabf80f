from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from data_prep.datalist import NoduleRow, write_datalist, write_manifest, write_run
from mose_med.data.datalist import load_datalist
from mose_med.io.nodules.reading import read_nodules

AFFINE = np.array([[-0.7, 0, 0, 10], [0, -0.6, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1]], dtype=float)
ROW = NoduleRow("P_nodule-1", "P", "1.2", "training", 4, 2, 1.5, -2.5, 3.0)


def write_pair(folder: Path) -> dict[str, str]:
    image = np.arange(24, dtype=np.int16).reshape(4, 3, 2) - 12
    masks = np.zeros((4, 3, 2, 4), dtype=np.uint8)
    masks[1, 2, 1, 3] = 1
    return write_run(folder, "P_nodule-1", image, masks, AFFINE)


def write_all(folder: Path) -> Path:
    fields = {"slice": 1, "z_mm": -27.5, "rater_weights": [0.25] * 4, "raters_present": 1}
    entry = {**write_pair(folder), **fields, "nodule_id": "P_nodule-1", "patient_id": "P", "series_uid": "1.2"}
    return write_datalist(
        folder,
        name="n",
        source="s",
        classes=("background", "nodule"),
        num_raters=4,
        parts={"training": [entry]},
        nodules=[ROW],
    )


def test_volumes_keep_type_values_and_place(tmp_path: Path):
    paths = write_pair(tmp_path)
    image, label = (nib.load(tmp_path / paths[key]) for key in ("image", "label"))
    assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
    assert np.asarray(image.dataobj)[3, 2, 1] == 11
    assert label.dataobj[1, 2, 1, 3] == 1
    for volume in (image, label):
        np.testing.assert_allclose(volume.affine, AFFINE)
        np.testing.assert_allclose(volume.get_qform(), AFFINE, atol=1e-5)
        assert (volume.header["sform_code"], volume.header["qform_code"]) == (1, 1)


def test_what_is_written_can_be_loaded(tmp_path: Path):
    datalist = load_datalist(write_all(tmp_path))
    (entry,) = datalist.part("training")
    assert (entry.slice_index, entry.z_mm, entry.image.is_file()) == (1, -27.5, True)
    assert datalist.parts["test"] == ()


def test_nodule_list_is_what_inference_reads(tmp_path: Path):
    write_all(tmp_path)
    (nodule,) = read_nodules(tmp_path / "nodules.csv")
    assert nodule == ("P_nodule-1", (1.5, -2.5, 3.0))


def test_manifest_hashes_every_file_but_itself(tmp_path: Path):
    write_all(tmp_path)
    for _ in range(2):
        write_manifest(tmp_path, options={"a": 1}, counts={"slices": 1}, packages=["numpy"], citation="c")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    image = tmp_path / "nodules" / "P_nodule-1.nii"
    assert manifest["sha256"]["nodules/P_nodule-1.nii"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert len(manifest["sha256"]) == 4
    assert manifest["versions"]["numpy"] == np.__version__
