"""Charts of a sheet: probabilities of the experts and distribution of the volume, and the facts beside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import spacing_mm
from mose_med.inferers import Lesion
from mose_med.report.colours import expert_colour
from mose_med.report.histogram import VolumeHistogram, volume_histogram
from mose_med.report.lesion_sheet.canvas import POINT, Canvas
from mose_med.report.lesion_sheet.plot_area import PlotArea
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["draw_experts", "draw_volume", "lesion_facts"]

_DARK = "#1a1a1a"
#: Least distance of two ticks, inches.
_TICK_STEP = 0.2


def draw_experts(canvas: Canvas, box: tuple[float, float, float, float], lesion: Lesion) -> None:
    """Draw a bar for the probability of each expert.

    Args:
        canvas: to draw on.
        box: left, top, width and height of the chart without its axes, inches.
        lesion: with the probabilities.
    """
    count = len(lesion.expert_probs)
    area = PlotArea(canvas, *box, across=(0.0, 118.0), up=(count - 0.4, -0.6))
    for k, share in enumerate(100 * lesion.expert_probs):
        canvas.rectangle(area.left, area.y(k - 0.35), area.x(share), area.y(k + 0.35), expert_colour(k))
        canvas.text(area.x(share) + 3 * POINT, area.y(k), f"{share:.1f} %", 8, anchor="lm")
    percent = range(0, 101, 25)
    area.y_axis(range(count), [f"expert {k + 1}" for k in range(count)])
    area.x_axis(percent, [str(share) for share in percent], "probability of the expert, %")


def draw_volume(canvas: Canvas, box: tuple[float, float, float, float], lesion: Lesion) -> None:
    """Draw the histogram of the volume, with its quantiles and mean; arguments as for :func:`draw_experts`."""
    histogram = volume_histogram(lesion.volume_ml.samples, lesion.expert_probs)
    edges = histogram.edges_ml
    shares = 100 * np.concatenate([histogram.empty[:, None], histogram.by_expert], axis=1)
    top = max(float(shares.sum(axis=0).max()), 1e-9)
    area = PlotArea(canvas, *box, across=(-1.8 * float(edges[1]), float(edges[-1])), up=(0.0, 1.22 * top))
    _draw_bars(area, histogram, shares)
    _draw_quantiles(area, lesion, 1.12 * top)
    ticks = edges[:: (len(edges) - 1) // 4].tolist()
    names = ["empty", *(f"{tick:.3g}" for tick in ticks)]
    area.x_axis([-1.04 * float(edges[1]), *ticks], names, "volume, ml (line: 5 to 95 %, stroke: median, ring: mean)")
    percent = _round_steps(min(1.22 * top, 100.0), max(int(box[3] / _TICK_STEP), 1))
    area.y_axis(percent, [f"{share:.6g}" for share in percent], "probability, %")


def _draw_bars(area: PlotArea, histogram: VolumeHistogram, shares: NDArray[np.float64]) -> None:
    """Draw a bar for the share (K, 1 + bins) of each expert in each bin, one above the other, with a gap between."""
    width, gap = float(histogram.edges_ml[1]), 1 / area.canvas.dpi
    lefts = np.concatenate([[-1.5 * width], histogram.edges_ml[:-1]])
    above = shares.cumsum(axis=0)
    for expert, place in zip(*np.nonzero(shares), strict=True):
        high, low = area.y(above[expert, place]), area.y(above[expert, place] - shares[expert, place])
        left, right = area.x(lefts[place]), area.x(lefts[place] + 0.92 * width)
        area.canvas.rectangle(left, min(high + gap, low - gap), right, low, expert_colour(int(expert)))


def _draw_quantiles(area: PlotArea, lesion: Lesion, height: float) -> None:
    volume, canvas, y = lesion.volume_ml, area.canvas, area.y(height)
    canvas.level_line(area.x(volume.p05), area.x(volume.p95), y, 2.5, _DARK)
    canvas.upright_line(area.x(volume.p50), y - 5 * POINT, y + 5 * POINT, 1.8, _DARK)
    canvas.ring(area.x(volume.mean), y, 5 * POINT, _DARK)


def _round_steps(most: float, steps: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten up to ``most``, with no more than so many steps.

    Example:
        >>> _round_steps(84, 9)
        [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0]
    """
    power = 10.0 ** np.floor(np.log10(most / steps))
    step = next(float(of * power) for of in (1, 2, 5, 10) if of * power * steps >= most * (1 - 1e-9))
    return [number * step for number in range(int(most / step + 1e-9) + 1)]


def lesion_facts(lesion: Lesion, volumes: LesionVolumes) -> list[tuple[str, str]]:
    """Labels and values of the list beside the charts."""
    volume = lesion.volume_ml
    low, median, high = (f"{quantile:.3g}" for quantile in (volume.p05, volume.p50, volume.p95))
    x, y, z = lesion.place_mm
    facts = [
        ("volume", f"{median} ml (median)"),
        ("5 to 95 %", f"{low} to {high} ml"),
        ("mean", f"{volume.mean:.3g} ml"),
        ("P(empty)", f"{100 * lesion.p_empty:.1f} %"),
        ("place", f"L {-x:.1f}  P {-y:.1f}  S {z:.1f} mm"),
        ("voxels", " x ".join(f"{edge:.3g}" for edge in spacing_mm(volumes.affine)) + " mm"),
    ]
    if not lesion.in_consensus:
        facts.append(("consensus", "none here"))
    if lesion.touches_edge:
        facts.append(("edge", "volume may be cut off"))
    return facts
