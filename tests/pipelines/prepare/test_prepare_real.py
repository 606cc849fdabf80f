from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipelines.prepare.folder import PreparedDatalist
from pipelines.prepare.sources.lidc import PrepareLidcOptions, prepare_lidc

pytestmark = pytest.mark.real

SPLIT_CSV = Path(__file__).resolve().parents[2] / "real" / "lidc_split.csv"


@pytest.fixture(scope="module")
def prepared(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDatalist:
    root = tmp_path_factory.mktemp("lidc")
    with zipfile.ZipFile(shared_data / "lidc_dicom.zip") as archive:
        archive.extractall(root)
    (first,) = {path.parent for path in root.rglob("LIDC-IDRI-0001")}
    return prepare_lidc(PrepareLidcOptions(first, root / "out", split_csv=SPLIT_CSV, quiet=True))


def test_five_nodules_and_48_slices_with_their_raters(prepared: PreparedDatalist):
    with (prepared.datalist.parent / "nodules.csv").open(newline="") as file:
        found = [(row["patient_id"][-4:], int(row["raters"]), int(row["slices"])) for row in csv.DictReader(file)]
    assert found == [("0001", 4, 8), ("0002", 2, 28), ("0003", 4, 3), ("0003", 4, 5), ("0010", 4, 4)]
    assert prepared.counts["slices"] == 48
    assert prepared.counts["slices_padded"] == 0


def test_voxels_and_masks_equal_the_published_slices(prepared: PreparedDatalist, shared_data: Path):
    with np.load(shared_data / "lidc_maxslice.npz") as published:
        content = json.loads(prepared.datalist.read_text())
        compared = 0
        for entry in (entry for part in ("training", "validation", "test") for entry in content[part]):
            same_slice = np.abs(published["z_mm"] - entry["z_mm"]) < 0.01
            for index in np.flatnonzero((published["series_uid"] == entry["series_uid"]) & same_slice):
                compared += _equals_published(prepared.datalist.parent, entry, published, index)
    assert compared == 2


def _equals_published(folder: Path, entry: dict[str, object], published, index: int) -> bool:
    """Whether the published 71x71 patch is found in the crop with the same voxels and masks; (row, col) is (j, i)."""
    image = nib.load(folder / str(entry["image"])).dataobj[:, :, entry["slice"]].T
    masks = np.asarray(nib.load(folder / str(entry["label"])).dataobj[:, :, entry["slice"]]).transpose(2, 1, 0)
    patches = np.lib.stride_tricks.sliding_window_view(image, (71, 71))
    expected = published["image_hu"][index].clip(-1350, 150)
    places = np.argwhere((patches[:, :, ::10, ::10] == expected[::10, ::10]).all(axis=(2, 3)))
    return any(
        (patches[row, col] == expected).all()
        and (masks[:, row : row + 71, col : col + 71] == published["mask"][index]).all()
        for row, col in places
    )
