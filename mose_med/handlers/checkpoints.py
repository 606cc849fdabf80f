"""Checkpoints of a training: the last epoch to resume from, the best epoch to use."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events
from torch import nn

from mose_med.checkpoint import Checkpoint, ModelConfig, read_checkpoint, write_checkpoint
from mose_med.errors import ConfigError, DataError
from mose_med.files.whole_files import remove_left_over
from mose_med.handlers.averaging import WeightAverage
from mose_med.handlers.processes import is_first_process

__all__ = ["BEST_NAME", "LAST_NAME", "PREVIOUS_NAME", "CheckpointKeeper", "last_checkpoint"]

#: File of the last whole epoch, with everything that a training needs to resume.
LAST_NAME = "last.pt"
#: The previous one, to resume from if the last is damaged.
PREVIOUS_NAME = "previous.pt"
#: File of the epoch with the lowest metric, with what a user of the weights needs.
BEST_NAME = "best.pt"

_logger = logging.getLogger(__name__)


def last_checkpoint(folder: Path) -> Path | None:
    """File that a training in ``folder`` resumes from: that of the last epoch, or the previous one if it is missing."""
    paths = (folder / name for name in (LAST_NAME, PREVIOUS_NAME))
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path) -> Checkpoint:
    try:
        return read_checkpoint(path)
    except DataError as error:
        previous = path.with_name(PREVIOUS_NAME)
        remedy = f": delete it to resume from {previous.name}" if previous.is_file() and previous != path else ""
        raise DataError(f"{error}{remedy}") from error


class Stateful(Protocol):
    """An optimiser, a scheduler or an annealing."""

    def state_dict(self) -> dict[str, Any]:
        """Plain types and tensors."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take them back."""


