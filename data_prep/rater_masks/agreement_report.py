"""The inter-rater report: three tables and a figure.

``agreement_pairs.csv`` (Dice and IoU of every pair of raters, class and case), ``agreement_volumes.csv``,
``agreement_kappa.csv`` (Fleiss' kappa of every case and of all together) and ``agreement.png``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_prep.rater_masks.agreement import CaseAgreement, fleiss_kappa
from mose_med.files.csv_files import write_csv

__all__ = ["ALL_CASES", "write_agreement_report"]

ALL_CASES = "all"
_RATER_COLOURS = ("#ffb000", "#00c2ff", "#ff4f9a", "#7cf03d", "#8f6bff", "#ff7f50")


def write_agreement_report(
    folder: Path, cases: Mapping[str, CaseAgreement], *, num_raters: int, classes: Sequence[str]
) -> float:
    """Write the report.

    Args:
        folder: to write to.
        cases: agreement on every case, by its name.
        num_raters: of all cases.
        classes: names, background first.

    Returns:
        Fleiss' kappa of all cases together.
    """
    write_csv(
        folder / "agreement_pairs.csv",
        ("case", "class", "rater_a", "rater_b", "dice", "iou"),
        [
            (name, classes[pair.label], pair.rater_a, pair.rater_b, f"{pair.dice:.6f}", f"{pair.iou:.6f}")
            for name, case in cases.items()
            for pair in case.pairs
        ],
    )
    write_csv(
        folder / "agreement_volumes.csv",
        ("case", "class", "rater", "volume_ml"),
        [
            (name, classes[volume.label], volume.rater, f"{volume.volume_ml:.6f}")
            for name, case in cases.items()
            for volume in case.volumes
        ],
    )
    pooled = fleiss_kappa(case.kappa for case in cases.values())
    kappas = [(name, _number(fleiss_kappa([case.kappa]))) for name, case in cases.items()]
    write_csv(folder / "agreement_kappa.csv", ("case", "fleiss_kappa"), [*kappas, (ALL_CASES, _number(pooled))])
    _draw(folder / "agreement.png", cases, num_raters, pooled)
    return pooled


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _draw(path: Path, cases: Mapping[str, CaseAgreement], num_raters: int, kappa: float) -> None:
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    _draw_pairs(left, cases, num_raters)
    _draw_volumes(right, cases, num_raters)
    title = "no voxel that two raters saw" if math.isnan(kappa) else f"Fleiss' kappa {kappa:.3f}"
    figure.suptitle(f"Agreement of raters, {len(cases)} cases: {title}", fontsize=9)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw_pairs(axes: Axes, cases: Mapping[str, CaseAgreement], num_raters: int) -> None:
    scores: dict[tuple[int, int], list[float]] = {}
    for case in cases.values():
        for pair in case.pairs:
            scores.setdefault((pair.rater_a, pair.rater_b), []).append(pair.dice)
    matrix = np.full((num_raters, num_raters), np.nan)
    for (a, b), values in scores.items():
        matrix[a - 1, b - 1] = matrix[b - 1, a - 1] = np.mean(values)
        for row, column in ((a, b), (b, a)):
            colour = "white" if np.mean(values) > 0.6 else "black"
            axes.text(column - 1, row - 1, f"{np.mean(values):.2f}", ha="center", va="center", fontsize=7, color=colour)
    axes.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    names = [str(rater + 1) for rater in range(num_raters)]
    axes.set_xticks(range(num_raters), names, fontsize=7)
    axes.set_yticks(range(num_raters), names, fontsize=7)
    axes.set_xlabel("rater", fontsize=7)
    axes.set_title("mean Dice of pairs", fontsize=8)


def _draw_volumes(axes: Axes, cases: Mapping[str, CaseAgreement], num_raters: int) -> None:
    totals = [
        {rater: sum(v.volume_ml for v in case.volumes if v.rater == rater) for rater in {v.rater for v in case.volumes}}
        for case in cases.values()
    ]
    totals.sort(key=lambda by_rater: float(np.mean(list(by_rater.values()))))
    for rater in range(1, num_raters + 1):
        drawn = [(place, by_rater[rater]) for place, by_rater in enumerate(totals, start=1) if rater in by_rater]
        colour = _RATER_COLOURS[(rater - 1) % len(_RATER_COLOURS)]
        places, volumes = zip(*drawn, strict=True) if drawn else ((), ())
        axes.plot(places, volumes, "o", markersize=3, color=colour, label=f"rater {rater}")
    axes.set_xlabel("case, by mean volume", fontsize=7)
    axes.set_ylabel("drawn in all classes, ml", fontsize=7)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False)
    axes.set_title("volume by rater", fontsize=8)
