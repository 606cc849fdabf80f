"""The outcome of every case so far: one line each, appended at once, so that a killed run loses nothing.

The journal names sources and is therefore in ``private/``. Runs that share an output folder (shards) append to a file
each; of several lines on one case the latest counts. A line that was cut short by a kill is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mose_med.errors import ConfigError
from pipelines.common.case_names import PRIVATE_NAME, private_folder
from pipelines.infer.cohort.finding.entries import Entry, source_of
from pipelines.infer.tables import FailedCase

__all__ = ["Journal", "Record", "failed_cases", "known_records"]

_FOLDER_NAME = "journal"


class Record(NamedTuple):
    """The outcome of a case.

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
        options_sha256: of the options and weights of the run; empty in records of version 0.1.0.
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
    options_sha256: str = ""

    @property
    def failed(self) -> bool:
        """Whether the case could not be inferred."""
        return bool(self.stage)


class Journal:
    """The journal of an output folder.

    Args:
        home: folder that has ``private/``.
        label: of this run among those that share the output.
        options: of the run, weights included; records of other options do not count. None counts all.
    """

    def __init__(self, home: Path, label: str, options: Mapping[str, Any] | None = None) -> None:
        self._folder = private_folder(home) / _FOLDER_NAME
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._file = self._folder / f"{label}.jsonl"
        self._options_sha256 = _sha256(options)

    def records(self) -> dict[str, Record]:
        """The latest record of every case, by key."""
        return _latest(self._folder, self._options_sha256)

    def append(self, record: Record) -> None:
        """Append a record with the current time.

        Raises:
            ConfigError: if it cannot be written.
        """
        known = record._replace(time=time.time(), options_sha256=self._options_sha256)
        line = json.dumps(known._asdict()) + "\n"
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a+b") as stream:
                size = stream.seek(0, os.SEEK_END)
                whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
                stream.write((line if whole else "\n" + line).encode())
        except OSError as error:
            raise ConfigError(
                f"journal {self._file} cannot be written ({error.strerror}): make room and run the same command again, "
                "finished cases are kept"
            ) from error


def known_records(home: Path, options: Mapping[str, Any] | None = None) -> dict[str, Record]:
    """The latest record of every case of an output folder, by key; none where there is no journal.

    Args:
        home: folder that has ``private/``.
        options: as of :class:`Journal`.
    """
    return _latest(home / PRIVATE_NAME / _FOLDER_NAME, _sha256(options))


def failed_cases(
    records: Iterable[Record], entries: Iterable[Entry] | None = None, input_dir: Path | None = None
) -> list[FailedCase]:
    """Cases that could not be inferred so far, as tables tell them.

    A failure is over if a later record says that its case is done, as where a manifest names another path for it. With
    all entries of the input it is also over if its entry is no longer there: the study is gone, lies below the folder
    that was searched, or is asked for otherwise. A failure of another input stays.

    Args:
        records: the latest of every entry.
        entries: all of the input; None where they are not known.
        input_dir: that was searched for them.
    """
    known = list(records)
    done: dict[str, float] = {}
    for record in known:
        if not record.failed:
            done[record.case] = max(record.time, done.get(record.case, 0.0))
    keys = None if entries is None else {entry.key for entry in entries}
    return [
        FailedCase(record.case, record.stage, record.reason, record.advice)
        for record in known
        if record.failed
        and done.get(record.case, -1.0) < record.time
        and (keys is None or not _is_over(record, keys, input_dir))
    ]


def _is_over(record: Record, keys: Collection[str], input_dir: Path | None) -> bool:
    """Whether the entry of a record is none of the input any more."""
    if record.key in keys:
        return False
    source = Path(source_of(record.key))
    below = input_dir is not None and source.is_relative_to(input_dir.absolute())
    return below or not source.exists() or str(source) in map(source_of, keys)


def _sha256(options: Mapping[str, Any] | None) -> str:
    if options is None:
        return ""
    return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()


def _latest(folder: Path, options_sha256: str) -> dict[str, Record]:
    latest: dict[str, Record] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for record in _lines(file):
            if options_sha256 and record.options_sha256 not in ("", options_sha256):
                continue
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
