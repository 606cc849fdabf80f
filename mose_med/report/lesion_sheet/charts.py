"""Charts of a sheet: probabilities of the experts and distribution of the volume, and the facts beside them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mose_med.geometry import spacing_mm
from mose_med.inferers import Lesion
from mose_med.report.colours import expert_colour
from mose_med.report.histogram import volume_histogram
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["draw_experts", "draw_volume", "lesion_facts"]


def draw_experts(axes: Axes, lesion: Lesion) -> None:
    """Draw a bar for the probability of each expert."""
    count = len(lesion.expert_probs)
    shares = 100 * lesion.expert_probs
    bars = axes.barh(range(count), shares, color=[expert_colour(k) for k in range(count)], height=0.7)
    axes.bar_label(bars, labels=[f"{share:.1f} %" for share in shares], fontsize=8, padding=3)
    axes.set(xlim=(0, 118), xticks=range(0, 101, 25), yticks=range(count), ylim=(count - 0.4, -0.6))
    axes.set_yticklabels([f"expert {k + 1}" for k in range(count)])
    axes.set_xlabel("probability of the expert, %", fontsize=8.5)


def draw_volume(axes: Axes, lesion: Lesion) -> None:
    """Draw the histogram of the volume, with its quantiles and mean."""
    histogram = volume_histogram(lesion.volume_ml.samples, lesion.expert_probs)
    width = float(histogram.edges_ml[1])
    positions = np.concatenate([[-1.5 * width], histogram.edges_ml[:-1]])
    shares = 100 * np.concatenate([histogram.empty[:, None], histogram.by_expert], axis=1)
    above = shares.cumsum(axis=0)
    expert, place = np.nonzero(shares)
    colours = [expert_colour(int(k)) for k in expert]
    heights, below = shares[expert, place], (above - shares)[expert, place]
    axes.bar(positions[place], heights, width * 0.92, below, align="edge", color=colours, edgecolor="white")
    top = max(float(above[-1].max()), 1e-9)
    volume = lesion.volume_ml
    axes.plot([volume.p05, volume.p95], [1.12 * top] * 2, color="0.1", linewidth=2.5, solid_capstyle="butt")
    axes.plot(volume.p50, 1.12 * top, marker="|", markersize=10, markeredgewidth=1.8, color="0.1")
    axes.plot(volume.mean, 1.12 * top, marker="o", markersize=5, color="white", markeredgecolor="0.1")
    axes.set(ylim=(0, 1.22 * top), xlim=(-1.8 * width, histogram.edges_ml[-1]))
    ticks = histogram.edges_ml[:: (len(histogram.edges_ml) - 1) // 4]
    axes.set_xticks([-1.04 * width, *ticks], ["empty", *(f"{tick:.3g}" for tick in ticks)])
    axes.set_ylabel("probability, %", fontsize=8.5)
    axes.set_xlabel("volume, ml (line: 5 to 95 %, stroke: median, ring: mean)", fontsize=8.5)


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
