"""How unsure the model is of an image, and which image is to be annotated next; without MONAI Label."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from mose_med.errors import MoseError
from mose_med.inferers import CaseDistribution
from mose_med.io import read_study
from pipelines.monailabel.inference import LabelModel

__all__ = ["SCORES", "Images", "annotated_by", "case_scores", "next_image", "score_images"]

#: Scores of an image, and their meaning.
SCORES = {
    "lesion_entropy": "mean entropy of the most uncertain lesion's voxels, nats",
    "between_experts": "part of that entropy that lies between experts, nats",
    "volume_spread": "(p95 - p05) / (p95 + p05) of the volume of the lesion where it is largest",
}
_RECORD = "mose"
#: Tags of labels that no annotator made.
_OF_MODELS = ("original",)


class Images(Protocol):
    """What is used of a datastore of MONAI Label."""

    def list_images(self) -> list[str]:
        """Ids of all images."""
        ...

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image."""
        ...

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is recorded of an image."""
        ...

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Record more of an image."""
        ...

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Labels of an image, by tag."""
        ...


def case_scores(distribution: CaseDistribution) -> dict[str, float]:
    """Scores of a case: of the lesion that has the highest, each 0 without lesions."""
    lesions = distribution.lesions
    spreads = []
    for lesion in lesions:
        low, high = lesion.volume_ml.p05, lesion.volume_ml.p95
        spreads.append((high - low) / (high + low) if high + low > 0 else 0.0)
    return {
        "lesion_entropy": max((float(lesion.entropy.total) for lesion in lesions), default=0.0),
        "between_experts": max((float(lesion.entropy.between) for lesion in lesions), default=0.0),
        "volume_spread": max(map(float, spreads), default=0.0),
    }


def score_images(model: LabelModel, images: Images, score: str) -> dict[str, int]:
    """Record a score of every image; an image is inferred once for all scores, and again only with other weights.

    Returns:
        How many images were scored, inferred and could not be used.
    """
    weights = model.model().weights_sha256
    counts = {"scored": 0, "inferred": 0, "failed": 0}
    for image in images.list_images():
        record = images.get_image_info(image).get(_RECORD, {})
        if record.get("weights_sha256") != weights:
            record = {"weights_sha256": weights, **_scored(model, Path(images.get_image_uri(image)))}
            counts["inferred"] += 1
        found = score in record
        images.update_image_info(image, {_RECORD: record, **({score: record[score]} if found else {})})
        counts["scored" if found else "failed"] += 1
    return counts


def _scored(model: LabelModel, path: Path) -> dict[str, Any]:
    try:
        return case_scores(model.distribution(read_study(path), None))
    except MoseError as error:
        return {"failed": type(error).__name__}


def annotated_by(tags: Collection[str], rater: str | None) -> bool:
    """Whether an image with labels of these tags is done: by a rater, or by anybody where none is named."""
    return rater in tags if rater else bool(set(tags) - set(_OF_MODELS))


def next_image(images: Images, score: str, rater: str | None) -> str | None:
    """The image with the highest score that is not annotated yet; one without a score comes after those that have it.

    Args:
        images: of the datastore.
        score: one of :data:`SCORES`.
        rater: tag of the annotator who asks; None for all together.
    """
    open_images = [
        image for image in images.list_images() if not annotated_by(images.get_labels_by_image_id(image), rater)
    ]

    def rank(image: str) -> tuple[float, str]:
        info: Mapping[str, Any] = images.get_image_info(image)
        return -float(info.get(score, -1.0)), image

    return min(open_images, key=rank, default=None)
