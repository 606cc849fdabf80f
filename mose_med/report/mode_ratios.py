"""Modes and flips of data whose distribution is known: how often a model predicts each, beside the truth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mose_med.report.colours import DIAGRAM_COLOURS

__all__ = ["write_mode_ratios"]


def write_mode_ratios(
    path: str | os.PathLike[str],
    modes: Mapping[str, Sequence[float]],
    flips: Mapping[str, Sequence[float]],
    names: Sequence[str],
    *,
    title: str = "",
) -> None:
    """Draw the share of every mode and of every flipped class, one colour for each method.

    Args:
        path: PNG to write.
        modes: shares of the modes by method, the truth first; a method's sum to 1.
        flips: shares of the flipped classes by method, the truth first; nan where a class is absent.
        names: of the flips.
        title: above the diagrams.
    """
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    order = np.argsort(-np.asarray(next(iter(modes.values()))), kind="stable")
    places = np.arange(len(order))
    for index, (method, shares) in enumerate(modes.items()):
        _draw(left, places, np.asarray(shares)[order], method, index)
    left.set(xlabel="mode, the most probable first", ylabel="share of samples", ylim=(0, None))
    left.legend(fontsize=7, frameon=False)
    for index, (method, shares) in enumerate(flips.items()):
        _draw(right, np.arange(len(names)), np.asarray(shares), method, index)
    right.set(ylabel="share of flipped voxels", ylim=(0, 1))
    right.set_xticks(np.arange(len(names)), names, rotation=45, ha="right", fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw(axes: Axes, places: np.ndarray, shares: np.ndarray, method: str, index: int) -> None:
    if index == 0:
        axes.bar(places, shares, color="0.8", label=method)
    else:
        colour = DIAGRAM_COLOURS[(index - 1) % len(DIAGRAM_COLOURS)]
        axes.plot(places, shares, color=colour, marker="o", markersize=3, linestyle="none", label=method)
