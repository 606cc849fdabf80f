"""The datalist: the slices, their annotators and their part of the split.

A datalist is a JSON file in MONAI's datalist form that every ``prepare`` writes and every dataset reads. Reading
validates it against ``datalist.schema.json``, so that a wrong entry is named before anything is trained on it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from mose_med.data.class_flips import ClassFlip
from mose_med.errors import ConfigError
from mose_med.files.tables import read_json

__all__ = ["ID_KEY", "PARTS", "Datalist", "DatalistEntry", "load_datalist"]

#: The parts of the split.
PARTS = ("training", "validation", "test")
#: Entry of the file that says which key its ids are keyed hashes with.
ID_KEY = "id_key_sha256"


@dataclass(frozen=True)
class DatalistEntry:
    """One slice.

    Attributes:
        image: absolute path of a NIfTI file (i, j, k) in HU.
        label: absolute path of a NIfTI file (i, j, k, R) of integer classes.
        slice_index: index k of the slice in both files.
        z_mm: position of the slice in the patient; None where the source has none.
        rater_weights: weight of every rater, summing to 1.
        raters_present: how many raters annotated the slice.
        nodule_id: which nodule (object) the slice shows.
        patient_id: whose it is.
        series_uid: which CT series it was cut from.
        padded: whether the window reaches past the edge of the image.
        features: what every rater says of the nodule, by feature; None where a rater says nothing.
    """

    image: Path
    label: Path
    slice_index: int
    z_mm: float | None
    rater_weights: tuple[float, ...]
    raters_present: int
    nodule_id: str
    patient_id: str
    series_uid: str
    padded: bool = False
    features: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Datalist:
    """A whole datalist.

    Attributes:
        name: of the data set.
        num_raters: annotations of every slice; missing ones count as empty masks or have weight 0.
        classes: name of every class, background first.
        source: where the data come from, in words.
        root: folder of the datalist file.
        parts: entries of each of :data:`PARTS`.
        flips: class flips whose modes are the raters, of data sets that store one label map for all of them.
        spacing_mm: in-plane spacing that all slices were resampled to; None if each has its own.
        id_key_sha256: of the key that ids of patients and series are keyed hashes with; None if they are their own.
    """

    name: str
    num_raters: int
    classes: tuple[str, ...]
    source: str
    root: Path
    parts: Mapping[str, tuple[DatalistEntry, ...]]
    flips: tuple[ClassFlip, ...] = ()
    spacing_mm: float | None = None
    id_key_sha256: str | None = None

    @property
    def num_masks(self) -> int:
        """Masks that are stored of every slice."""
        return 1 if self.flips else self.num_raters

    def part(self, name: str) -> tuple[DatalistEntry, ...]:
        """Entries of one part of the split.

        Raises:
            ConfigError: if there is no such part or it has no entries.
        """
        if name not in self.parts:
            raise ConfigError(f"part must be one of {', '.join(PARTS)}, got {name!r}")
        if not self.parts[name]:
            raise ConfigError(f"datalist {self.name} has no {name} entries: prepare it with another split")
        return self.parts[name]

    def images(self, name: str) -> list[dict[str, str]]:
        """Image files of a part, each once, as MONAI's datasets take them.

        Raises:
            ConfigError: if there is no such part or it has no entries.
        """
        return [{"image": str(path)} for path in dict.fromkeys(entry.image for entry in self.part(name))]

    def require(
        self, *, num_raters: int, classes: Iterable[str], spacing_mm: float | None = None, trained: str | None = None
    ) -> Datalist:
        """This datalist, if it has these raters and classes, and slices of the same spacing if they were resampled.

        Args:
            num_raters: R.
            classes: names, background first.
            spacing_mm: in-plane spacing of the preprocessing; None for each image's own.
            trained: name of the model that was trained with them, for the message; None if a config says so.

        Raises:
            ConfigError: naming the first difference.
        """
        rule, advice = ("the config says", "")
        if trained is not None:
            rule, advice = f"{trained} was trained with", ": prepare the data the same way"
        wanted: dict[str, Any] = {"num_raters": num_raters, "classes": list(classes)}
        found: dict[str, Any] = {"num_raters": self.num_raters, "classes": list(self.classes)}
        if self.spacing_mm is not None:
            wanted["spacing_mm"], found["spacing_mm"] = spacing_mm, self.spacing_mm
        for name, value in wanted.items():
            if found[name] != value:
                raise ConfigError(f"datalist {self.name} has {name} {found[name]}, {rule} {value}{advice}")
        return self


def load_datalist(path: str | os.PathLike[str]) -> Datalist:
    """Read and validate a datalist.

    Args:
        path: JSON file as ``mose-med prepare`` writes it.

    Returns:
        The datalist, its paths made absolute. The image files are not opened.

    Raises:
        ConfigError: if the file is missing or no JSON, if an entry does not fit (named with its field), or if there is
            no entry at all.
    """
    source = Path(path)
    content = _read_json(source)
    _check_schema(content, source)
    for part in PARTS:
        for index, entry in enumerate(content[part]):
            _check_raters(entry, content["num_raters"], f"datalist {source}: {part}[{index}]")
    if not any(content[part] for part in PARTS):
        raise ConfigError(f"datalist {source} has no entries: prepare found no annotated slice")
    root = source.resolve().parent
    return Datalist(
        name=content["name"],
        num_raters=content["num_raters"],
        classes=tuple(content["classes"]),
        source=content["source"],
        root=root,
        parts={part: tuple(_entry(values, root) for values in content[part]) for part in PARTS},
        flips=tuple(ClassFlip(**flip) for flip in content.get("flips", ())),
        spacing_mm=content.get("spacing_mm"),
        id_key_sha256=content.get(ID_KEY),
    )


def _read_json(source: Path) -> Any:
    if not source.is_file():
        state = "is no file" if source.exists() else "does not exist"
        raise ConfigError(f"datalist {source} {state}: name the dataset.json that `mose-med prepare` wrote")
    return read_json(source, "datalist", ConfigError)


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(files("mose_med.data").joinpath("datalist.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


#: Characters of a message of the schema that are shown.
_LONGEST_MESSAGE = 200


def _check_schema(content: Any, source: Path) -> None:
    error: ValidationError | None = best_match(_validator().iter_errors(content))
    if error is not None:
        place = error.json_path.removeprefix("$").removeprefix(".") or "the file"
        raise ConfigError(f"datalist {source}: {place} does not fit: {_shortened(error.message)}")


def _shortened(message: str) -> str:
    """A message of the schema, which repeats the value before it says the rule, however long the value is."""
    if len(message) <= _LONGEST_MESSAGE:
        return message
    return f"{message[: _LONGEST_MESSAGE // 2]} .. {message[-_LONGEST_MESSAGE // 2 :]}"


def _check_raters(entry: Mapping[str, Any], num_raters: int, place: str) -> None:
    weights, present = entry["rater_weights"], entry["raters_present"]
    of_raters = {"rater_weights": weights}
    of_raters |= {f"features.{name}": ratings for name, ratings in entry.get("features", {}).items()}
    for field_name, values in of_raters.items():
        if len(values) != num_raters:
            raise ConfigError(f"{place}.{field_name} must have num_raters = {num_raters} entries, got {len(values)}")
    if not math.isclose(sum(weights), 1.0, abs_tol=1e-4):
        raise ConfigError(f"{place}.rater_weights must sum to 1, got {sum(weights):.6g}")
    if present > num_raters:
        raise ConfigError(f"{place}.raters_present must be <= num_raters = {num_raters}, got {present}")


def _entry(values: dict[str, Any], root: Path) -> DatalistEntry:
    return DatalistEntry(
        image=root / values["image"],
        label=root / values["label"],
        slice_index=values["slice"],
        z_mm=values["z_mm"],
        rater_weights=tuple(values["rater_weights"]),
        raters_present=values["raters_present"],
        nodule_id=values["nodule_id"],
        patient_id=values["patient_id"],
        series_uid=values["series_uid"],
        padded=values.get("padded", False),
        features={name: tuple(ratings) for name, ratings in values.get("features", {}).items()},
    )
