"""The tables of ``docs/results.md`` on real nodules, from the files that ``benchmarks.quality`` wrote.

    python -m benchmarks.quality.tables                                # print the tables
    python -m benchmarks.quality.tables --write-docs docs/results.md   # put them into the page

Scores of one training with several seeds are pooled, whichever table they were made for: mean, and standard deviation
where there are two seeds or more. A row that is not trained yet is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import print_or_write, table
from benchmarks.quality.recipes import TABLES, Recipe

__all__ = ["PAGE_TABLES", "pooled", "read_results"]

#: Scores by the key of their training, each as :func:`pooled` makes them.
Results = Mapping[str, Mapping[str, Any]]
#: Makes the cell of a column from the scores of a row.
Cell = Callable[[Mapping[str, Any]], str]

#: Forms as files name them, and as the tables do.
_FORMS = {"compact": "quadrature codes", "standard": "random draws"}


def main() -> None:
    """Print the tables, or put them into a page."""
    print_or_write(__doc__.splitlines()[0], PAGE_TABLES, read_results)


def read_results(folder: Path) -> Results:
    """Scores of every training in a folder, those of its seeds pooled.

    Raises:
        KeyError: if a row is of no recipe.
    """
    by_training: dict[str, list[Mapping[str, Any]]] = {}
    for name, recipes in TABLES.items():
        keys = {recipe.name: recipe.key for recipe in recipes}
        file = folder / f"{name}.json"
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else []
        for row in rows:
            of_training = by_training.setdefault(keys[row["row"]], [])
            if row["seeds"] not in [other["seeds"] for other in of_training]:  # scored for several tables
                of_training.append(row)
    return {key: pooled(rows) for key, rows in by_training.items()}


def pooled(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Results of one training with different seeds as one: mean and sample standard deviation over the seeds of each.

    Raises:
        ValueError: if a seed comes twice.
    """
    seeds = [seed for row in rows for seed in row["seeds"]]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"each seed of {rows[0]['row']!r} must come once, got {seeds}")
    found: dict[str, Any] = {"seeds": sorted(seeds)}
    for name in dict.fromkeys(name for row in rows for name in row if name not in ("row", "seeds", "machine")):
        parts = [(len(row["seeds"]), row[name]["mean"], row[name]["std"]) for row in rows if name in row]
        number = sum(part[0] for part in parts)
        mean = sum(count * of_part for count, of_part, _ in parts) / number
        squares = sum((count - 1) * std**2 + count * (of_part - mean) ** 2 for count, of_part, std in parts)
        found[name] = {"mean": mean, "std": math.sqrt(squares / (number - 1)) if number > 1 else 0.0}
    return found


def _models(results: Results) -> str:
    """Every score of the models, two lines each, the best first."""
    scores = (("GED 16", "16 GED", 3), ("GED 50", "50 GED", 3), ("GED 100", "100 GED", 3))
    scores += (("without self-pairs", "100 GED without self-pairs", 3), ("M-IoU", "16 M-IoU", 3))
    scores += (("ECE %", "16 ECE", 2), ("Dice", "16 Dice", 3), ("diversity", "16 diversity", 3))
    scores += (("entropy", "16 entropy", 3),)
    lines = []
    for recipe, row in _best_first(results):
        for form, shown in _FORMS.items():
            name = f"{recipe.name}, {shown}" if form == "compact" else f"the same, {shown}"
            lines.append([name, *(_value(row, form, score, digits) for _, score, digits in scores)])
    return table(["", *(title for title, *_ in scores)], lines)


def _costs(results: Results) -> str:
    titles = ["", "seeds", "parameters", "s an epoch"]
    names = ("parameters", "seconds of an epoch")
    lines = [
        [recipe.name, len(row["seeds"]), *(_shown(row.get(name), 0) for name in names)]
        for recipe, row in _best_first(results)
    ]
    return table(titles, lines)


def _best_first(results: Results) -> list[tuple[Recipe, Mapping[str, Any]]]:
    """Rows of the models that are trained, by the GED of their compact form."""
    found = [(recipe, results[recipe.key]) for recipe in TABLES["models"] if recipe.key in results]
    return sorted(found, key=lambda one: float(one[1]["compact 16 GED"]["mean"]))


