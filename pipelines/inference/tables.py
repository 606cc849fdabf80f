"""Tables over all cases of an output folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from mose_med.io.case_files import LESIONS_NAME

__all__ = ["write_tables"]

_SUMMARY_COLUMNS = [
    "case",
    "lesion",
    "nodule_id",
    "in_consensus",
    "p_empty",
    "volume_mean_ml",
    "volume_p05_ml",
    "volume_p50_ml",
    "volume_p95_ml",
    "touches_edge",
]


def write_tables(output_dir: Path) -> None:
    """Write ``summary.csv`` of all cases that are there, and ``failed.csv``, both sorted."""
    rows = []
    for record in sorted(output_dir.glob(f"case-*/{LESIONS_NAME}")):
        for lesion in json.loads(record.read_text(encoding="utf-8"))["lesions"]:
            volume = {f"volume_{name}_ml": lesion["volume_ml"][name] for name in ("mean", "p05", "p50", "p95")}
            rows.append({"case": record.parent.name} | lesion | volume)
    _write_csv(output_dir / "summary.csv", _SUMMARY_COLUMNS, rows)
    _write_csv(output_dir / "failed.csv", ["case", "error"], [])


def _write_csv(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
