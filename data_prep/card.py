"""The card of a data set, for people and programs: what is in it, how far raters agree, which licences to cite."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from data_prep.datalist import DATALIST_NAME
from mose_med.data.class_flips import ClassFlip
from mose_med.data.datalist import PARTS
from mose_med.files.whole_files import write_json

__all__ = ["CARD_NAME", "MONTAGE_NAME", "write_card"]

CARD_NAME = "card"
MONTAGE_NAME = "montage.png"


def write_card(
    folder: Path, *, counts: Mapping[str, Any], options: Mapping[str, Any], licences: Sequence[str]
) -> dict[str, Any]:
    """Write ``card.md`` and ``card.json`` of the datalist in ``folder``.

    Masks are read back one run of slices at a time. Agreement is of pairs of raters with a weight: the mean over all
    slices of the pairs' mean IoU and Dice of the foreground classes, once over all raters (two empty masks agree fully,
    an empty and a drawn one not at all), and once over those that outlined the slice only. Slices that nobody outlined
    are not compared. Where modes of random class flips are the raters, agreement is that of two modes drawn by their
    probabilities, over the classes that flip: exact, since a class is either the same in both or in one alone.

    Args:
        folder: with ``dataset.json``, its images, and ``montage.png`` if there is one.
        counts: those of the manifest.
        options: those of the manifest.
        licences: to cite, a line each.

    Returns:
        What ``card.json`` holds.
    """
    content = json.loads((folder / DATALIST_NAME).read_text(encoding="utf-8"))
    entries = [entry for part in PARTS for entry in content[part]]
    flips = [ClassFlip(**flip) for flip in content.get("flips", ())]
    card = {key: content[key] for key in ("name", "source", "num_raters", "classes")}
    card |= {
        "licences": list(licences),
        "parts": {part: _part(content[part]) for part in PARTS},
        "slices_by_raters_present": _by_number(entry["raters_present"] for entry in entries),
        "flips": {content["classes"][flip.label]: round(flip.probability, 4) for flip in flips},
        **_measured(folder, entries, content["classes"], flips),
        "features": _features(entries),
        "counts": dict(counts),
        "options": dict(options),
    }
    write_json(folder / f"{CARD_NAME}.json", card)
    with_montage = (folder / MONTAGE_NAME).is_file()
    text = "\n".join(_markdown(card, with_montage)) + "\n"
    (folder / f"{CARD_NAME}.md").write_text(text, encoding="utf-8", errors="surrogateescape")
    return card


def _part(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    numbers = {"patients": "patient_id", "series": "series_uid", "objects": "nodule_id"}
    return {name: len({entry[key] for entry in entries}) for name, key in numbers.items()} | {"slices": len(entries)}


def _by_number(numbers: Iterable[int]) -> dict[str, int]:
    counts = Counter(numbers)
    return {str(number): counts[number] for number in sorted(counts)}


def _measured(
    folder: Path, entries: Sequence[Mapping[str, Any]], classes: Sequence[str], flips: Sequence[ClassFlip]
) -> dict[str, Any]:
    """What is read off the masks."""
    of_run: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        of_run[entry["label"]].append(entry)
    sizes: defaultdict[str, list[float]] = defaultdict(list)
    windows: Counter[str] = Counter()
    pixels = np.zeros(len(classes), dtype=np.int64)
    agreement: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for label, slices in of_run.items():
        image = nib.load(folder / label)
        masks = np.asarray(image.dataobj)
        spacing = [float(value) for value in image.header.get_zooms()[:3]]
        windows["x".join(map(str, masks.shape[:2]))] += len(slices)
        if not flips:
            sizes["in_plane_spacing_mm"].append(spacing[0])
            sizes["slice_spacing_mm"].append(spacing[2])
        for entry in slices:
            plane = masks[:, :, entry["slice"]]
            counted = plane if flips else plane[..., np.asarray(entry["rater_weights"]) > 0]
            pixels += np.bincount(counted.ravel(), minlength=len(classes))[: len(classes)]
            if flips:
                agreement["two_random_modes"] += _flip_agreement(plane, flips)
                continue
            areas = (plane > 0).sum(axis=(0, 1)) * spacing[0] * spacing[1]
            sizes["area_mm2"] += areas[areas > 0].tolist()
            for group, chosen in _raters(plane, entry["rater_weights"]) if entry["raters_present"] else ():
                agreement[group] += list(_agreement(plane[..., chosen], len(classes)))
    return {
        "slices_by_window": dict(sorted(windows.items())),
        "sizes": {name: _summary(values) for name, values in sizes.items()},
        "share_of_pixels": {name: round(float(n), 6) for name, n in zip(classes, pixels / pixels.sum(), strict=True)},
        "agreement": {group: _mean_agreement(values) for group, values in sorted(agreement.items()) if values},
    }


def _flip_agreement(plane: NDArray[np.integer], flips: Sequence[ClassFlip]) -> list[tuple[float, float]]:
    """Expected IoU and Dice of two modes of a label map, over the classes it has that flip; nothing if it has none."""
    there = [flip.probability for flip in flips if (plane == flip.label).any()]
    same = float(np.mean([p**2 + (1 - p) ** 2 for p in there])) if there else None
    return [] if same is None else [(same, same)]


def _raters(plane: NDArray[np.integer], weights: Sequence[float]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Raters to compare on a slice (i, j, R), by the name of the group."""
    yield "all_raters", np.flatnonzero(np.asarray(weights) > 0)
    yield "raters_who_outlined", np.flatnonzero((plane > 0).any(axis=(0, 1)))


