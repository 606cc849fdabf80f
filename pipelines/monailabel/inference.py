"""What the app answers with: a mask of one choice, and all that is known of the lesions; without MONAI Label."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.api.model import Model, load_model
from mose_med.case_contents.maps import class_marks, maps_of_kind, of_class
from mose_med.errors import ConfigError
from mose_med.inferers import CaseDistribution, infer_case
from mose_med.io import Study, read_study, write_nifti
from mose_med.io.case.lesions import lesion_record

__all__ = ["Answer", "Choice", "LabelModel"]

CHOICES = ("consensus", "expert", "sample")


@dataclass(frozen=True)
class Choice:
    """Which mask is answered with.

    Attributes:
        result: the consensus, an expert's own mask, or one sample of an expert.
        expert: its number, from 1.
        sample: its number among the expert's, from 1.
        samples_per_expert: that are drawn.
        seed: of what is random.
    """

    result: Literal["consensus", "expert", "sample"] = "consensus"
    expert: int = 1
    sample: int = 1
    samples_per_expert: int = 4
    seed: int = 0

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Choice:
        """The choice that a request of a client names; clients send numbers as text, and lists of what there is.

        Raises:
            ConfigError: if a value does not fit.
        """
        result = request.get("result", cls.result)
        result = result[0] if isinstance(result, list) else result
        if result not in CHOICES:
            raise ConfigError(f"result must be {' or '.join(CHOICES)}, got {result!r}")
        names = ("expert", "sample", "samples_per_expert", "seed")
        return cls(result, **{name: _whole(request, name, getattr(cls, name)) for name in names})


def _whole(request: Mapping[str, Any], name: str, default: int) -> int:
    least = 0 if name == "seed" else 1
    try:
        value = int(request.get(name, default))
    except (TypeError, ValueError):
        value = least - 1
    if value < least:
        raise ConfigError(f"{name} must be a whole number >= {least}, got {request[name]!r}")
    return value


class Answer(NamedTuple):
    """The file of the mask, and the parameters of the answer."""

    file: Path
    details: dict[str, Any]


class LabelModel:
    """The weights of the app, read when they are needed and again when a training has put others in their place.

    Args:
        weights: files, of which the first that exists counts.
        device: ``auto``, ``cpu`` or ``cuda[:n]``.
    """

    def __init__(self, *weights: Path, device: str = "auto") -> None:
        self._weights = weights
        self._device = device
        self._lock = threading.Lock()
        self._loaded: tuple[tuple[Path, int], Model] | None = None

    @property
    def path(self) -> Path:
        """The weights that count now.

        Raises:
            ConfigError: if there are none.
        """
        found = next((path for path in self._weights if path.exists()), None)
        if found is None:
            raise ConfigError(f"{self._weights[-1]} does not exist: write the app again with mose-med export label-app")
        return found

    def model(self) -> Model:
        """The model, loaded."""
        with self._lock:
            key = (self.path, self.path.stat().st_mtime_ns)
            if self._loaded is None or self._loaded[0] != key:
                self._loaded = key, load_model(self.path, self._device)
            return self._loaded[1]

    def distribution(
        self, study: Study, points: list[list[float]] | None, choice: Choice | None = None
    ) -> CaseDistribution:
        """Infer a study at points (voxels i, j, k), or over the lungs where there are none."""
        choice = choice or Choice()
        model = self.model()
        affine = np.asarray(study.image.affine, dtype=np.float64)
        nodules = None if points is None else [(affine @ [*point[:3], 1])[:3].tolist() for point in points]
        with self._lock:
            return infer_case(
                model.network,
                study.image,
                preprocessing=model.config.preprocessing,
                nodules=nodules,
                samples_per_expert=choice.samples_per_expert,
                seed=choice.seed,
                classes=model.config.classes[1:],
            )

    def answer(self, request: Mapping[str, Any], *, from_points: bool) -> Answer:
        """Answer a request of a client.

        Args:
            request: with ``image``, the values of :class:`Choice` and, from points, ``foreground``: voxels i, j, k.
            from_points: the nodule at each point, instead of what is in the lungs.

        Raises:
            ConfigError: if a value does not fit.
            DataError: if the image cannot be used, or a point lies outside.
        """
        choice = Choice.of(request)
        points = request.get("foreground") or []
        if from_points and not points:
            raise ConfigError("foreground must have the voxel i, j, k of a nodule: click on one")
        study = read_study(Path(request["image"]))
        distribution = self.distribution(study, points if from_points else None, choice)
        return Answer(_written(distribution, study, choice), self._details(distribution, choice))

    def _details(self, distribution: CaseDistribution, choice: Choice) -> dict[str, Any]:
        model, several = self.model(), len(distribution.classes) > 1
        lesions = [lesion_record(lesion, with_class=several) for lesion in distribution.lesions]
        of_one = ("expert_probs", "volume_ml", "p_empty")
        first = {name: lesions[0][name] for name in of_one if name in lesions[0]} if lesions else {}
        labels = {name: value for value, name in enumerate(model.config.classes) if value}
        return {
            "label_names": labels,
            "result": choice.result,
            "lesions": lesions,
            "weights_sha256": model.weights_sha256,
            **first,
        }


def _written(distribution: CaseDistribution, study: Study, choice: Choice) -> Path:
    """File of the chosen mask, on the image's grid; the caller removes it."""
    with tempfile.NamedTemporaryFile(prefix="mose-med-", suffix=".nii.gz", delete=False) as file:
        path = Path(file.name)
    try:
        write_nifti(
            path,
            _mask(distribution, choice),
            shape=distribution.shape,
            dtype=np.uint8,
            affine=distribution.affine,
            transforms=study.transforms,
        )
    except BaseException:
        path.unlink()
        raise
    return path


def _mask(distribution: CaseDistribution, choice: Choice) -> Iterator[NDArray[np.generic]]:
    """The chosen mask, every voxel with the number of its class."""
    of_classes = [_mask_of_class(distribution, choice, mark) for mark in class_marks(distribution.classes)]
    if len(of_classes) == 1:
        return of_classes[0]
    return (
        np.maximum.reduce([np.where(mask, np.uint8(number), np.uint8(0)) for number, mask in enumerate(masks, start=1)])
        for masks in zip(*of_classes, strict=True)
    )


def _mask_of_class(distribution: CaseDistribution, choice: Choice, mark: str) -> Iterator[NDArray[np.generic]]:
    if choice.result == "consensus":
        return distribution.slabs(of_class("consensus", mark))
    if choice.expert > distribution.num_experts:
        raise ConfigError(f"expert must be <= {distribution.num_experts}, got {choice.expert}")
    if choice.result == "expert":
        # Without experts (K = 1) the one mean is the marginal.
        means = maps_of_kind("foreground_probability", distribution.num_experts, [mark])
        means = means or [of_class("probability", mark)]
        slabs = distribution.slabs(means[choice.expert - 1])
        return (np.greater(slab, 0.5).astype(np.uint8) for slab in slabs)
    if choice.sample > distribution.samples_per_expert:
        raise ConfigError(f"sample must be <= {distribution.samples_per_expert}, got {choice.sample}")
    masks = maps_of_kind("masks", distribution.num_experts, [mark])
    return iter([distribution.dense(masks[choice.expert - 1])[..., choice.sample - 1]])
