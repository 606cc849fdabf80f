from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from mose_med.errors import DataError, GeometryError
from mose_med.io import read_ct


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, size=(4, 7, 6))


def zipped(archive_path: Path, contents: dict[str, Path]) -> Path:
    archive_path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in contents.items():
            archive.write(path, name)
    return archive_path


@pytest.fixture
def study_zip(tmp_path: Path, write_ct_series, stored) -> Path:
    paths = write_ct_series(tmp_path / "study", stored)
    return zipped(tmp_path / "zips" / "study.zip", {f"CT  1/{path.name}": path for path in paths})


def test_a_zip_within_a_zip_is_read(tmp_path: Path, study_zip: Path, stored):
    outer = zipped(tmp_path / "outer.zip", {"export/Study.ZIP": study_zip})
    np.testing.assert_array_equal(read_ct(outer).numpy()[0], stored.transpose(2, 1, 0))


def test_a_zip_within_a_folder_is_read(study_zip: Path, stored):
    np.testing.assert_array_equal(read_ct(study_zip.parent).numpy()[0], stored.transpose(2, 1, 0))


def test_slices_of_one_series_may_lie_in_several_folders_and_archives(tmp_path: Path, write_ct_series, stored):
    paths = write_ct_series(tmp_path / "all", stored)
    zipped(tmp_path / "in" / "b.zip", {path.name: path for path in paths[:2]})
    for path in paths[2:]:
        (tmp_path / "in" / path.name).mkdir()
        path.rename(tmp_path / "in" / path.name / "slice")
    assert read_ct(tmp_path / "in").shape == (1, 6, 7, 4)


def test_a_series_folder_that_is_a_link_is_read(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path / "store" / "series", stored)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "series").symlink_to(tmp_path / "store" / "series")
    (tmp_path / "alias").symlink_to(tmp_path / "study")
    assert read_ct(tmp_path / "study").shape == read_ct(tmp_path / "alias").shape == (1, 6, 7, 4)


def test_slices_behind_several_links_are_read_once(tmp_path: Path, write_ct_series, stored, caplog):
    paths = write_ct_series(tmp_path / "store" / "series", stored)
    (tmp_path / "study").mkdir()
    for name, target in (("a", tmp_path / "store"), ("b", tmp_path / "store" / "series"), ("up", tmp_path)):
        (tmp_path / "study" / name).symlink_to(target)
    for path in paths:
        (tmp_path / "study" / path.name).symlink_to(path)
    assert read_ct(tmp_path / "study").shape == (1, 6, 7, 4)
    assert not caplog.records


def test_a_broken_link_among_slices_is_refused_by_name(tmp_path: Path, write_ct_series, stored):
    (path, *_) = write_ct_series(tmp_path / "study", stored)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="image 004 is a broken link: restore its target, or remove it"):
        read_ct(tmp_path / "study")
    with pytest.raises(DataError, match="image 004 is a broken link"):
        read_ct(path)


def test_files_of_an_archive_bear_its_name(tmp_path: Path, study_zip: Path):
    with zipfile.ZipFile(study_zip, "a") as archive:
        archive.writestr("CT  1/broken", b"\0" * 128 + b"DICM" + b"\1" * 10)
    outer = zipped(tmp_path / "outer.zip", {"study.zip": study_zip})
    with pytest.raises(DataError, match=r"study.zip/CT  1/broken"):
        read_ct(outer)


def test_notes_of_macos_are_passed_over(tmp_path: Path, study_zip: Path):
    (study_zip.parent / "._study.zip").write_bytes(b"no archive")
    assert read_ct(study_zip.parent).shape == (1, 6, 7, 4)


def test_a_damaged_archive_within_is_refused(tmp_path: Path):
    (tmp_path / "part.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"part.zip cannot be unpacked: File is not a zip file"):
        read_ct(tmp_path)


def test_pixels_that_were_changed_within_an_archive_are_refused(tmp_path: Path, write_ct_series):
    paths = write_ct_series(tmp_path / "study", np.zeros((3, 200, 200)))
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    content = bytearray((tmp_path / "study.zip").read_bytes())
    content[50_000] ^= 255
    (tmp_path / "study.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"image 003 cannot be unpacked: Bad CRC-32"):
        read_ct(tmp_path / "study.zip")


def test_one_slice_is_no_input(tmp_path: Path, write_ct_series, stored):
    (path, *_) = write_ct_series(tmp_path, stored)
    with pytest.raises(GeometryError, match=r"must have at least 3 slices, got 1 \(image 004\)"):
        read_ct(path)
