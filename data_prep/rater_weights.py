"""How much each rater of a slice counts: the weights v that the loss and the metrics take."""

from __future__ import annotations

import hashlib
from typing import Literal

__all__ = ["Labels", "MissingRaters", "rater_weights"]

MissingRaters = Literal["empty", "drop"]
Labels = Literal["all", "one"]


def rater_weights(
    num_raters: int,
    num_marked: int,
    *,
    missing: MissingRaters = "empty",
    labels: Labels = "all",
    key: str = "",
) -> list[float]:
    """Weights of a slice's masks, which sum to 1.

    Args:
        num_raters: masks of the slice; those of raters who marked the object come first.
        num_marked: raters who marked the object, on this slice or on another. 0 means that all of them looked and saw
            none: nobody is missing.
        missing: a rater who did not mark the object counts as an empty mask, or is dropped (weight 0). One who marked
            it, but not on this slice, says that it has ended, and always counts.
        labels: every rater that counts has the same weight, or one of them, drawn by ``key``, has all of it.
        key: what the draw follows from: seed and slice.

    Example:
        >>> rater_weights(4, 2, missing="drop")
        [0.5, 0.5, 0.0, 0.0]
    """
    counted = num_marked if missing == "drop" and num_marked else num_raters
    if labels == "one":
        drawn = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8], "big") % counted
        return [float(rater == drawn) for rater in range(num_raters)]
    return [1 / counted] * counted + [0.0] * (num_raters - counted)
