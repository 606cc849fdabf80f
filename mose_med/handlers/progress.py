"""Progress of a training on the terminal."""

from __future__ import annotations

from ignite.engine import Engine, Events
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """One bar over all iterations, followed by the metrics of the last epoch.

    Args:
        console: where the bar is drawn, usually standard error.
        metrics: which of ``trainer.state.metrics`` are shown, as far as they are there.
    """

    def __init__(self, console: Console, metrics: tuple[str, ...] = ("train_loss", "val_ged")) -> None:
        self.metrics = metrics
        self._progress = Progress(
            TextColumn("training, epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=console,
        )
        self._task = self._progress.add_task("training", total=None, epoch="", numbers="")

    def attach(self, engine: Engine) -> None:
        """Follow a trainer; attach it last, so that it shows what the other handlers have found."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_STARTED, self.begin_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.end_epoch)

    def start(self, engine: Engine) -> None:
        """Show the bar from where the training starts or resumes."""
        total = engine.state.max_epochs * engine.state.epoch_length
        self._progress.update(self._task, total=total, completed=engine.state.iteration)
        self._progress.start()

    def begin_epoch(self, engine: Engine) -> None:
        """Name the epoch."""
        self._progress.update(self._task, epoch=f"{engine.state.epoch}/{engine.state.max_epochs}")

    def step(self, engine: Engine) -> None:
        """Count an iteration."""
        self._progress.update(self._task, completed=engine.state.iteration)

    def end_epoch(self, engine: Engine) -> None:
        """Show the numbers of the epoch."""
        found = [f"{name} {engine.state.metrics[name]:.3f}" for name in self.metrics if name in engine.state.metrics]
        self._progress.update(self._task, numbers=", ".join(found))

    def close(self) -> None:
        """Leave the bar as it is; call it even if the training failed."""
        self._progress.stop()
