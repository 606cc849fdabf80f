"""Images and labels of a MONAI Label server that keeps them in a folder: every tag is a rater.

``datastore_v2.json`` lists images, which lie beside it, and labels, in ``labels/<tag>``. The tag ``original`` is of the
model, and ``final`` repeats the label that was saved last, so that it counts where no rater has a tag alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_prep.rater_masks.rater_case import RaterCase
from mose_med.errors import ConfigError

__all__ = ["DATASTORE_NAME", "datastore_cases"]

DATASTORE_NAME = "datastore_v2.json"
_OF_MODELS, _LAST = "original", "final"


def datastore_cases(folder: Path) -> list[RaterCase]:
    """Annotated images, sorted; those without a label of a rater are left out.

    Raises:
        ConfigError: if the file cannot be read.
    """
    path = folder / DATASTORE_NAME
    try:
        store = json.loads(path.read_text(encoding="utf-8"))
        images, labels = folder / store.get("images_dir", "."), folder / store.get("labels_dir", "labels")
        cases = [_case(images, labels, name, entry) for name, entry in sorted(store["objects"].items())]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} must be the datastore of a MONAI Label server: {error}") from error
    return [case for case in cases if case.masks]


def _case(images: Path, labels: Path, name: str, entry: dict[str, Any]) -> RaterCase:
    tags = sorted(set(entry["labels"]) - {_OF_MODELS})
    raters = [tag for tag in tags if tag != _LAST] or tags
    masks = {tag: (labels / tag / f"{name}{entry['labels'][tag]['ext']}",) for tag in raters}
    return RaterCase(name, name, (images / f"{name}{entry['image']['ext']}",), masks)