def _table_of(
    name: str, first: str, columns: Sequence[tuple[str, Cell]], published: str = ""
) -> Callable[[Results], str]:
    """A table of the random draws, with the compact form in parentheses, and what the paper has.

    Args:
        name: of the table.
        first: title of the names of the rows.
        columns: with scores.
        published: which of the paper's scores are beside them; none if empty.
    """
    beside = [f"published {published}"] if published else []

    def make(results: Results) -> str:
        lines = []
        for recipe in TABLES[name]:
            row = results.get(recipe.key)
            if row is not None:
                cells = [cell(row) for _, cell in columns]
                lines.append([recipe.name, len(row["seeds"]), *cells, *([recipe.published] * len(beside))])
        return table([first, "seeds", *(title for title, _ in columns), *beside], lines)

    return make


def _both(score: str, digits: int = 3, *, spread: bool = True) -> Cell:
    """Random draws, and in parentheses quadrature codes."""

    def cell(row: Mapping[str, Any]) -> str:
        shown = (_value(row, form, score, digits) for form in ("standard", "compact"))
        standard, compact = (_short(text if spread else text.partition(" ")[0]) for text in shown)
        return f"{standard} ({compact})" if standard else ""

    return cell


def _standard(score: str, digits: int) -> Cell:
    return lambda row: _short(_value(row, "standard", score, digits))


def _short(text: str) -> str:
    """Numbers without a zero before the point."""
    return re.sub(r"\b0\.", ".", text)


def _of_all(name: str, digits: int) -> Cell:
    return lambda row: _shown(row.get(name), digits)


def _value(row: Mapping[str, Any], form: str, score: str, digits: int) -> str:
    """A score of a form; of the compact one at the most samples that fit, as many of each expert."""
    number, _, what = score.partition(" ")
    if form == "compact" and any(name.startswith(f"standard {number} ") for name in row):
        there = {int(name.split()[1]) for name in row if name.startswith("compact ")}
        number = str(max(samples for samples in there if samples <= int(number)))
    return _shown(row.get(f"{form} {number} {what}"), digits)


def _shown(score: Mapping[str, float] | None, digits: int) -> str:
    if score is None:
        return ""
    spread = f" ± {score['std']:.{digits}f}" if score["std"] else ""
    return f"{score['mean']:,.{digits}f}{spread}"


_GED, _GED_50, _GED_100 = ((f"GED {number}", _both(f"{number} GED")) for number in (16, 50, 100))
_PATIENTS = ("± of patients", _both("16 GED of patients", spread=False))
_M_IOU, _ECE = ("M-IoU", _both("16 M-IoU")), ("ECE %", _both("16 ECE", 2))
_EXPERTS = ("experts in effect", _of_all("effective_experts", 1))

_PUBLISHED = "GED; M-IoU; ECE"

#: Tables of the page by name, each made from all results.
PAGE_TABLES: Mapping[str, Callable[[Results], str]] = {
    "models": _models,
    "costs": _costs,
    "levers": _table_of("levers", "row", (_GED, _PATIENTS, _M_IOU, _ECE, _EXPERTS)),
    "ablations": _table_of("ablations", "row", (_GED, _PATIENTS, _GED_100, _M_IOU, _ECE, _EXPERTS), _PUBLISHED),
    "labels": _table_of(
        "labels",
        "labels of a training slice",
        (_GED, _PATIENTS, _GED_50, _GED_100, _M_IOU, _ECE),
        "GED 16, 50, 100; M-IoU; ECE",
    ),
    "sizes": _table_of(
        "sizes",
        "patients",
        (
            _GED,
            _PATIENTS,
            _M_IOU,
            _ECE,
            ("diversity", _standard("16 diversity", 3)),
            ("entropy", _standard("16 entropy", 4)),
        ),
        f"{_PUBLISHED}; diversity",
    ),
    "experts": _table_of(
        "experts",
        "experts, of samples",
        (_GED, _PATIENTS, _M_IOU, _ECE, _EXPERTS, ("best epoch", _of_all("best_epoch", 0))),
    ),
    "levels": _table_of("levels", "row", (_GED, _PATIENTS, _M_IOU, _ECE, _EXPERTS), _PUBLISHED),
}


if __name__ == "__main__":
    main()
