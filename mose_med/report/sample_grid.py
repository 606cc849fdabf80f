"""A slice at a glance: raters, every expert with its samples, marginal and entropy.

Panels show the radiologist's view: the patient's right is on the left. All panels of a row show the same square around
everything that raters and experts drew.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["SamplePanel", "sample_grid", "shown_square", "write_sample_grid"]

_RATER_COLOURS = ("#00c2ff", "#ff4f9a", "#7cf03d", "#b79cff")
_SAMPLE_COLOUR = "#ffd400"
#: Outlines drawn for one expert; more would hide the image.
_OUTLINES = 16
_LEAST_SIDE = 48
_MARGIN = 10

# Sizes in inches.
_PANEL = 1.7
_GAP = 0.08
_EDGE = 0.15
_ROW_TITLE = 0.42
_HEADING = 0.35
_LINE = 0.15


class SamplePanel(NamedTuple):
    """One row of the figure.

    Attributes:
        title: names the slice.
        image: (H, W), any intensities.
        rater_masks: foreground of every rater, (R, H, W).
        expert_probs: (K,).
        expert_masks: foreground of every sample, (K, S, H, W).
        probability: marginal foreground probability, (H, W).
        entropy: of the marginal, (H, W) nats.
        expert_numbers: what the experts are called; empty for 1 to K.
        num_classes: of the marginal, which bound its entropy.
    """

    title: str
    image: NDArray[Any]
    rater_masks: NDArray[Any]
    expert_probs: NDArray[Any]
    expert_masks: NDArray[Any]
    probability: NDArray[Any]
    entropy: NDArray[Any]
    expert_numbers: tuple[int, ...] = ()
    num_classes: int = 2


def write_sample_grid(path: str | os.PathLike[str], panels: Sequence[SamplePanel], *, caption: str = "") -> None:
    """Draw one row per slice: image with all raters' outlines, then with every expert's samples, marginal, entropy.

    Args:
        path: PNG to write.
        panels: slices, at least one, all with the same number of experts.
        caption: below the rows, wrapped to the width of the figure.
    """
    sample_grid(panels, caption).savefig(path, dpi=120, metadata={"Software": None})


def sample_grid(panels: Sequence[SamplePanel], caption: str = "") -> Figure:
    """The figure of :func:`write_sample_grid`."""
    columns = len(panels[0].expert_probs) + 3
    width = 2 * _EDGE + columns * (_PANEL + _GAP) - _GAP
    lines = textwrap.wrap(caption, int(width * 17))
    row = _PANEL + _ROW_TITLE
    height = _HEADING + len(panels) * row + _EDGE + len(lines) * _LINE
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    for index, panel in enumerate(panels):
        bottom = height - _HEADING - (index + 1) * row
        boxes = ((_EDGE + column * (_PANEL + _GAP), bottom, _PANEL, _PANEL) for column in range(columns))
        inches = np.array([width, height, width, height])
        _draw_row([figure.add_axes(tuple(np.array(box) / inches)) for box in boxes], panel)
    _write_headings(figure, columns)
    figure.text(_EDGE / width, 0.5 * _EDGE / height, "\n".join(lines), fontsize=7, va="bottom", color="0.3")
    return figure


def shown_square(panel: SamplePanel) -> tuple[slice, slice]:
    """The part of a slice worth looking at: a square around every mask, with a margin, inside the image.

    Example:
        >>> masks = np.zeros((1, 1, 100, 100), bool)
        >>> masks[..., 5:15, 40:60] = True
        >>> shown_square(SamplePanel("", masks[0, 0], masks[0], np.ones(1), masks, masks[0, 0], masks[0, 0]))
        (slice(0, 48, None), slice(26, 74, None))
    """
    height, width = panel.image.shape
    drawn = panel.rater_masks.any(axis=0) | panel.expert_masks.any(axis=(0, 1))
    rows, columns = np.nonzero(drawn) if drawn.any() else (np.array([height // 2]), np.array([width // 2]))
    extent = int(max(np.ptp(rows), np.ptp(columns))) + 1
    side = max(_LEAST_SIDE, extent + 2 * _MARGIN)
    return _span(rows, side, height), _span(columns, side, width)


def _span(where: NDArray[np.intp], side: int, size: int) -> slice:
    side = min(side, size)
    start = (int(where.min()) + int(where.max()) + 1 - side) // 2
    start = min(max(start, 0), size - side)
    return slice(start, start + side)


def _draw_row(axes: Sequence[Axes], panel: SamplePanel) -> None:
    square = shown_square(panel)
    grey = dict(zip(("vmin", "vmax"), _window(panel.image), strict=True)) | {"cmap": "gray"}
    _show(axes[0], panel.image[square], panel.title, **grey)
    for rater, mask in enumerate(panel.rater_masks):
        _outline(axes[0], mask[square], _RATER_COLOURS[rater % len(_RATER_COLOURS)])
    _count_empty(axes[0], panel.rater_masks, "drew nothing")
    numbers = panel.expert_numbers or range(1, len(panel.expert_probs) + 1)
    for axis, number, prob, masks in zip(axes[1:-2], numbers, panel.expert_probs, panel.expert_masks, strict=True):
        drawn = f"expert {number}: {100 * prob:.0f} %" if len(panel.expert_probs) > 1 else f"{len(masks)} samples"
        _show(axis, panel.image[square], drawn, **grey)
        for mask in masks[:_OUTLINES]:
            _outline(axis, mask[square], _SAMPLE_COLOUR)
        _count_empty(axis, masks, "empty")
    _show(axes[-2], panel.probability[square], "probability", cmap="viridis", vmin=0, vmax=1)
    title, most = f"entropy (0 to ln {panel.num_classes} nats)", float(np.log(panel.num_classes))
    _show(axes[-1], panel.entropy[square], title, cmap="magma", vmin=0, vmax=most)


def _window(image: NDArray[Any]) -> tuple[float, float]:
    low, high = np.percentile(image, (1, 99))
    return float(low), float(max(high, low + 1e-6))


def _show(axes: Axes, image: NDArray[Any], title: str, **colours: Any) -> None:
    axes.imshow(image.T, interpolation="bilinear", aspect="auto", **colours)
    axes.set_title(title, fontsize=8, pad=3)
    axes.set_axis_off()


def _outline(axes: Axes, mask: NDArray[Any], colour: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.T, levels=[0.5], colors=[colour], linewidths=0.9)


def _count_empty(axes: Axes, masks: NDArray[Any], word: str) -> None:
    """Text for the number of empty masks of a set, which no outline shows."""
    empty = int((~masks.any(axis=(1, 2))).sum())
    if not empty:
        return
    text, y = (word, 0.5) if empty == len(masks) else (f"{empty} of {len(masks)} {word}", 0.1)
    behind = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "boxstyle": "round"}
    axes.text(0.5, y, text, transform=axes.transAxes, ha="center", va="center", color="white", fontsize=8, bbox=behind)


def _write_headings(figure: Figure, columns: int) -> None:
    width, height = figure.get_size_inches()
    experts = columns - 3
    drawn, together = ("what the experts draw, with their probabilities", "all experts together")
    if experts == 1:
        drawn, together = ("what the model draws", "all samples together")
    for first, last, text in (
        (0, 0, "what the raters drew"),
        (1, experts, drawn),
        (columns - 2, columns - 1, together),
    ):
        left, right = _EDGE + first * (_PANEL + _GAP), _EDGE + last * (_PANEL + _GAP) + _PANEL
        y = 1 - 0.2 / height
        figure.text((left + right) / 2 / width, y, text, ha="center", va="center", fontsize=9, fontweight="bold")
