"""Checks the arguments of a loss: samples and raters must fit each other."""

from __future__ import annotations

from torch import Tensor

from mose_med.errors import ConfigError, ShapeError
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples, checked_weights, weighted_form

__all__ = ["checked_raters", "checked_samples"]


def checked_raters(masks: Tensor | RaterMasks, weights: Tensor | None) -> RaterMasks:
    """Raters with their weights: those given, those that come with the masks, or equal ones.

    Raises:
        ConfigError: if weights come both ways.
        ShapeError: if masks are not integers or weights do not fit.
    """
    if isinstance(masks, RaterMasks):
        if weights is not None:
            raise ConfigError("rater_weights came twice, with the masks and as an argument: leave one out")
        masks, weights = masks
    if masks.is_floating_point() or masks.is_complex():
        raise ShapeError(f"rater_masks must be integer class maps, got {masks.dtype}")
    return RaterMasks(masks, checked_weights(weights, masks, "rater_weights"))


def checked_samples(
    samples: ExpertSamples | WeightedSamples, raters: RaterMasks, ignore_index: int | None
) -> WeightedSamples:
    """Samples in the standard form, if they fit the raters' masks.

    Raises:
        ShapeError: if shapes or weights do not fit, or a mask of a rater who is not missing holds a class that the
            samples lack.
    """
    masks = raters.masks
    logits, weights = weighted_form(samples)
    if logits.ndim < 4 or logits.shape[2] < 2:
        raise ShapeError(f"logits must be samples of at least 2 classes and 1 axis, got shape {tuple(logits.shape)}")
    expected = (logits.shape[0], *logits.shape[3:])
    if (masks.shape[0], *masks.shape[2:]) != expected or masks.ndim < 3 or masks.shape[1] == 0:
        wanted = (expected[0], "R", *expected[1:])
        raise ShapeError(f"rater_masks must have shape {wanted} to fit the samples, got {tuple(masks.shape)}")
    _check_labels(raters, logits.shape[2], ignore_index)
    return WeightedSamples(logits, checked_weights(weights, logits, "sample weights"))


def _check_labels(raters: RaterMasks, num_classes: int, ignore_index: int | None) -> None:
    """On the CPU only: on an accelerator the check would wait for the device, and a wrong label counts for no class."""
    if raters.masks.device.type != "cpu":
        return
    masks = raters.masks[raters.weights > 0]
    wrong = (masks < 0) | (masks >= num_classes)
    if ignore_index is not None:
        wrong &= masks != ignore_index
    if bool(wrong.any()):
        raise ShapeError(f"rater_masks must hold classes 0 to {num_classes - 1}, got {masks[wrong][0].item()}")
