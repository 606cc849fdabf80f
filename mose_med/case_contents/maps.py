"""Which maps the folder of a case has, and how they are stored: light to import, without PyTorch.

Maps are requested by kind: ``masks`` are the samples of every expert (and those in the standard form, where they are
drawn), ``foreground_probability`` the mean of each expert; the others are named as their files are. A network without
experts (K = 1) has its samples in ``sample_masks``, and none of the maps that distinguish experts. A network of several
foreground classes has each map once a class (``probability_class-vessel``); ``expert_probs`` is of all classes.

Probabilities and entropies (nats) are stored as int16, in steps of :data:`STEP`, with the step as ``scl_slope`` of the
NIfTI header: every reader gives numbers from 0 to 1 back. A value is off by half a step at most, 1/2048; half a step
and less is 0. The step is a power of two, so that 0, one half and 1 are kept exactly. ``full`` stores float32.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from mose_med.errors import ConfigError

__all__ = [
    "DEFAULT_OUTPUTS",
    "MAP_STORAGES",
    "OUTPUTS",
    "PROVENANCE_NAME",
    "SAMPLE_MASKS",
    "STEP",
    "MapStorage",
    "class_marks",
    "kind_of_map",
    "maps_of_kind",
    "of_class",
    "outputs_in_order",
]

#: File of a case that records what made it.
PROVENANCE_NAME = "provenance.json"

#: Kinds of maps, and those that are written unless others are requested.
DEFAULT_OUTPUTS = ("masks", "probability", "consensus", "entropy")
OUTPUTS = (*DEFAULT_OUTPUTS, "entropy_between_experts", "foreground_probability", "expert_probs")

#: Masks of the samples of a network without experts.
SAMPLE_MASKS = "sample_masks"
#: Kinds that all classes share.
_OF_ALL_CLASSES = ("expert_probs",)
#: Between the name of a map and the mark of its class, and the most characters of that.
_CLASS = "_class-"
_LONGEST_MARK = 32
#: Kinds that only a network with experts has.
_OF_EXPERTS = ("entropy_between_experts", "foreground_probability", "expert_probs")

MapStorage = Literal["scaled", "full"]
MAP_STORAGES: tuple[MapStorage, ...] = ("scaled", "full")
#: Of a stored probability, and of an entropy in nats.
STEP = 1 / 1024


def kind_of_map(name: str) -> str:
    """The kind of a map, by the name of its file without ``.nii.gz``.

    Example:
        >>> kind_of_map("expert-2_samples"), kind_of_map("expert-1_foreground_probability"), kind_of_map("expert_probs")
        ('masks', 'foreground_probability', 'expert_probs')
        >>> kind_of_map("expert-2_samples_class-vessel"), kind_of_map("entropy_class-vessel")
        ('masks', 'entropy')
    """
    name = name.partition(_CLASS)[0]
    kind = name.partition("_")[2] if name.startswith("expert-") else name
    return "masks" if kind in ("samples", SAMPLE_MASKS) else kind


def class_marks(classes: Sequence[str]) -> tuple[str, ...]:
    """What tells the maps of foreground classes apart in their names: nothing for one class.

    Letters, digits, ``-`` and ``.`` of a name stay, 32 of them at most; marks that would be the same get the number of
    their class. DICOM objects have them in the labels of segments.

    Example:
        >>> class_marks(["nodule"]), class_marks(["lung nodule", "vessel", "lung/nodule"])
        (('',), ('lung-nodule', 'vessel', 'lung-nodule-3'))
    """
    if len(classes) == 1:
        return ("",)
    marks: list[str] = []
    for number, name in enumerate(classes, start=1):
        mark = re.sub("[^A-Za-z0-9.-]+", "-", name).strip("-.")[:_LONGEST_MARK] or str(number)
        while mark.lower() in map(str.lower, marks):
            mark = f"{mark}-{number}"
        marks.append(mark)
    return tuple(marks)


def of_class(name: str, mark: str) -> str:
    """Name of a map of one class.

    Example:
        >>> of_class("probability", "vessel"), of_class("probability", ""), of_class("expert_probs", "vessel")
        ('probability_class-vessel', 'probability', 'expert_probs')
    """
    return f"{name}{_CLASS}{mark}" if mark and name not in _OF_ALL_CLASSES else name


def maps_of_kind(kind: str, num_experts: int, marks: Sequence[str] = ("",)) -> list[str]:
    """Names of the maps of a kind; a network without experts has samples, and no maps by expert.

    Args:
        kind: of the maps.
        num_experts: K.
        marks: of the foreground classes (:func:`class_marks`).

    Example:
        >>> maps_of_kind("masks", 2), maps_of_kind("masks", 1), maps_of_kind("expert_probs", 1)
        (['expert-1_samples', 'expert-2_samples'], ['sample_masks'], [])
        >>> maps_of_kind("entropy", 1, ["nodule", "vessel"])
        ['entropy_class-nodule', 'entropy_class-vessel']
    """
    names = [of_class(name, mark) for mark in marks for name in _maps_of_class(kind, num_experts)]
    return list(dict.fromkeys(names))


def _maps_of_class(kind: str, num_experts: int) -> list[str]:
    if num_experts == 1:
        return [SAMPLE_MASKS] if kind == "masks" else [] if kind in _OF_EXPERTS else [kind]
    what = {"masks": "samples", "foreground_probability": "foreground_probability"}.get(kind)
    return [kind] if what is None else [f"expert-{k + 1}_{what}" for k in range(num_experts)]


def outputs_in_order(kinds: Iterable[str]) -> tuple[str, ...]:
    """Kinds of maps in the order of :data:`OUTPUTS`, each once; ``all`` stands for every one.

    Raises:
        ConfigError: if there is none, or no such kind.

    Example:
        >>> outputs_in_order(["entropy", "masks", "entropy"])
        ('masks', 'entropy')
    """
    wanted = set(kinds)
    unknown = sorted(wanted - {"all", *OUTPUTS})
    if unknown or not wanted:
        got = f"got {unknown[0]!r}" if unknown else "got none"
        raise ConfigError(f"outputs must be all, or some of {', '.join(OUTPUTS)}, {got}")
    return tuple(kind for kind in OUTPUTS if kind in wanted or "all" in wanted)
