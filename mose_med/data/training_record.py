"""The patients that a model was trained on, as keyed hashes: enough to recognise a given patient, not to list them.

The key stands beside the hashes, so that anybody can compare a checkpoint with a datalist. It also lets anybody check a
guessed id: ids that can be guessed have to be pseudonymised first, as ``mose-med prepare`` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mose_med.data.datalist import DatalistEntry

__all__ = ["learnt_from", "patients_trained_on"]

_BYTES = 8


def learnt_from(entries: Sequence[DatalistEntry]) -> dict[str, Any]:
    """Record of a training on ``entries``, of plain types: ``key``, and hashes of ``patients`` and ``series``.

    The key follows from the ids themselves, so that the same data give the same record in any order and other data have
    no hash in common.
    """
    patients = sorted({entry.patient_id for entry in entries})
    series = sorted({entry.series_uid for entry in entries} - {""})
    identities = "\n".join([*patients, "", *series])
    key = hashlib.blake2b(identities.encode("utf-8", "surrogateescape"), digest_size=16).digest()
    return {
        "key": key.hex(),
        "patients": sorted(_hash("patient", name, key) for name in patients),
        "series": sorted(_hash("series", name, key) for name in series),
    }


def patients_trained_on(records: Iterable[Mapping[str, Any]], entries: Sequence[DatalistEntry]) -> set[str]:
    """Patients of ``entries`` that one of the trainings has learnt from, also if only a series is known.

    Args:
        records: of :func:`learnt_from`.
        entries: any.
    """
    met: set[str] = set()
    for record in records:
        key, patients, series = bytes.fromhex(record["key"]), set(record["patients"]), set(record["series"])
        for entry in entries:
            is_known = _hash("patient", entry.patient_id, key) in patients
            if is_known or _hash("series", entry.series_uid, key) in series:
                met.add(entry.patient_id)
    return met


def _hash(kind: str, name: str, key: bytes) -> str:
    identity = f"{kind} {name}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(identity, key=key, digest_size=_BYTES).hexdigest()
