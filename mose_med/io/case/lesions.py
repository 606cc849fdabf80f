"""``lesions.json``: the lesions of a case in plain types, written and read back.

Volumes are in ml, positions in mm, entropies in nats; ``box_voxels`` holds the lesion in every sample, on the grid of
the input. The component of a lesion is not written: the maps have it. ``class`` is written if the case has several
foreground classes, ``expert_probs`` and ``by_expert`` if the model has several experts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mose_med.errors import DataError
from mose_med.geometry import LPS_TO_RAS
from mose_med.inferers import Box, Lesion, LesionEntropy, VolumeDistribution

__all__ = ["as_read_back", "lesion_of", "lesion_record", "lesions_text"]

_DIGITS = 6
Position = tuple[float, float, float]


def lesions_text(lesions: Sequence[Lesion], *, classes: Sequence[str] = ("",)) -> str:
    """Content of the file, of a case with these foreground classes."""
    records = [lesion_record(lesion, with_class=len(classes) > 1) for lesion in lesions]
    return json.dumps({"lesions": records}, indent=2) + "\n"


def lesion_record(lesion: Lesion, *, with_class: bool = False) -> dict[str, Any]:
    """One lesion in plain types."""
    volume, box = lesion.volume_ml, lesion.box
    several = len(lesion.expert_probs) > 1
    return {
        "lesion": lesion.number,
        "nodule_id": lesion.name,
        **({"class": lesion.label} if with_class else {}),
        "position_mm": _position(lesion.position_mm),
        "centroid_mm": None if lesion.centroid_mm is None else _position(lesion.centroid_mm),
        "in_consensus": lesion.in_consensus,
        "same_as_lesion": lesion.same_as,
        "touches_edge": lesion.touches_edge,
        "box_voxels": None if box is None else {"start": list(box.start), "stop": list(box.stop)},
        **({"expert_probs": _rounded(lesion.expert_probs.tolist())} if several else {}),
        "volume_ml": {
            "mean": _rounded(volume.mean),
            "p05": _rounded(volume.p05),
            "p50": _rounded(volume.p50),
            "p95": _rounded(volume.p95),
            "quantile_samples": volume.quantile_samples,
            **({"by_expert": _rounded(volume.by_expert.tolist())} if several else {}),
            "samples": _rounded(volume.samples.tolist()),
        },
        "p_empty": _rounded(volume.p_empty),
        "entropy": {name: _rounded(value) for name, value in lesion.entropy._asdict().items()},
    }


def lesion_of(record: Mapping[str, Any], number: int, file: Path) -> Lesion:
    """The lesion of a record; unknown fields are ignored.

    Args:
        record: of the file.
        number: of the record, from 1.
        file: for messages.

    Raises:
        DataError: if a field is missing or invalid.
    """
    try:
        return _lesion(record)
    except KeyError as error:
        raise DataError(f"{file}: lesion {number} lacks {error}") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: lesion {number} is invalid: {error}") from error


def as_read_back(lesions: Sequence[Lesion], *, classes: Sequence[str] = ("",)) -> tuple[Lesion, ...]:
    """Lesions of a case with these foreground classes, with the digits that the file has."""
    read = [_lesion(lesion_record(lesion)) for lesion in lesions]
    return tuple(
        one._replace(label=lesion.label if len(classes) > 1 else classes[0], found=lesion.found)
        for one, lesion in zip(read, lesions, strict=True)
    )


def _lesion(record: Mapping[str, Any]) -> Lesion:
    box, centroid = record.get("box_voxels"), record.get("centroid_mm")
    volume = _volume(record["volume_ml"], float(record["p_empty"]))
    probs = record["expert_probs"] if len(volume.samples) > 1 else record.get("expert_probs", [1.0])
    return Lesion(
        number=int(record["lesion"]),
        position_mm=_triple(record["position_mm"]["ras"]),
        in_consensus=bool(record["in_consensus"]),
        centroid_mm=None if centroid is None else _triple(centroid["ras"]),
        expert_probs=np.asarray(probs, dtype=np.float64),
        volume_ml=volume,
        touches_edge=bool(record.get("touches_edge", False)),
        same_as=record.get("same_as_lesion"),
        entropy=LesionEntropy(**record["entropy"]) if "entropy" in record else LesionEntropy(0.0, 0.0, 0.0),
        box=None if box is None else Box(_indices(box["start"]), _indices(box["stop"])),
        nodule_id=str(record.get("nodule_id") or ""),
        label=str(record.get("class") or ""),
    )


def _volume(record: Mapping[str, Any], p_empty: float) -> VolumeDistribution:
    samples = np.asarray(record["samples"], dtype=np.float64)
    mean, p05, p50, p95 = (float(record[name]) for name in ("mean", "p05", "p50", "p95"))
    many = int(record.get("quantile_samples", samples.size))
    return VolumeDistribution(samples, samples.mean(axis=1), mean, p05, p50, p95, p_empty, many)


def _position(position_mm: Position) -> dict[str, list[float]]:
    ras = list(position_mm)
    lps = (LPS_TO_RAS[:3, :3] @ ras).tolist()
    return {"lps": _rounded(lps), "ras": _rounded(ras)}


def _triple(values: Sequence[float]) -> Position:
    x, y, z = values
    return float(x), float(y), float(z)


def _indices(values: Sequence[int]) -> tuple[int, int, int]:
    i, j, k = values
    return int(i), int(j), int(k)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(float(value), _DIGITS) + 0.0
