from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mose_med.errors import GeometryError
from mose_med.io import read_ct


@pytest.fixture
def series(tmp_path: Path, write_ct_series: Callable[..., list[Path]]) -> list[Path]:
    """Files of a series of ten slices, from the lowest to the highest, in whose names nothing is alike."""
    paths = write_ct_series(tmp_path / "study", np.zeros((10, 8, 8), np.int16))
    return [path.rename(path.with_name(f"image {'abcdefghij'[9 - n]}")) for n, path in enumerate(paths)]


@pytest.mark.parametrize("slice_spacing", ["refuse", "resample"])
@pytest.mark.parametrize("content", [b"no image", b"", b"\0" * 500], ids=["text", "empty", "zeros"])
def test_a_slice_that_cannot_be_read_is_named_and_not_interpolated_over(series, content: bytes, slice_spacing: str):
    series[4].write_bytes(content)
    message = (
        "slices are missing between image g and image e, and image f beside them cannot be read as DICOM: "
        "restore the files that are slices and remove the others$"
    )
    with pytest.raises(GeometryError, match=message):
        read_ct(series[0].parent, slice_spacing=slice_spacing)


def test_several_are_counted(series: list[Path]):
    for path in series[4:6]:
        path.write_bytes(b"no image")
    with pytest.raises(GeometryError, match="image e and 1 more beside them cannot be read"):
        read_ct(series[0].parent, slice_spacing="resample")


def test_a_slice_that_is_not_there_can_be_interpolated_beside_other_files(series: list[Path]):
    series[4].unlink()
    (series[0].parent / "nodules.csv").write_text("x")
    (series[0].parent / "notes").mkdir()
    (series[0].parent / "notes" / "image").write_text("x")
    assert read_ct(series[0].parent, slice_spacing="resample").shape[3] == 10


def test_files_beside_a_whole_series_are_passed_over(series: list[Path]):
    (series[0].parent / "README").write_text("x")
    assert read_ct(series[0].parent).shape[3] == 10
