"""The tables of docs/results.md, printed from the files that ``benchmarks.quality`` wrote.

python -m benchmarks.quality_tables benchmarks/results/models_*.json
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Column, score and digits. Scores are of a form and a number of samples, costs of the model.
SCORES = (
    ("GED 16", "16 GED", 3),
    ("GED 50", "50 GED", 3),
    ("GED 100", "100 GED", 3),
    ("without self-pairs", "100 GED without self-pairs", 3),
    ("M-IoU", "16 M-IoU", 3),
    ("ECE %", "16 ECE", 2),
    ("Dice", "16 Dice", 3),
    ("diversity", "16 diversity", 3),
    ("entropy", "16 entropy", 3),
)
COSTS = (("parameters", "parameters", 0), ("s an epoch", "seconds of an epoch", 0))
#: The compact form of experts has as many samples as fit.
FITTING = {"50": "48", "100": "96"}
#: Forms as files name them, and as the table does.
FORMS = {"compact": "quadrature codes", "standard": "random draws"}


def main() -> None:
    """Print a line for every row and form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="JSON files of results")
    rows = [row for file in parser.parse_args().files for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    print(tables(rows))


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of the scores, two lines a row, and of the costs; several results of a row are pooled."""
    found = _heading("", [name for name, *_ in SCORES])
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["row"], []).append(row)
    rows = sorted(map(pooled, by_name.values()), key=lambda row: row["compact 16 GED"]["mean"])
    for row in rows:
        for form, shown in FORMS.items():
            cells = [_cell(row, f"{form} {score}", digits) for _, score, digits in SCORES]
            name = f"{row['row']}, {shown}" if form == "compact" else f"the same, {shown}"
            found.append(f"| {name} | {' | '.join(cells)} |")
    found += ["", *_heading("", ["seeds", *(name for name, *_ in COSTS)])]
    for row in rows:
        cells = [str(len(row["seeds"])), *(_cell(row, score, digits) for _, score, digits in COSTS)]
        found.append(f"| {row['row']} | {' | '.join(cells)} |")
    return "\n".join(found)


def pooled(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Results of one row with different seeds as one: mean and sample standard deviation over all seeds that have it.

    Raises:
        ValueError: if a seed comes twice.
    """
    seeds = [seed for row in rows for seed in row["seeds"]]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"each seed of {rows[0]['row']!r} must come once, got {seeds}")
    found: dict[str, Any] = {"row": rows[0]["row"], "seeds": sorted(seeds)}
    for name in dict.fromkeys(name for row in rows for name in row if name not in found):
        parts = [(len(row["seeds"]), row[name]["mean"], row[name]["std"]) for row in rows if name in row]
        number = sum(part[0] for part in parts)
        mean = sum(count * of_part for count, of_part, _ in parts) / number
        squares = sum((count - 1) * std**2 + count * (of_part - mean) ** 2 for count, of_part, std in parts)
        found[name] = {"mean": mean, "std": math.sqrt(squares / (number - 1)) if number > 1 else 0.0}
    return found


def _heading(first: str, names: Sequence[str]) -> list[str]:
    return [f"| {first} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]


def _cell(row: Mapping[str, Any], name: str, digits: int) -> str:
    form, _, rest = name.partition(" ")
    number, _, what = rest.partition(" ")
    score = row.get(name) or row.get(f"{form} {FITTING.get(number)} {what}")
    if score is None:
        return ""
    spread = f" ± {score['std']:.{digits}f}" if score["std"] else ""
    return f"{score['mean']:,.{digits}f}{spread}"


if __name__ == "__main__":
    main()
