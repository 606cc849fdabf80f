"""Comparisons and versions as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from pipelines.models.comparison import Comparison, Difference
from pipelines.models.registry import PROMOTED_OVER, ModelVersion

__all__ = ["comparison_table", "version_rows", "version_table"]


def comparison_table(comparison: Comparison, names: tuple[str, str]) -> str:
    """Markdown table of two models, named ``names``."""
    rows: dict[str, Difference] = {
        "GED ↓": comparison.ged,
        "M-IoU ↑": comparison.matched_iou,
        "ECE % ↓": comparison.ece_percent,
    }
    lines = [
        f"{comparison.data}: {comparison.images} slices of {comparison.patients} patients.",
        "",
        f"| | {names[0]} | {names[1]} | change | 95 % CI |",
        "|---|---|---|---|---|",
    ]
    for name, found in rows.items():
        low, high = found.interval
        numbers = f"{found.champion:.4f} | {found.challenger:.4f} | {found.change:+.4f} | {low:+.4f} to {high:+.4f}"
        lines.append(f"| {name} | {numbers} |")
    lines += ["", "Both models on the same slices with the same seeds; intervals resample patients, in pairs."]
    return "\n".join(lines)


def version_rows(versions: Sequence[ModelVersion]) -> list[tuple[str, ...]]:
    """One row a version: number, aliases, day, parent, GED change, decision; the header first."""
    rows: list[tuple[str, ...]] = [
        ("version", "alias", "registered", "parent", "promoted over", "GED change", "decision")
    ]
    for version in versions:
        tags = version.tags
        day = datetime.fromtimestamp(version.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        change = f"{json.loads(tags['comparison'])['ged']['change']:+.4f}" if "comparison" in tags else ""
        parent, over = tags.get("parent_version", ""), tags.get(PROMOTED_OVER, "")
        row = (str(version.number), ", ".join(version.aliases), day, parent, over, change, _decision(version))
        rows.append(row)
    return rows


def version_table(versions: Sequence[ModelVersion]) -> str:
    """The rows in columns, for a terminal of any width or another program."""
    rows = version_rows(versions)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _decision(version: ModelVersion) -> str:
    """Without the reason, which is in the report and the tags."""
    if "rolled_back_to" in version.tags and not version.aliases:
        return f"rolled back to {version.tags['rolled_back_to']}"
    return version.tags.get("decision", "").partition(":")[0]
