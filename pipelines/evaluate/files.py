"""The files of an evaluation: scores as JSON, CSV and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mose_med.data import DatalistEntry
from mose_med.files.csv_files import write_csv
from mose_med.files.whole_files import write_json
from mose_med.metrics import Interval
from pipelines.evaluate.published import published_table
from pipelines.evaluate.scores import MethodScores, ScoreRow, SliceScore, Spread, mean_score

__all__ = [
    "METRICS_NAME",
    "OWN_FILES",
    "TABLE_NAME",
    "Evaluation",
    "markdown_table",
    "read_evaluation",
    "write_cases",
    "write_evaluation",
    "write_slices",
]

#: Scores and what they were computed on.
METRICS_NAME = "metrics.json"
#: The same scores as a table.
TABLE_NAME = "scores.md"
#: Scores of every slice.
SLICES_NAME = "per_slice.csv"
#: Means over the slices and seeds of every nodule.
CASES_NAME = "per_case.csv"

#: All files of an evaluation of either kind.
OWN_FILES = (
    METRICS_NAME,
    TABLE_NAME,
    SLICES_NAME,
    CASES_NAME,
    "reliability.png",
    "samples.png",
    "modes.json",
    "modes.png",
    "scored_cases.jsonl",
)

_CONVENTIONS = (
    "GED is the squared distance with self-pairs, on masks after the argmax; without self-pairs it is unbiased, and "
    "given, for equally probable random samples alone. GED, M-IoU, Dice and entropy are means over slices: Dice of "
    "the most likely mask and the raters', entropy of the marginal over all voxels in nats. ECE pools all pixels into "
    "ten bins; {seeds}; confidence intervals resample patients. The baselines are computed on the same slices: the "
    "mean training mask at its best threshold, the same for every image; and the network's most likely mask (the "
    "argmax of its marginal) in place of its samples."
)
_CODES = {
    "quadrature": (
        "Codes of the compact form are quadrature points, the same for every image and seed; *compact, random codes* "
        "draws them, as publications do."
    ),
    "random": "Codes of the compact form are drawn at random.",
}


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        datalist: its name.
        part: of the split.
        images: number of slices.
        patients: number of patients.
        seeds: of the samples.
        checkpoint_sha256: of the file that was evaluated.
        rows: scores of the network's two forms and of the baselines, for every number of samples.
        expert_probs: mean gating probability of every expert.
        effective_experts: exponential of the entropy of these means.
        codes: of the compact form, ``quadrature`` or ``random``.
        constant_threshold: of the mean training mask; infinite where predicting nothing is best, None without a
            training part.
    """

    datalist: str
    part: str
    images: int
    patients: int
    seeds: tuple[int, ...]
    checkpoint_sha256: str
    rows: tuple[ScoreRow, ...]
    expert_probs: tuple[float, ...]
    effective_experts: float
    codes: str = "random"
    constant_threshold: float | None = None

    def row(self, method: str, num_samples: int | None = None) -> ScoreRow:
        """The first row of a method, of a number of samples if one is given.

        Raises:
            KeyError: if there is none.
        """
        for row in self.rows:
            if row.method == method and num_samples in (None, row.num_samples):
                return row
        raise KeyError(f"no row of {method} with {num_samples} samples")

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as ``metrics.json`` holds them."""
        content = vars(self) | {"rows": [_plain_row(row) for row in self.rows]}
        if self.constant_threshold is None:
            del content["constant_threshold"]
        elif self.constant_threshold == float("inf"):
            content["constant_threshold"] = None
        return content


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write ``scores.md`` and, last of all files, ``metrics.json``."""
    (folder / TABLE_NAME).write_text(markdown_table(evaluation), encoding="utf-8", errors="surrogateescape")
    write_json(folder / METRICS_NAME, evaluation.to_dict())