class CheckpointKeeper:
    """Write ``last.pt`` after every epoch and ``best.pt`` when the metric is lower than ever; resume from ``last.pt``.

    Attach it to the trainer after anything that changes the optimiser or the metrics at the end of an epoch. Of several
    processes the first writes, and all read: they share the folder.

    Args:
        folder: where the checkpoints are; made if needed.
        network: whose weights are kept.
        config: what the weights mean.
        optimizer: its state is kept.
        scheduler: of the learning rate.
        annealing: settings that change over the epochs, by name.
        ema: average of the weights, if there is one.
        seed: of the training. Order, augmentation and latent codes of an epoch follow from it, so a resume needs no
            more of their state; PyTorch's own generator is saved for all other draws.
        learnt_from: records of this training and of those that its initial weights come from, see
            :mod:`mose_med.data.training_record`; they are kept.
        metric: name in ``engine.state.metrics``; lower is better. Epochs without it are never the best.
        loss: whose state between steps is kept, where it has some: a module with buffers.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        network: nn.Module,
        config: ModelConfig,
        optimizer: Stateful,
        scheduler: Stateful,
        annealing: Mapping[str, Stateful],
        ema: WeightAverage,
        seed: int,
        learnt_from: Sequence[dict[str, Any]] = (),
        metric: str = "val_ged",
        loss: object = None,
    ) -> None:
        self.folder = Path(folder)
        self.network = network
        self.config = config
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.annealing = dict(annealing)
        self.ema = ema
        self.seed = seed
        self.learnt_from = list(learnt_from)
        self.metric = metric
        self.loss = loss
        self.best_epoch = 0
        self.best_value = math.inf

    def attach(self, engine: Engine) -> None:
        """Restore when a trainer starts, save after each of its epochs."""
        engine.add_event_handler(Events.STARTED, self.restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Write the checkpoints of the epoch that has ended.

        The best one goes first: a crash between the two repeats the epoch, and with it the decision.

        Raises:
            DataError: if a file cannot be written; the older one is intact.
        """
        epoch = int(engine.state.epoch)
        metrics = {name: float(value) for name, value in engine.state.metrics.items()}
        best = metrics.get(self.metric, math.inf) < self.best_value
        if best:
            self.best_value, self.best_epoch = metrics[self.metric], epoch
        if not is_first_process():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        weights, ema = self._weights(), self.ema.state_dict()
        if best:
            kept = Checkpoint(weights, self.config, ema=ema, epoch=epoch, metrics=metrics, learnt_from=self.learnt_from)
            self._write(BEST_NAME, kept)
        self._write(
            LAST_NAME,
            Checkpoint(
                weights,
                self.config,
                ema=ema,
                optimizer=self.optimizer.state_dict(),
                scheduler=self.scheduler.state_dict(),
                annealing={name: schedule.state_dict() for name, schedule in self.annealing.items()},
                rng={"seed": self.seed, "torch": torch.get_rng_state()},
                epoch=epoch,
                metrics=metrics | {"best_value": self.best_value, "best_epoch": float(self.best_epoch)},
                learnt_from=self.learnt_from,
                loss=self._loss_state() or None,
            ),
            previous=PREVIOUS_NAME,
        )

    def restore(self, engine: Engine) -> None:
        """Restore the training to the end of the last epoch, if there is one.

        Raises:
            ConfigError: if ``last.pt`` is of another architecture, preprocessing, data set, annealing or seed.
            DataError: if it is damaged.
        """
        if is_first_process():
            for name in (LAST_NAME, PREVIOUS_NAME, BEST_NAME):
                remove_left_over(self.folder / name)
        path = last_checkpoint(self.folder)
        if path is None:
            return
        checkpoint = _read(path)
        self._check(checkpoint, path)
        self.network.load_state_dict(checkpoint.model)
        self.ema.load_state_dict(checkpoint.ema)
        self.optimizer.load_state_dict(checkpoint.optimizer or {})
        self.scheduler.load_state_dict(checkpoint.scheduler or {})
        for name, schedule in self.annealing.items():
            schedule.load_state_dict((checkpoint.annealing or {})[name])
        if checkpoint.loss and isinstance(self.loss, nn.Module):
            self.loss.load_state_dict(checkpoint.loss)
        torch.set_rng_state((checkpoint.rng or {})["torch"])
        self.best_value = checkpoint.metrics["best_value"]
        self.best_epoch = int(checkpoint.metrics["best_epoch"])
        engine.state.epoch = checkpoint.epoch
        engine.state.iteration = checkpoint.epoch * (engine.state.epoch_length or 0)
        _logger.info("resuming after epoch %d of %s", checkpoint.epoch, path.name)

    def _loss_state(self) -> dict[str, torch.Tensor]:
        if not isinstance(self.loss, nn.Module):
            return {}
        return {name: value.detach().cpu().clone() for name, value in self.loss.state_dict().items()}

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().cpu() for name, value in self.network.state_dict().items()}

    def _write(self, name: str, checkpoint: Checkpoint, previous: str | None = None) -> None:
        kept = None if previous is None else self.folder / previous
        try:
            write_checkpoint(self.folder / name, checkpoint, previous=kept)
        except (OSError, RuntimeError) as error:  # PyTorch's zip writer raises RuntimeError on a full disk
            reason = str(error).splitlines()[0]
            raise DataError(f"checkpoint {name} cannot be written ({reason}): the previous one is intact") from error

    def _check(self, checkpoint: Checkpoint, path: Path) -> None:
        remedy = "name another output folder"
        try:
            self.config.require_equal(checkpoint.config, str(path))
        except ConfigError as error:
            raise ConfigError(f"{error}: {remedy}") from None
        kept = sorted(checkpoint.annealing or {})
        if kept != sorted(self.annealing):
            raise ConfigError(f"{path} anneals {kept}, the config says {sorted(self.annealing)}: {remedy}")
        kept, mine = sorted(checkpoint.loss or {}), sorted(self._loss_state())
        if kept != mine:
            raise ConfigError(f"{path} holds the loss state {kept}, the config's loss has {mine}: {remedy}")
        seed = (checkpoint.rng or {}).get("seed")
        if seed != self.seed:
            raise ConfigError(f"{path} was trained with seed {seed}, the config says {self.seed}: {remedy}")
