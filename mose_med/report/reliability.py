"""Reliability diagram: how often raters mark a voxel that is predicted with a given probability."""

from __future__ import annotations

import os
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mose_med.metrics import Reliability
from mose_med.report.colours import DIAGRAM_COLOURS

__all__ = ["write_reliability"]


def write_reliability(path: str | os.PathLike[str], curves: Mapping[str, Reliability], *, title: str = "") -> None:
    """Draw mean rater share over mean predicted probability, and below it how many voxels each bin holds.

    Args:
        path: PNG to write.
        curves: bins of every method, by the name to show.
        title: above the diagram.
    """
    figure = Figure(figsize=(4.5, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="perfect")
    for index, (name, table) in enumerate(curves.items()):
        _draw(above, below, table, name, DIAGRAM_COLOURS[index % len(DIAGRAM_COLOURS)], index, len(curves))
    above.set(ylabel="share of raters", xlim=(0, 1), ylim=(0, 1), title=title)
    above.legend(fontsize=7, frameon=False)
    below.set(xlabel="predicted probability", ylabel="share of voxels")
    if any(bool((table.share > 0).any()) for table in curves.values()):
        below.set_yscale("log")
    else:
        above.text(0.5, 0.5, "no voxels to count: nothing is predicted or annotated", ha="center", fontsize=8)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw(above: Axes, below: Axes, table: Reliability, name: str, colour: str, index: int, curves: int) -> None:
    edges, probability, frequency, share = (values.numpy() for values in table)
    filled = share > 0
    above.plot(probability[filled], frequency[filled], color=colour, marker="o", markersize=3, label=name)
    width = (edges[1:] - edges[:-1]) * 0.9 / curves
    left = edges[:-1] + index * width
    below.bar(left[filled], share[filled], width=width[filled], align="edge", color=colour)
