"""Stops a training whose loss is not finite."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor

from mose_med.errors import ConfigError, MoseError
from mose_med.handlers.processes import is_one_of_several

__all__ = ["StopOnBadLoss"]


class _Step(NamedTuple):
    """One iteration: its place, loss and inputs."""

    epoch: int
    iteration: int
    loss: Tensor
    batch: dict[str, Any]


class StopOnBadLoss:
    """Stop the training with a named error when the loss is NaN or infinite, and keep what the step was given.

    On an accelerator the losses stay there and are read together, every few iterations and before an epoch ends, since
    each reading makes the device wait for Python. The steps since the last reading keep their inputs in memory.

    Args:
        folder: where the inputs of such a step are saved, as ``bad_step_<iteration>.pt``; a dict that
            ``torch.load(path, weights_only=True)`` reads. Of several processes each has its own file.
        every: iterations between two readings; on the CPU every one is read.

    Raises:
        ConfigError: if ``every`` is below 1.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 10) -> None:
        if every < 1:
            raise ConfigError(f"every must be >= 1, got {every}")
        self.folder = Path(folder)
        self.every = every
        self._unread: list[_Step] = []

    def attach(self, engine: Engine) -> None:
        """Look at every iteration of a trainer; attach it before anything that saves weights at the end of an epoch."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.look)

    def __call__(self, engine: Engine) -> None:
        """Remember the loss of the iteration, and check when it is due.

        Raises:
            MoseError: as :meth:`look`.
        """
        state = engine.state
        loss = state.output["loss"].detach()
        self._unread.append(_Step(state.epoch, state.iteration, loss, state.batch))
        if loss.device.type == "cpu" or len(self._unread) >= self.every:
            self.look()

    def look(self) -> None:
        """Check the losses of all iterations since the last check.

        Raises:
            MoseError: naming the first that is not finite.
        """
        steps, self._unread = self._unread, []
        losses = torch.stack([step.loss for step in steps]).tolist() if steps else []
        for step, loss in zip(steps, losses, strict=True):
            if not math.isfinite(loss):
                raise MoseError(
                    f"training loss is {loss} in epoch {step.epoch}, iteration {step.iteration}: "
                    f"lower learning_rate or check the images ({self._saved(step)}); the last checkpoint is intact"
                )

    def _saved(self, step: _Step) -> str:
        process = f"_rank-{dist.get_rank()}" if is_one_of_several() else ""
        path = self.folder / f"bad_step_{step.iteration}{process}.pt"
        inputs = {name: _plain(value) for name, value in step.batch.items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(inputs | {"epoch": step.epoch, "iteration": step.iteration}, path)
        except (OSError, RuntimeError) as error:
            return f"the step's inputs cannot be saved: {str(error).splitlines()[0]}"
        return f"the step's inputs are in {path}"


def _plain(value: Any) -> Any:
    """Tensors without their subclass, and text: what can be read without running code."""
    return value.as_subclass(Tensor).cpu() if isinstance(value, Tensor) else [str(each) for each in value]
