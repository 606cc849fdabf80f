"""A picture of a datalist: slices with the outline of every rater."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mose_med.data.class_flips import ClassFlip

__all__ = ["LUNG_WINDOW_HU", "write_montage"]

LUNG_WINDOW_HU = (-1350.0, 150.0)
_COLOURS = ("#ffb000", "#00c2ff", "#ff4f9a", "#7cf03d", "#c58cff")
_PANEL_INCHES = 1.8


def write_montage(
    path: Path,
    folder: Path,
    entries: Sequence[Mapping[str, Any]],
    *,
    title: str,
    caption: str,
    max_panels: int = 24,
    window: tuple[float, float] | None = LUNG_WINDOW_HU,
    flips: Mapping[str, ClassFlip] | None = None,
) -> None:
    """Draw slices with all raters' outlines, one slice per nodule; or pictures with the classes that flip outlined.

    Of every nodule the middle one of the slices that most raters outlined is shown. Every patient has a turn before any
    has a second one; nodules outlined by most raters come first. The view is the radiologist's: the patient's right is
    on the left.

    Args:
        path: PNG to write.
        folder: of the datalist.
        entries: of the datalist, in any order.
        title: above the slices.
        caption: below the slices.
        max_panels: slices shown at most.
        window: intensities shown as black and as white; None takes those of each slice, without its extremes.
        flips: by the name of the class, where modes of class flips are the raters.
    """
    chosen = _best_slices(entries)[:max_panels]
    across, down = nib.load(folder / chosen[0]["image"]).shape[:2]
    columns = min(6 if across <= down else 3, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    wide = max(columns, 3) * _PANEL_INCHES if across <= down else 3 * 2 * _PANEL_INCHES
    high = rows * (wide / max(columns, 3) * min(down / across, 1) + 0.2) + 1.0
    figure = Figure(figsize=(wide, high), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, entry in zip(panels, chosen, strict=False):
        _draw_slice(panel, folder, entry, window, list((flips or {}).values()))
    labels = [f"rater {rater + 1}" for rater in range(len(chosen[0]["rater_weights"]))]
    if flips:
        labels = [f"{name}, flips with {flip.probability:.2f}" for name, flip in flips.items()]
    lines = [Line2D([], [], color=_colour(number), label=label) for number, label in enumerate(labels)]
    figure.legend(handles=lines, loc="outside upper right", ncols=min(len(lines), 8), fontsize=6, frameon=False)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    figure.supxlabel(caption, fontsize=6, wrap=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _best_slices(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    of_nodule: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        of_nodule[entry["nodule_id"]].append(entry)
    best = []
    for slices in of_nodule.values():
        most = max(entry["raters_present"] for entry in slices)
        candidates = [entry for entry in slices if entry["raters_present"] == most]
        best.append(candidates[len(candidates) // 2])
    best.sort(key=lambda entry: (-entry["raters_present"], entry["nodule_id"]))
    turns: Counter[str] = Counter()
    ranked = []
    for entry in best:
        turns[entry["patient_id"]] += 1
        ranked.append((turns[entry["patient_id"]], entry))
    return [entry for _, entry in sorted(ranked, key=lambda turn: turn[0])]


def _draw_slice(
    panel: Axes,
    folder: Path,
    entry: Mapping[str, Any],
    window: tuple[float, float] | None,
    flips: Sequence[ClassFlip],
) -> None:
    image = nib.load(folder / entry["image"])
    across, down = image.header.get_zooms()[:2]
    masks = np.asarray(nib.load(folder / entry["label"]).dataobj[:, :, entry["slice"]])
    pixels = np.asarray(image.dataobj[:, :, entry["slice"]])
    if pixels.ndim == 3:
        panel.imshow(pixels[..., :3].transpose(1, 0, 2))
    else:
        low, high = np.percentile(pixels, (1, 99)) if window is None else window
        panel.imshow(pixels.T, cmap="gray", vmin=low, vmax=high, aspect=down / across)
    outlined = [masks[..., 0] == flip.label for flip in flips] if flips else np.moveaxis(masks > 0, -1, 0)
    for number, mask in enumerate(outlined):
        if mask.any() and not mask.all():
            panel.contour(mask.T, levels=[0.5], colors=[_colour(number)], linewidths=0.7)
    place = f"slice {entry['slice'] + 1}" if entry["z_mm"] is None else f"z = {entry['z_mm']:g} mm"
    panel.set_title(entry["nodule_id"] if flips else f"{entry['nodule_id']}\n{place}", fontsize=5)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
