"""The training data of a retraining, without the held-out patients."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mose_med.data import Datalist, DatalistEntry, load_datalist
from mose_med.data.datalist import ID_KEY
from mose_med.errors import ConfigError
from mose_med.files.whole_files import write_json

__all__ = ["merge_datalists", "require_held_out"]

_LOGGER = logging.getLogger(__name__)
_LEARNT_FROM = ("training", "validation")
_FILES = ("image", "label", "truth")


def require_held_out(held_out: Datalist, learnt_from: Iterable[Datalist]) -> None:
    """Refuse held-out patients (the test part) that are in the training or validation part of other data.

    Args:
        held_out: whose test part is held out.
        learnt_from: data of any of the models; may hold ``held_out`` itself.

    Raises:
        ConfigError: naming the first patient.
    """
    held = held_out.part("test")
    names, series = {entry.patient_id for entry in held}, {entry.series_uid for entry in held} - {""}
    for datalist in learnt_from:
        for part in _LEARNT_FROM:
            shared = sorted(_shared(datalist.parts[part], names, series))
            if shared:
                more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
                raise ConfigError(
                    f"patient {shared[0]}{more} of the held-out test part of {held_out.name} is in the {part} part of "
                    f"{datalist.name}: keep every patient in one of them"
                )
        if None not in (keys := {held_out.id_key_sha256, datalist.id_key_sha256}) and len(keys) > 1:
            _LOGGER.warning(
                "patients of %s and %s were renamed with different keys, so that one who is in both is not seen: "
                "prepare one of them with --case-key, the private/case.key of the other",
                held_out.name,
                datalist.name,
            )


def _shared(entries: Sequence[DatalistEntry], names: set[str], series: set[str]) -> set[str]:
    return {entry.patient_id for entry in entries if entry.patient_id in names or entry.series_uid in series}


def merge_datalists(target: Path, learnt_from: Sequence[Path], held_out: Path) -> Path:
    """Write a datalist with the training and validation parts of several, and the test part of one.

    Args:
        target: to write; its entries name files by absolute paths.
        learnt_from: datalists to join, at least one; with the same raters and classes.
        held_out: whose test part it gets.
    """
    contents: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in learnt_from]
    merged: dict[str, Any] = {name: value for name, value in contents[0].items() if name not in _LEARNT_FROM}
    for name in ("name", "source"):
        merged[name] = " + ".join(dict.fromkeys(content[name] for content in contents))
    if len({content.get(ID_KEY) for content in contents}) > 1:
        merged.pop(ID_KEY, None)
    for part in _LEARNT_FROM:
        sources = zip(learnt_from, contents, strict=True)
        merged[part] = [_absolute(entry, path) for path, content in sources for entry in content[part]]
    tests = json.loads(held_out.read_text(encoding="utf-8"))["test"]
    merged["test"] = [_absolute(entry, held_out) for entry in tests]
    write_json(target, merged)
    load_datalist(target)
    return target


def _absolute(entry: dict[str, Any], datalist: Path) -> dict[str, Any]:
    root = datalist.resolve().parent
    return entry | {name: str(root / entry[name]) for name in _FILES if name in entry}
