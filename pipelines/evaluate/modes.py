"""Data of known modes, such as multimodal Cityscapes: how often each mode and each flipped class is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mose_med.data.class_flips import ClassFlip, flip_modes, mode_probabilities
from mose_med.files.whole_files import write_json
from mose_med.metrics.cumulative import PixelFlipMetric, SampleSetMetric
from mose_med.report.mode_ratios import write_mode_ratios
from mose_med.samples import RaterMasks
from pipelines.evaluate.baselines import rater_probs

__all__ = ["FIGURE_NAME", "MODES_NAME", "TRUTH", "ModeScores"]

MODES_NAME = "modes.json"
FIGURE_NAME = "modes.png"
#: The modes themselves, in place of samples. In a picture that lacks a class two modes are the same, and the first of
#: them counts: so the truth to compare with is what the modes themselves would get.
TRUTH = "truth"


class ModeScores:
    """Shares of modes and flipped classes by method, over all pictures.

    Each sample counts for the mode that it is nearest to in IoU; flips are counted over the voxels of all samples
    (appendix C.2 of the paper).

    Args:
        flips: of the data.
        classes: names of all classes.
    """

    def __init__(self, flips: Sequence[ClassFlip], classes: Sequence[str]) -> None:
        self.flips = tuple(flips)
        self.names = [classes[flip.label] for flip in flips]
        self._num_classes = len(classes)
        self._counted = sorted({label for flip in flips for label in (flip.label, flip.flipped)})
        self._modes: dict[str, SampleSetMetric] = {}
        self._flips: dict[str, PixelFlipMetric] = {}

    def add(self, method: str, masks: Tensor, weights: Tensor, modes: RaterMasks) -> None:
        """Count the samples of a batch.

        Args:
            method: whose samples.
            masks: (B, N, H, W).
            weights: (B, N).
            modes: masks (B, M, H, W) of all modes, nothing flipped in the first, and their probabilities.
        """
        if method not in self._modes:
            self._modes[method] = SampleSetMetric("mode_ratio", self._counted, reduction="mean_batch")
            self._flips[method] = PixelFlipMetric({flip.label: flip.flipped for flip in self.flips})
        self._modes[method](masks, modes.masks, weights=weights)
        self._flips[method](rater_probs(RaterMasks(masks, weights), self._num_classes), modes.masks[:, 0].long())

    def mode_shares(self) -> dict[str, list[float]]:
        """Mean share of every mode, by method."""
        return {method: metric.aggregate().tolist() for method, metric in self._modes.items()}

    def flip_shares(self) -> dict[str, list[float]]:
        """Share of the flipped class in the voxels of every class that flips, by method; nan where it is absent."""
        return {method: metric.aggregate().tolist() for method, metric in self._flips.items()}

    def write(self, folder: Path, title: str) -> None:
        """Write ``modes.json`` and ``modes.png``."""
        modes, flips = self.mode_shares(), self.flip_shares()
        write_json(folder / MODES_NAME, self._plain(modes, flips))
        write_mode_ratios(folder / FIGURE_NAME, modes, flips, self.names, title=title)

    def _plain(self, modes: dict[str, list[float]], flips: dict[str, list[float]]) -> dict[str, Any]:
        happens, probabilities = flip_modes(self.flips), mode_probabilities(self.flips).tolist()
        return {
            "modes": [
                {"flipped": [name for name, flipped in zip(self.names, row, strict=True) if flipped], "probability": p}
                for row, p in zip(happens.tolist(), probabilities, strict=True)
            ],
            "flips": [
                {"class": name, "probability": flip.probability}
                for name, flip in zip(self.names, self.flips, strict=True)
            ],
            "shares": {
                method: {
                    "modes": modes[method],
                    "flips": [None if share != share else share for share in flips[method]],
                    "distance": 0.5 * sum(abs(a - b) for a, b in zip(modes[method], modes[TRUTH], strict=True)),
                }
                for method in modes
            },
        }
