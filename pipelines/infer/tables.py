"""Tables over all cases of an output: lesions, the order of review, and failures."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

from mose_med.case_contents.maps import PROVENANCE_NAME
from mose_med.errors import DataError
from mose_med.files.csv_files import csv_text
from pipelines.common.case_names import CASE_MAP_COLUMNS
from pipelines.common.runs.run_folder import OPTIONS_NAME
from pipelines.infer.case_records import case_lesions, case_record, faulty
from pipelines.infer.store import ResultStore

__all__ = ["FAILED_COLUMNS", "FailedCase", "lesion_uncertainty", "write_tables"]

_LOGGER = logging.getLogger(__name__)
FAILED_COLUMNS = ("case", "stage", "reason", "advice")
_LESION_COLUMNS = ("lesion", "nodule_id", "in_consensus", "p_empty")
_SOURCE_COLUMNS = CASE_MAP_COLUMNS[1:]
_VOLUME_COLUMNS = ("mean", "p05", "p50", "p95")
_QUEUE_COLUMNS = ("rank", "case", "uncertainty", "presence_entropy_nats", "entropy_nats", "lesions")


class FailedCase(NamedTuple):
    """A case that could not be inferred, as in ``failed.csv``: nothing here identifies the patient."""

    case: str
    stage: str
    reason: str
    advice: str


class Uncertainty(NamedTuple):
    """How unsure a lesion is; compared in this order.

    Attributes:
        volume_spread: (p95 - p05) / (p95 + p05) of the volume, in [0, 1]; 0 where no sample has a voxel.
        presence_entropy_nats: entropy of whether there is a lesion at all.
        entropy_nats: mean entropy of the lesion's voxels.
    """

    volume_spread: float = 0.0
    presence_entropy_nats: float = 0.0
    entropy_nats: float = 0.0


class _QueueEntry(NamedTuple):
    """A case and its most uncertain lesion."""

    most: Uncertainty
    case: str
    lesions: int


def lesion_uncertainty(lesion: dict[str, Any]) -> Uncertainty:
    """Uncertainty of a lesion of ``lesions.json``.

    Example:
        >>> lesion = {"volume_ml": {"p05": 1.0, "p95": 3.0}, "p_empty": 0.0, "entropy": {"total": 0.4}}
        >>> lesion_uncertainty(lesion)
        Uncertainty(volume_spread=0.5, presence_entropy_nats=0.0, entropy_nats=0.4)
    """
    low, high = lesion["volume_ml"]["p05"], lesion["volume_ml"]["p95"]
    spread = (high - low) / (high + low) if high + low > 0 else 0.0
    empty = lesion["p_empty"]
    presence = sum((-p * math.log(p) for p in (empty, 1 - empty) if p > 0), 0.0)
    return Uncertainty(round(spread, 6), round(presence, 6), lesion["entropy"]["total"])


def write_tables(
    store: ResultStore, failed: Iterable[FailedCase], *, cases: Collection[str] | None = None, suffix: str = ""
) -> None:
    """Write ``summary.csv`` and ``queue.csv`` of all cases that are there, and ``failed.csv``.

    The summary identifies the patient only where the provenance does.

    ``summary.csv`` has a row per lesion, sorted by case and lesion. ``queue.csv`` has a row per case, the most
    uncertain first; a case is as uncertain as its most uncertain lesion. A case whose files are damaged has no rows,
    and is warned of.

    Args:
        store: that has the cases.
        failed: rows of ``failed.csv``.
        cases: of these alone; None for all that are there.
        suffix: of the names of the tables, if a run writes its own.
    """
    names = [case for case in store.cases() if cases is None or case in cases]
    sources = _sources(store, names) if _keep_identity(store) else None
    entries: list[_QueueEntry] = []
    rows = _summary_rows(store, names if sources is None else list(sources), sources or {}, entries)
    first = next(rows, None)
    columns = _summary_columns(first or {})
    if sources is not None:
        columns[1:1] = _SOURCE_COLUMNS
    _write_csv(store, f"summary{suffix}.csv", columns, chain([first] if first else [], rows))
    _write_csv(store, f"queue{suffix}.csv", _QUEUE_COLUMNS, _queue_rows(entries))
    _write_csv(store, f"failed{suffix}.csv", FAILED_COLUMNS, [case._asdict() for case in sorted(failed)])


def _summary_rows(
    store: ResultStore, names: list[str], sources: Mapping[str, dict[str, str]], entries: list[_QueueEntry]
) -> Iterator[dict[str, Any]]:
    """Rows of the summary, a case at a time since there may be very many; the cases' queue entries are added."""
    for case, lesions in _lesions(store, names):
        most = max(map(lesion_uncertainty, lesions), default=Uncertainty())
        entries.append(_QueueEntry(most, case, len(lesions)))
        for lesion in lesions:
            yield sources.get(case, {}) | _summary_row(case, lesion)


