"""Names of cases that do not identify the patient, and the private folder that links them back.

A case is named by a keyed hash (HMAC-SHA-256) of its series UID, or of its content where there is none. The key and the
map from names to sources lie in ``private/`` of the output folder, readable by the owner only.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mose_med.errors import DataError
from mose_med.files.csv_files import csv_text, read_csv
from mose_med.files.tables import read_table
from mose_med.files.whole_files import written_whole

if TYPE_CHECKING:
    from mose_med.io import Source

__all__ = [
    "CASE_MAP_COLUMNS",
    "KEY_NAME",
    "PRIVATE_NAME",
    "add_to_case_map",
    "case_key",
    "case_name",
    "give_case_key",
    "has_case_key",
    "key_id",
    "private_folder",
    "read_case_key",
    "record_case",
    "unreadable_case_name",
    "write_private",
]

PRIVATE_NAME = "private"
#: Name of the key, in the private folder.
KEY_NAME = "case.key"
#: Columns of the map.
CASE_MAP_COLUMNS = ("case", "source", "patient_id", "study_uid", "series_uid")
_KEY_BYTES = 32
_UNREAD = "unread-"


def case_key(output_dir: Path) -> bytes:
    """The key of an output folder, made on first use; no two runs may do so at the same time."""
    file = private_folder(output_dir) / KEY_NAME
    if not file.is_file():
        write_private(file, secrets.token_hex(_KEY_BYTES) + "\n")
    return read_case_key(file)


def read_case_key(file: Path) -> bytes:
    """The key in a file.

    Raises:
        DataError: if it holds none.
    """
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise DataError(f"{file} must hold a hexadecimal key: restore it, or name another output folder") from error
    if len(key) != _KEY_BYTES:
        raise DataError(
            f"{file} must hold {_KEY_BYTES} bytes, got {len(key)}: restore it, or name another output folder"
        )
    return key


def give_case_key(output_dir: Path, key: bytes) -> None:
    """Make a known key that of an output folder, which has none yet."""
    write_private(private_folder(output_dir) / KEY_NAME, key.hex() + "\n")


def key_id(key: bytes) -> str:
    """SHA-256 of a key: tells which key it is, and not the key."""
    return hashlib.sha256(key).hexdigest()


def has_case_key(output_dir: Path) -> bool:
    """Whether an output folder has a key already."""
    return (output_dir / PRIVATE_NAME / KEY_NAME).is_file()


def unreadable_case_name(key: bytes, source: str) -> str:
    """Name of a case whose series could not be read, by its source.

    Example:
        >>> unreadable_case_name(bytes(32), "study")
        'unread-09658067338e'
    """
    return _UNREAD + case_name(key, f"source {source}").removeprefix("case-")


def case_name(key: bytes, identity: str) -> str:
    """Name of the case of this identity.

    Example:
        >>> case_name(bytes(32), "1.2.3")
        'case-f45c672e859f'
    """
    return f"case-{hmac.digest(key, identity.encode('utf-8', 'surrogateescape'), 'sha256').hex()[:12]}"


def record_case(output_dir: Path, case: str, origin: str, source: Source) -> None:
    """Add a case and its source to the map; an earlier entry of it is replaced."""
    add_to_case_map(output_dir, [(case, origin, source.patient_id, source.study_uid, source.series_uid)])


def add_to_case_map(output_dir: Path, rows: Iterable[tuple[str, ...]], suffix: str = "") -> None:
    """Add cases to the map; earlier entries of the same cases, and of sources not read before, are replaced.

    Args:
        output_dir: that has ``private/``.
        rows: of the ``CASE_MAP_COLUMNS``.
        suffix: of the map's name, where a run writes one of its own.

    Raises:
        DataError: if the map that is there cannot be read.
    """
    file = private_folder(output_dir) / f"case_map{suffix}.csv"
    new = list(rows)
    cases, sources = {row[0] for row in new}, {row[1] for row in new}
    kept = [
        row
        for row in _read_case_map(file)
        if row[0] not in cases and not (row[0].startswith(_UNREAD) and row[1] in sources)
    ]
    write_private(file, csv_text(CASE_MAP_COLUMNS, sorted(kept + new)))


def _read_case_map(file: Path) -> list[tuple[str, ...]]:
    """Rows of the map, also where a spreadsheet saved it; none if there is no file, or nothing in it.

    Raises:
        DataError: if it cannot be read.
    """
    if not file.is_file():
        return []
    with file.open("rb") as stream:
        as_written = stream.readline() == csv_text(CASE_MAP_COLUMNS, ()).encode()
    if as_written:  # a file name of other bytes than UTF-8 keeps them
        return [tuple(row[name] for name in CASE_MAP_COLUMNS) for row in read_csv(file)]
    try:
        table = read_table(file, "case map", DataError, CASE_MAP_COLUMNS)
        missing = next((name for name in CASE_MAP_COLUMNS if name not in table.columns), None)
        if missing is not None and table.columns:
            raise DataError(f"case map {file} must have the column {missing}, got {', '.join(table.columns)}")
    except DataError as error:
        raise DataError(f"{error}: restore it, or move it away and run again") from error
    return [tuple(row.text(name) for name in CASE_MAP_COLUMNS) for row in table.rows]


def private_folder(output_dir: Path) -> Path:
    """The folder of an output folder that only its owner may read, made on first use."""
    folder = output_dir / PRIVATE_NAME
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, atomically."""
    with written_whole(file) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            stream.write(text)
