from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.lidc.annotations import read_scans
from data_prep.lidc.collection import CropOptions, NoduleCrop, PatientFaults, crop_patient

PATIENT = "LIDC-IDRI-0250"


def crops(root: Path, met: PatientFaults, seed: int = 0, negatives: int = 2) -> list[NoduleCrop]:
    options = CropOptions(roi_size=(64, 64), negatives=negatives, seed=seed)
    found = crop_patient([root / PATIENT], read_scans([PATIENT]), options, met)
    return [crop for crop in found if not crop.nodule.annotations]


def test_negatives_lie_away_from_every_outline(phantom_lidc_root: Path):
    (scan,) = read_scans([PATIENT])
    outlined = np.array([c.z_mm for annotation in scan.annotations for c in annotation.contours])
    met = PatientFaults()
    found = crops(phantom_lidc_root, met)
    assert [crop.nodule.nodule_id for crop in found] == [f"{PATIENT}_negative-1", f"{PATIENT}_negative-2"]
    for crop in found:
        (run,) = crop.runs
        assert np.abs(outlined - run.z_mm[0]).min() >= scan.slice_spacing_mm - 1e-6
        assert not run.masks.any()
        assert run.raters_present == (0,)
        assert run.image_hu.shape == (64, 64, 1)
    assert met.left_out["negatives_not_found"] == 0


def test_windows_are_centred_on_lung(phantom_lidc_root: Path):
    for crop in crops(phantom_lidc_root, PatientFaults()):
        assert crop.runs[0].image_hu[32, 32, 0] < -500


def test_seed_decides_which(phantom_lidc_root: Path):
    def images(seed: int) -> list[np.ndarray]:
        return [crop.runs[0].image_hu for crop in crops(phantom_lidc_root, PatientFaults(), seed)]

    np.testing.assert_array_equal(images(1), images(1))
    assert not np.array_equal(images(1), images(2))


def test_too_few_are_counted_and_named(phantom_lidc_root: Path):
    met = PatientFaults()
    found = crops(phantom_lidc_root, met, negatives=1000)
    assert met.left_out["negatives_not_found"] == 1000 - len(found)
    assert met.faults[-1].fault == "negatives_not_found"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"roi_size": (0, 0)}, r"roi_size must be >= 1, got \(0, 0\)"),
        ({"min_raters": 5}, "min_raters must be between 1 and 4, got 5"),
        ({"slices": "some"}, "slices must be all or max-area, got 'some'"),
        ({"negatives": -1}, "negatives must be >= 0, got -1"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_options_are_checked(option: dict, message: str):
    with pytest.raises(ValueError, match=message):
        CropOptions(**option)
