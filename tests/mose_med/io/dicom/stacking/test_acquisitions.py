"""Series that hold the same places more than once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mose_med.errors import ConfigError, GeometryError
from mose_med.io import list_series, read_ct
from mose_med.io.dicom.source import read_source_series

Write = Callable[..., Path]


@pytest.fixture
def write_two(tmp_path: Path, write_ct_series, edit_dicom) -> Write:
    """Function that writes a series of two acquisitions, of -500 and of 500 HU; tags are given slice by slice."""

    def write(**tags: Callable[[int, int], object]) -> Path:
        for number, hu in ((1, -500), (2, 500)):
            stored = np.full((5, 4, 4), hu)
            paths = write_ct_series(tmp_path / "study" / f"{number}", stored, SeriesInstanceUID="1.2.3")
            for k, path in enumerate(paths):
                edit_dicom(path, **{keyword: value(number, k) for keyword, value in tags.items()})
        return tmp_path / "study"

    return write


WAYS = {
    "number": {"AcquisitionNumber": lambda number, k: number},
    "time": {"AcquisitionDate": lambda number, k: "20240101", "AcquisitionTime": lambda number, k: f"10{number}1{k}0"},
    "date and time": {"AcquisitionDateTime": lambda number, k: f"2024010110{number}000"},
    "order": {"InstanceNumber": lambda number, k: 100 * number + k, "AcquisitionNumber": lambda number, k: 4},
}


@pytest.mark.parametrize("tags", WAYS.values(), ids=WAYS)
def test_two_acquisitions_are_named_and_can_be_chosen(write_two: Write, tags):
    study = write_two(**tags)
    named = r"lie at the same position: the series holds the acquisitions 1 with 5 slices, 2 with 5 slices: choose one"
    with pytest.raises(GeometryError, match=f"{named} with --acquisition N"):
        read_ct(study)
    assert [float(read_ct(study, acquisition=n).max()) for n in (1, 2)] == [-500, 500]
    assert len(read_source_series(study, acquisition=2).slices) == 5
    assert "choose one with --acquisition N" in list_series(study)[0].fault


def test_an_acquisition_that_is_not_there_is_refused(write_two: Write):
    study = write_two(AcquisitionNumber=lambda number, k: number + 3)
    with pytest.raises(ConfigError, match="no acquisition 1: pass --acquisition with one of 4, 5"):
        read_ct(study, acquisition=1)


def test_slices_that_nothing_parts_offer_no_choice(write_two: Write):
    study = write_two(AcquisitionNumber=lambda number, k: 1)
    with pytest.raises(GeometryError, match="lie at the same position: keep one of each"):
        read_ct(study)


def test_acquisitions_of_different_places_are_one_volume(tmp_path: Path, write_ct_series, edit_dicom):
    for k, path in enumerate(write_ct_series(tmp_path, np.zeros((6, 4, 4)))):
        edit_dicom(path, AcquisitionNumber=k // 2)
    assert read_ct(tmp_path).shape[-1] == 6


def test_an_acquisition_goes_with_dicom(tmp_path: Path):
    with pytest.raises(ConfigError, match="acquisition applies only to DICOM input, got 2 for a volume in one file"):
        read_ct(tmp_path / "ct.nii.gz", acquisition=2)
