"""Archives that cannot be unpacked: each of the product's readers names them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.api.options import ResultOptions
from mose_med.api.reading import CaseRequest
from mose_med.errors import DataError
from mose_med.io import read_ct
from mose_med.weights.bundles import verify_zip
from mose_med.weights.files import weights_file
from pipelines.export.configs import named_bundle
from pipelines.infer.cohort.failures import describe

_LOCAL, _CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def _set(content: bytearray, local: int, central: int, value: int) -> None:
    """Set a byte of the headers of every member."""
    for sign, offset in ((_LOCAL, local), (_CENTRAL, central)):
        place = content.find(sign)
        while place >= 0:
            content[place + offset] = value
            place = content.find(sign, place + 4)


def encrypted(content: bytearray) -> None:
    _set(content, 6, 8, 1)


def of_unknown_method(content: bytearray) -> None:
    _set(content, 8, 10, 99)


def without_directory(content: bytearray) -> None:
    content[content.find(_CENTRAL) : content.find(_CENTRAL) + 4] = b"XXXX"


def with_other_bytes(content: bytearray) -> None:
    start = content.find(b"member") + 20
    content[start : start + 40] = bytes(range(40))


def weights(path: Path) -> None:
    with weights_file(path):
        pass


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a compressed archive that looks like a bundle, and spoils it."""

    def write(spoil: Callable[[bytearray], None], *names: str) -> Path:
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
            for name in names:
                content.writestr(f"member/{name}", b"7" * 400)
        spoiled = bytearray(path.read_bytes())
        spoil(spoiled)
        path.write_bytes(spoiled)
        return path

    return write


@pytest.mark.parametrize("spoil", [encrypted, of_unknown_method, without_directory, with_other_bytes])
@pytest.mark.parametrize(
    ("read", "name"),
    [(verify_zip, "SHA256SUMS"), (weights, "models/model.pt"), (named_bundle, "configs/metadata.json")],
)
def test_a_bundle_that_cannot_be_unpacked_is_named(archive, read: Callable[[Path], object], name: str, spoil):
    with pytest.raises(DataError, match=r"^bundle .*archive\.zip cannot be read: ."):
        read(archive(spoil, name))


@pytest.mark.parametrize("spoil", [encrypted, of_unknown_method, without_directory])
def test_a_study_that_cannot_be_unpacked_is_named(archive, spoil):
    with pytest.raises(DataError, match=r"cannot be unpacked: [^\n]+$"):
        read_ct(archive(spoil, "image"))


def test_the_password_is_the_remedy_of_an_encrypted_one(archive):
    with pytest.raises(DataError, match=r"is encrypted, .*: unpack it with its password first"):
        verify_zip(archive(encrypted, "SHA256SUMS"))


def test_a_cohort_tells_the_failure_of_an_archive_whose_names_cannot_be_read(archive):
    request = CaseRequest(archive(without_directory, "image"), None, None, ResultOptions())
    assert describe(DataError("no"), "read", request).reason == "no"