def _agreement(masks: NDArray[np.integer], num_classes: int) -> Iterator[tuple[float, float]]:
    """Mean IoU and Dice of all pairs of masks (i, j, R), over the foreground classes; nothing of fewer than two."""
    pairs = list(itertools.combinations(range(masks.shape[-1]), 2))
    if not pairs:
        return
    flat = masks.reshape(-1, masks.shape[-1])
    for label in range(1, num_classes):
        member = (flat == label).astype(np.float32)
        both = member.T @ member
        area = both.diagonal()
        iou, dice = [], []
        for a, b in pairs:
            union = area[a] + area[b] - both[a, b]
            iou.append(both[a, b] / union if union else 1.0)
            dice.append(2 * both[a, b] / (area[a] + area[b]) if union else 1.0)
        yield float(np.mean(iou)), float(np.mean(dice))


def _mean_agreement(values: Sequence[tuple[float, float]]) -> dict[str, float | int]:
    iou, dice = np.mean(values, axis=0)
    return {"iou": round(float(iou), 4), "dice": round(float(dice), 4), "slices": len(values)}


def _summary(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return {"p05": round(float(low), 4), "median": round(float(middle), 4), "p95": round(float(high), 4)}


def _features(entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How often each value of each feature was given: one vote per rater and object."""
    objects = {entry["nodule_id"]: entry.get("features", {}) for entry in entries}
    votes: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for features in objects.values():
        for name, values in features.items():
            votes[name].update(value for value in values if value is not None)
    return {name: {str(value): counts[value] for value in sorted(counts)} for name, counts in sorted(votes.items())}


def _markdown(card: Mapping[str, Any], with_montage: bool) -> Iterator[str]:
    yield from (f"# {card['name']}", "", card["source"], "")
    flips = ", ".join(f"{name} {probability:g}" for name, probability in card["flips"].items())
    masks = f"{card['num_raters']} modes of independent flips: {flips}" if flips else f"{card['num_raters']} raters"
    yield f"Classes: {', '.join(card['classes'])}. Masks of {masks}, on every slice."
    yield from ("", "## Licences to cite", "", *(f"- {licence}" for licence in card["licences"]))
    yield from ("", "## Split", "", "| part | patients | series | objects | slices |", "|---|---|---|---|---|")
    for part, row in card["parts"].items():
        yield f"| {part} | {row['patients']} | {row['series']} | {row['objects']} | {row['slices']} |"
    yield from ("", "## Raters")
    if not flips:
        yield from ("", "| raters who outlined the slice | slices |", "|---|---|")
        yield from (f"| {number} | {slices} |" for number, slices in card["slices_by_raters_present"].items())
    yield from ("", "| agreement of pairs, mean over slices | IoU | Dice | slices |", "|---|---|---|---|")
    for group, row in card["agreement"].items():
        yield f"| {group.replace('_', ' ')} | {row['iou']:.3f} | {row['dice']:.3f} | {row['slices']} |"
    yield from ("", "## Sizes", "", "| class | share of pixels |", "|---|---|")
    yield from (f"| {name} | {share:.2%} |" for name, share in card["share_of_pixels"].items() if share)
    sizes = {name: row for name, row in card["sizes"].items() if row is not None}
    yield from ("", "| | 5 % | median | 95 % |", "|---|---|---|---|") if sizes else ()
    for name, row in sizes.items():
        yield f"| {name} | {row['p05']:g} | {row['median']:g} | {row['p95']:g} |"
    windows = ", ".join(f"{size} ({number} slices)" for size, number in card["slices_by_window"].items())
    yield from ("", f"Windows: {windows}.")
    if card["features"]:
        yield from ("", "## What raters say of the objects", "", "| feature | value: times given |", "|---|---|")
        for name, counts in card["features"].items():
            yield f"| {name} | {', '.join(f'{value}: {number}' for value, number in counts.items())} |"
    yield from ("", "## Counts and options", "", "```json")
    yield json.dumps({"counts": card["counts"], "options": card["options"]}, indent=1)
    yield "```"
    if with_montage:
        yield from ("", f"![Slices with outlines]({MONTAGE_NAME})")
