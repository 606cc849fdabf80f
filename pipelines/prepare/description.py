"""What stands beside a datalist: montage, card and manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.card import MONTAGE_NAME, write_card
from data_prep.datalist import DATALIST_NAME, write_manifest
from data_prep.montage import LUNG_WINDOW_HU, write_montage
from mose_med.data.class_flips import ClassFlip
from mose_med.data.datalist import PARTS

__all__ = ["describe"]

#: Options that tell where files lie, which is not passed on with a card.
_PATHS = ("lidc_root", "root", "file", "predictions")


def describe(
    folder: Path,
    *,
    counts: Mapping[str, Any],
    options: Mapping[str, Any],
    packages: Iterable[str],
    licences: Sequence[str],
    window: tuple[float, float] | None = LUNG_WINDOW_HU,
) -> None:
    """Write the montage, the card and, after everything else, the manifest of the datalist in ``folder``.

    Args:
        folder: complete except for these.
        counts: what was prepared and what was left out.
        options: what decided the result.
        packages: whose versions matter.
        licences: to cite, a line each.
        window: intensities shown as black and as white; None takes those of each slice.
    """
    content = json.loads((folder / DATALIST_NAME).read_text(encoding="utf-8"))
    flips = {content["classes"][flip["label"]]: ClassFlip(**flip) for flip in content.get("flips", ())}
    write_montage(
        folder / MONTAGE_NAME,
        folder,
        [entry for part in PARTS for entry in content[part]],
        title=f"{content['name']}: {'classes that flip' if flips else 'outlines of every rater'}",
        caption=content["source"],
        window=window,
        flips=flips,
    )
    passed_on = {name: value for name, value in options.items() if name not in _PATHS}
    write_card(folder, counts=counts, options=passed_on, licences=licences)
    write_manifest(folder, options=options, counts=counts, packages=packages, citation=content["source"])