def read_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation that a folder holds, None if it is not finished."""
    path = folder / METRICS_NAME
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content.get("constant_threshold", 0.0) is None:
        content["constant_threshold"] = float("inf")
    rows = tuple(_row(values) for values in content["rows"])
    tuples = {name: tuple(content[name]) for name in ("seeds", "expert_probs")}
    return Evaluation(**(content | {"rows": rows} | tuples))


def write_slices(
    folder: Path,
    entries: Sequence[DatalistEntry],
    scores: Mapping[tuple[str, int], Sequence[MethodScores]],
    seeds: Sequence[int],
) -> None:
    """Write ``per_slice.csv``: one line for every slice, method, number of samples and seed."""
    rows = (
        [entry.patient_id, entry.nodule_id, entry.slice_index, *method, seed, *(f"{value:.6f}" for value in score)]
        for method, by_seed in scores.items()
        for seed, of_method in zip(seeds, by_seed, strict=False)
        for entry, score in zip(entries, of_method.slices, strict=True)
    )
    columns = ["patient_id", "nodule_id", "slice", "method", "num_samples", "seed", *SliceScore._fields]
    write_csv(folder / SLICES_NAME, columns, rows)


def write_cases(
    folder: Path, entries: Sequence[DatalistEntry], scores: Mapping[tuple[str, int], Sequence[MethodScores]]
) -> None:
    """Write ``per_case.csv``: one line for every nodule, method and number of samples, means over slices and seeds.

    A score that no slice of the nodule has is nan.
    """
    nodules: dict[tuple[str, str], list[int]] = {}
    for index, entry in enumerate(entries):
        nodules.setdefault((entry.patient_id, entry.nodule_id), []).append(index)
    rows = []
    for method, by_seed in scores.items():
        for nodule, indices in nodules.items():
            of_nodule = [of_seed.slices[index] for of_seed in by_seed for index in indices]
            means = map(mean_score, zip(*of_nodule, strict=True))
            rows.append([*nodule, len(indices), *method, *(f"{value:.6f}" for value in means)])
    columns = ["patient_id", "nodule_id", "slices", "method", "num_samples", *SliceScore._fields]
    write_csv(folder / CASES_NAME, columns, rows)


def markdown_table(evaluation: Evaluation) -> str:
    """The scores as a Markdown table, with the conventions that make them comparable below it."""
    lines = [
        f"Scores on the {evaluation.part} part of {evaluation.datalist}: {evaluation.images} slices of "
        f"{evaluation.patients} patient{'' if evaluation.patients == 1 else 's'}.",
        "",
        "| Method | Samples | GED ↓ | 95 % CI | without self-pairs | M-IoU ↑ | 95 % CI | ECE % ↓ | Dice ↑ | Diversity "
        "| Entropy |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in evaluation.rows:
        method = f"{row.method}, {evaluation.codes} codes" if row.method == "compact" else row.method
        distances = (row.ged, row.ged_interval, row.unbiased_ged, row.matched_iou, row.matched_iou_interval)
        others = (row.ece_percent, row.consensus_dice, row.diversity, row.entropy)
        numbers = " | ".join(map(_number, (*distances, *others)))
        lines.append(f"| {method} | {row.num_samples} | {numbers} |")
    if len(evaluation.expert_probs) > 1:
        shares = ", ".join(f"{share:.2f}" for share in evaluation.expert_probs)
        lines += ["", f"Mean expert probabilities {shares}: {evaluation.effective_experts:.1f} experts in effect."]
    seeds = f"mean ± standard deviation over {len(evaluation.seeds)} seeds" if len(evaluation.seeds) > 1 else "one seed"
    lines += ["", _CONVENTIONS.format(seeds=seeds), _CODES[evaluation.codes], "", published_table(evaluation.datalist)]
    return "\n".join(lines) + "\n"


def _number(value: Spread | Interval | None) -> str:
    if value is None:
        return ""
    if isinstance(value, Interval):  # over one patient there is none
        return f"{value.low:.3f} to {value.high:.3f}" if value.low < value.high else ""
    return f"{value.mean:.3f} ± {value.std:.3f}" if value.std else f"{value.mean:.3f}"


def _plain_row(row: ScoreRow) -> dict[str, Any]:
    return {
        name: value._asdict() if isinstance(value, Spread | Interval) else value for name, value in vars(row).items()
    }


def _row(values: Mapping[str, Any]) -> ScoreRow:
    return ScoreRow(**{name: _pair(value) if isinstance(value, dict) else value for name, value in values.items()})


def _pair(value: Mapping[str, float]) -> Any:
    return Interval(**value) if "low" in value else Spread(**value)
