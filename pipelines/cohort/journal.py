"""What became of every case so far: a line each, appended as it happens, so that a killed run loses nothing.

The journal names sources and therefore lies in ``private/``. Runs that share an output folder (shards) append to a file
each; of several lines on one case the latest counts. A line that was cut short by a kill is passed over.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mose_med.errors import ConfigError
from pipelines.case_names import PRIVATE_NAME, private_folder
from pipelines.inference.tables import FailedCase

__all__ = ["Journal", "Record", "failed_cases", "known_records"]

_FOLDER_NAME = "journal"


class Record(NamedTuple):
    """What became of a case.

    Attributes:
        key: of the entry.
        fingerprint: of its files then.
        case: its name.
        provenance_sha256: of the case's ``provenance.json``; empty if it failed.
        source: path of the study.
        patient_id: of the study, as are the UIDs; empty if unknown.
        study_uid: see ``patient_id``.
        series_uid: see ``patient_id``.
        stage: that failed; empty if none did.
        reason: as ``failed.csv`` has it.
        advice: as ``failed.csv`` has it.
        detail: the reason with the names that ``failed.csv`` conceals.
        time: seconds since the epoch.
    """

    key: str
    fingerprint: str
    case: str
    provenance_sha256: str
    source: str
    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    stage: str = ""
    reason: str = ""
    advice: str = ""
    detail: str = ""
    time: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the case could not be inferred."""
        return bool(self.stage)


class Journal:
    """The journal of an output folder.

    Args:
        home: folder that has ``private/``.
        label: of this run among those that share the output.
    """

    def __init__(self, home: Path, label: str) -> None:
        self._folder = private_folder(home) / _FOLDER_NAME
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._file = self._folder / f"{label}.jsonl"

    def records(self) -> dict[str, Record]:
        """The latest record of every case, by key."""
        return _latest(self._folder)

    def append(self, record: Record) -> None:
        """Add a record, with the time of now.

        Raises:
            ConfigError: if it cannot be written.
        """
        line = json.dumps(record._replace(time=time.time())._asdict()) + "\n"
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a+b") as stream:
                size = stream.seek(0, os.SEEK_END)
                whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
                stream.write((line if whole else "\n" + line).encode())
        except OSError as error:
            raise ConfigError(
                f"journal {self._file} cannot be written ({error.strerror}): make room and run the same command again, "
                "what is done stays done"
            ) from error


def known_records(home: Path) -> dict[str, Record]:
    """The latest record of every case of an output folder, by key; none where there is no journal."""
    return _latest(home / PRIVATE_NAME / _FOLDER_NAME)


def failed_cases(home: Path) -> list[FailedCase]:
    """Cases of an output folder that could not be inferred so far."""
    records = known_records(home).values()
    return [FailedCase(record.case, record.stage, record.reason, record.advice) for record in records if record.failed]


def _latest(folder: Path) -> dict[str, Record]:
    latest: dict[str, Record] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for record in _lines(file):
            known = latest.get(record.key)
            if known is None or known.time <= record.time:
                latest[record.key] = record
    return latest


def _lines(file: Path) -> Iterator[Record]:
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            try:
                yield Record(**json.loads(line))
            except (ValueError, TypeError):
                continue
