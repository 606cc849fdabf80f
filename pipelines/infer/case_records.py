"""JSON files of a case in an output; what is missing or damaged is told in one line, with the way out."""

from __future__ import annotations

import json
from typing import Any

from mose_med.case_contents.lesion_rules import LESIONS_NAME
from mose_med.errors import DataError
from pipelines.infer.store import ResultStore

__all__ = ["case_lesions", "case_record", "faulty"]


def case_record(store: ResultStore, case: str, name: str) -> dict[str, Any]:
    """The object in a JSON file of a case.

    Raises:
        DataError: if the file is missing, or holds no JSON object.
    """
    content = store.read(f"{case}/{name}")
    if content is None:
        raise faulty(case, name, "is missing")
    try:
        record = json.loads(content)
    except ValueError as error:
        raise faulty(case, name) from error
    if not isinstance(record, dict):
        raise faulty(case, name)
    return record


def case_lesions(store: ResultStore, case: str) -> list[dict[str, Any]]:
    """The lesions of a case.

    Raises:
        DataError: if ``lesions.json`` is missing or damaged.
    """
    lesions = case_record(store, case, LESIONS_NAME).get("lesions")
    if not isinstance(lesions, list):
        raise faulty(case, LESIONS_NAME)
    return lesions


def faulty(case: str, name: str, fault: str = "is damaged") -> DataError:
    """The error of a case whose file cannot be used."""
    return DataError(f"{case}/{name} {fault}: remove the folder of the case and infer it again, or add --overwrite")