def _lesions(store: ResultStore, names: list[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for case in names:
        with _left_out_if_damaged(case):
            yield case, case_lesions(store, case)


def _keep_identity(store: ResultStore) -> bool:
    return bool(json.loads(store.read(OPTIONS_NAME) or b"{}").get("keep_identity"))


def _sources(store: ResultStore, names: list[str]) -> dict[str, dict[str, str]]:
    """The patients of the cases that tell them."""
    sources: dict[str, dict[str, str]] = {}
    for case in names:
        with _left_out_if_damaged(case):
            source = case_record(store, case, PROVENANCE_NAME).get("source")
            if not isinstance(source, dict):
                raise faulty(case, PROVENANCE_NAME)
            sources[case] = source
    return sources


@contextmanager
def _left_out_if_damaged(case: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        _LOGGER.warning("%s has no rows in the tables: %s", case, error)


def _summary_columns(lesion: Mapping[str, Any]) -> list[str]:
    """Columns of a table, by the first lesion in it."""
    number = len(lesion.get("expert_probs", (1.0,))) if lesion else 0
    experts = range(1, number + 1) if number > 1 else ()
    return [
        "case",
        *_LESION_COLUMNS,
        *(["class"] if "class" in lesion else []),
        *(f"volume_{name}_ml" for name in _VOLUME_COLUMNS),
        *(f"volume_expert-{k}_ml" for k in experts),
        *(f"expert-{k}_prob" for k in experts),
        *Uncertainty._fields,
        *(["entropy_between_experts_nats"] if number != 1 else []),
        "touches_edge",
        "same_as_lesion",
    ]


def _summary_row(case: str, lesion: dict[str, Any]) -> dict[str, Any]:
    volume = {f"volume_{name}_ml": lesion["volume_ml"][name] for name in _VOLUME_COLUMNS}
    by_expert = lesion["volume_ml"].get("by_expert", ())
    for k, (value, prob) in enumerate(zip(by_expert, lesion.get("expert_probs", ()), strict=True), 1):
        volume |= {f"volume_expert-{k}_ml": value, f"expert-{k}_prob": prob}
    between = {"entropy_between_experts_nats": lesion["entropy"]["between"]}
    return {"case": case} | lesion | volume | lesion_uncertainty(lesion)._asdict() | between


def _queue_rows(entries: Iterable[_QueueEntry]) -> Iterator[dict[str, Any]]:
    ranked = sorted(entries, key=lambda entry: (*(-value for value in entry.most), entry.case))
    for rank, (uncertainty, case, count) in enumerate(ranked, start=1):
        values = uncertainty._asdict()
        yield {"rank": rank, "case": case, "uncertainty": values.pop("volume_spread"), "lesions": count} | values


def _write_csv(store: ResultStore, name: str, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    text = csv_text(columns, ([row.get(column, "") for column in columns] for row in rows))
    store.write(name, text.encode("utf-8", "surrogateescape"))
