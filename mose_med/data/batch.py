"""From a batch of the data loader to the arguments of network and loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mose_med.errors import ConfigError
from mose_med.runtime.seeds import stream_seed
from mose_med.samples import RaterMasks

__all__ = ["MultiRaterBatch"]


class MultiRaterBatch:
    """``prepare_batch`` of MONAI's trainer and evaluator.

    The trainer calls ``network(image, **arguments)`` and ``loss_function(samples, target)``; the target is a
    :class:`~mose_med.samples.RaterMasks`, and the arguments hold the generator of the latent codes, so that no draw
    depends on global random state.

    Args:
        seed: of the latent codes.
        samples_per_expert: S; None for the network's own number.
        rank: of this process, if there are several: each draws codes of its own.
        fixed: draw the same codes for every batch and epoch, as a validation that is to be compared over epochs needs.
        codes: how they are drawn, see :class:`~mose_med.networks.MoSE`.
        augmentation: dictionary transform of the batch, on its device.
        with_target: also hand the target to the network, which some see in training.

    Raises:
        ConfigError: if ``samples_per_expert`` < 1.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        samples_per_expert: int | None = None,
        rank: int = 0,
        fixed: bool = False,
        codes: str = "random",
        augmentation: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        with_target: bool = False,
    ) -> None:
        if samples_per_expert is not None and samples_per_expert < 1:
            raise ConfigError(f"samples_per_expert must be >= 1, got {samples_per_expert}")
        self.seed = seed
        self.rank = rank
        self.samples_per_expert = samples_per_expert
        self.fixed = fixed
        self.codes = codes
        self.augmentation = augmentation
        self.with_target = with_target
        self._generator = torch.Generator()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Seed the codes of an epoch from (seed, epoch, rank); if they are fixed, from the seed alone."""
        if self.fixed:
            self._generator.manual_seed(stream_seed("fixed codes", self.seed))
        else:
            self._generator.manual_seed(stream_seed("codes", self.seed, epoch, self.rank))

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, RaterMasks, tuple[()], dict[str, Any]]:
        """Image, target, and positional and keyword arguments of the network.

        Args:
            batchdata: ``image`` (B, C, H, W), ``label`` (B, R, H, W), ``rater_weights`` (B, R), and what the
                augmentation asks for in addition.
            device: where to.
            non_blocking: passed to ``Tensor.to``.
            **kwargs: passed to ``Tensor.to`` of the image.
        """
        if self.fixed:
            self.set_epoch(0)
        weights = batchdata["rater_weights"].to(device=device, non_blocking=non_blocking)
        maps = batchdata | {
            "image": batchdata["image"].to(device=device, non_blocking=non_blocking, **kwargs),
            "label": batchdata["label"].to(device=device, non_blocking=non_blocking),
        }
        if self.augmentation is not None:
            maps = self.augmentation(maps)
        arguments: dict[str, Any] = {"generator": self._generator, "samples_per_expert": self.samples_per_expert}
        if self.codes != "random":
            arguments["codes"] = self.codes
        target = RaterMasks(maps["label"], weights)
        if self.with_target:
            arguments["target"] = target
        return maps["image"], target, (), arguments
