"""Published scores to compare with, with the data they were measured on."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PublishedScore", "published_table"]


class PublishedScore(NamedTuple):
    """One line; None where a publication gives no number."""

    method: str
    num_samples: int
    ged: float
    matched_iou: float | None = None
    ece_percent: float | None = None


#: On LIDC v1, all four labels, means of three runs. The MoSE rows are from its paper, table 1 and 4.
_LIDC = (
    PublishedScore("MoSE standard", 16, 0.218, 0.624, 0.064),
    PublishedScore("MoSE standard", 50, 0.195, 0.631, 0.053),
    PublishedScore("MoSE standard", 100, 0.189, 0.636, 0.052),
    PublishedScore("MoSE compact", 16, 0.195, 0.635, 0.054),
    PublishedScore("MoSE compact", 48, 0.187, 0.637, 0.049),
    PublishedScore("MoSE compact", 100, 0.186, 0.638, 0.049),
    PublishedScore("CCDM", 100, 0.183),
    PublishedScore("Flow-SSN", 100, 0.181),
    PublishedScore("ATFM", 100, 0.162),
)
#: On multimodal Cityscapes, from the paper of MoSE.
_CITYSCAPES = (
    PublishedScore("MoSE standard", 16, 0.176, 0.638, 3.030),
    PublishedScore("MoSE standard", 35, 0.155, 0.690, 1.861),
    PublishedScore("MoSE compact", 35, 0.142, 0.761, 0.352),
)
_ON_LIDC = (
    "Published on LIDC v1 (15,096 slices of 128 x 128 from 875 series, split by series, all labels). Compare only "
    "with scores on the same slices and split:"
)
_ON_CITYSCAPES = (
    "Published on multimodal Cityscapes (the official validation set, whole pictures of 256 x 512). Scores above are "
    "of centre crops: compare with care:"
)


def published_table(datalist: str) -> str:
    """Markdown table of published scores, their data named above it.

    Args:
        datalist: name of the data set of the scores to compare.
    """
    heading, scores = (_ON_CITYSCAPES, _CITYSCAPES) if "Cityscapes" in datalist else (_ON_LIDC, _LIDC)
    lines = [heading, "", "| Method | Samples | GED ↓ | M-IoU ↑ | ECE % ↓ |", "|---|---|---|---|---|"]
    for score in scores:
        values = (score.ged, score.matched_iou, score.ece_percent)
        shown = " | ".join("" if value is None else f"{value:.3f}" for value in values)
        lines.append(f"| {score.method} | {score.num_samples} | {shown} |")
    return "\n".join(lines)
