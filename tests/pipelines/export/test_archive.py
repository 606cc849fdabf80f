from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.errors import DataError
from mose_med.weights.bundles import SUMS_NAME, verify_folder, verify_zip
from pipelines.export.archive import write_archive

FILES = {"models/model.pt": b"weights", "docs/README.md": b"# Card"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_archive(tmp_path / "out" / "bundle.zip", "bundle", FILES)
    return tmp_path / "out" / "bundle.zip"


def unpacked(archive: Path) -> Path:
    shutil.unpack_archive(archive, archive.parent)
    return archive.parent / "bundle"


def test_the_same_files_give_the_same_bytes_in_any_order(archive: Path, tmp_path: Path):
    write_archive(tmp_path / "again.zip", "bundle", dict(reversed(FILES.items())))
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_sha256sum_finds_every_file_whole(archive: Path, system_tool: Callable[[str], str]):
    command = [system_tool("sha256sum"), "--check", "--strict", SUMS_NAME]
    result = subprocess.run(command, cwd=unpacked(archive), capture_output=True, text=True, check=True)
    assert result.stdout == "docs/README.md: OK\nmodels/model.pt: OK\n"


def test_nothing_but_the_archive_is_left_behind(archive: Path):
    (archive.parent / ".bundle.zip.17.tmp").write_bytes(b"of a process that was killed")
    write_archive(archive, "bundle", FILES)
    assert [path.name for path in archive.parent.iterdir()] == ["bundle.zip"]


def test_a_whole_bundle_passes(archive: Path):
    verify_zip(archive)
    verify_folder(unpacked(archive))


def test_a_changed_file_is_named(archive: Path):
    folder = unpacked(archive)
    (folder / "models" / "model.pt").write_bytes(b"Weights")
    with pytest.raises(
        DataError, match=r"is damaged: models/model\.pt has a different SHA-256 from the one in SHA256SUMS"
    ):
        verify_folder(folder)


def test_a_missing_file_is_named(archive: Path, tmp_path: Path):
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(tmp_path / "part.zip", "w") as part:
        part.writestr(f"bundle/{SUMS_NAME}", whole.read(f"bundle/{SUMS_NAME}"))
    with pytest.raises(DataError, match=r"part\.zip is damaged: docs/README\.md of SHA256SUMS is missing"):
        verify_zip(tmp_path / "part.zip")


def test_a_flipped_bit_of_the_zip_is_found(archive: Path):
    content = bytearray(archive.read_bytes())
    content[content.index(b"weights")] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"bundle\.zip cannot be read: Bad CRC-32 for file 'bundle/models/model\.pt'"):
        verify_zip(archive)
