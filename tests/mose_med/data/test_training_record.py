from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mose_med.data import DatalistEntry, learnt_from, load_datalist, patients_trained_on


@pytest.fixture
def entries(tiny_datalist: Path) -> tuple[DatalistEntry, ...]:
    return load_datalist(tiny_datalist).part("training")


def test_patients_of_the_training_are_met(entries: tuple[DatalistEntry, ...]):
    assert patients_trained_on([learnt_from(entries)], entries) == {"P-1", "P-2"}
    assert patients_trained_on([learnt_from(entries[:3])], entries) == {"P-1"}


def test_a_series_is_met_under_another_patient_s_name(entries: tuple[DatalistEntry, ...]):
    renamed = [replace(entry, patient_id="other") for entry in entries]
    assert patients_trained_on([learnt_from(entries)], renamed) == {"other"}


def test_unnamed_series_are_not_the_same_one(entries: tuple[DatalistEntry, ...]):
    unnamed = [replace(entry, series_uid="") for entry in entries]
    others = [replace(entry, patient_id=f"{entry.patient_id} of another site") for entry in unnamed]
    assert patients_trained_on([learnt_from(unnamed)], others) == set()


def test_a_patient_s_name_is_not_taken_for_a_series(entries: tuple[DatalistEntry, ...]):
    swapped = [replace(entry, patient_id=entry.series_uid, series_uid=entry.patient_id) for entry in entries]
    assert patients_trained_on([learnt_from(entries)], swapped) == set()


def test_any_of_several_trainings_counts(entries: tuple[DatalistEntry, ...]):
    records = [learnt_from(entries[:3]), learnt_from(entries[3:])]
    assert patients_trained_on(records, entries) == {"P-1", "P-2"}


def test_hashes_name_nobody_and_differ_from_training_to_training(entries: tuple[DatalistEntry, ...]):
    whole, part = learnt_from(entries), learnt_from(entries[:3])
    assert not any(name in json.dumps(whole) for name in ("P-1", "P-2", "1.2."))
    assert not set(whole["patients"]) & set(part["patients"])
    assert learnt_from(entries[::-1]) == whole
