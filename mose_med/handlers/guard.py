"""A guard against training on after the loss has been lost."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor

from mose_med.errors import MoseError
from mose_med.handlers.processes import is_one_of_several

__all__ = ["StopOnBadLoss"]


class StopOnBadLoss:
    """Stop the training with a named error when the loss is NaN or infinite, and keep what the step was given.

    Args:
        folder: where the inputs of such a step are saved, as ``bad_step_<iteration>.pt``; a dict that
            ``torch.load(path, weights_only=True)`` reads. Of several processes each has a file of its own.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def attach(self, engine: Engine) -> None:
        """Look at every iteration of a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Check the loss of the iteration.

        Raises:
            MoseError: if it is not finite.
        """
        loss = engine.state.output["loss"].item()
        if not math.isfinite(loss):
            raise MoseError(
                f"training loss is {loss} in epoch {engine.state.epoch}, iteration {engine.state.iteration}: "
                f"lower learning_rate or check the images ({self._saved(engine)}); the last checkpoint is intact"
            )

    def _saved(self, engine: Engine) -> str:
        process = f"_rank-{dist.get_rank()}" if is_one_of_several() else ""
        path = self.folder / f"bad_step_{engine.state.iteration}{process}.pt"
        inputs = {name: _plain(value) for name, value in engine.state.batch.items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(inputs | {"epoch": engine.state.epoch, "iteration": engine.state.iteration}, path)
        except (OSError, RuntimeError) as error:
            return f"the step's inputs cannot be saved: {str(error).splitlines()[0]}"
        return f"the step's inputs are in {path}"


def _plain(value: Any) -> Any:
    """Tensors without their subclass, and text: what can be read without running code."""
    return value.as_subclass(Tensor).cpu() if isinstance(value, Tensor) else [str(each) for each in value]
