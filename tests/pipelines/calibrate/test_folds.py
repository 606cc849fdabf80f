from __future__ import annotations

import pytest

from mose_med.errors import ConfigError
from pipelines.calibrate.folds import patient_folds

PATIENTS = [f"P-{index % 11}" for index in range(40)]


def test_a_patient_is_in_one_fold():
    folds = patient_folds(PATIENTS, 5).tolist()
    assert len(set(zip(PATIENTS, folds, strict=True))) == 11


def test_folds_hold_equally_many_patients():
    fold_of = dict(zip(PATIENTS, patient_folds(PATIENTS, 5).tolist(), strict=True))
    sizes = [list(fold_of.values()).count(fold) for fold in range(5)]
    assert sorted(sizes) == [2, 2, 2, 2, 3]


def test_the_order_of_the_images_does_not_matter():
    assert patient_folds(PATIENTS[::-1], 5).tolist() == patient_folds(PATIENTS, 5).tolist()[::-1]


@pytest.mark.parametrize("folds", [1, 12])
def test_more_folds_than_patients_and_a_single_one_are_refused(folds: int):
    with pytest.raises(ConfigError, match=f"folds must be from 2 to the 11 patients of the part, got {folds}"):
        patient_folds(PATIENTS, folds)
