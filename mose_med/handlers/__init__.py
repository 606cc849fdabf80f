"""Ignite handlers of a MoSE training, to be named in MONAI bundles."""

from __future__ import annotations

from mose_med.handlers.annealing import Annealing, AnnealingGroup
from mose_med.handlers.averaging import BufferAverage, WeightAverage
from mose_med.handlers.batch_norm import BatchNormMomentum
from mose_med.handlers.checkpoints import BEST_NAME, LAST_NAME, PREVIOUS_NAME, CheckpointKeeper, last_checkpoint
from mose_med.handlers.epochs import EpochMetrics, EpochSeeder, TimeLimit
from mose_med.handlers.gradients import GradientClipping
from mose_med.handlers.guard import StopOnBadLoss
from mose_med.handlers.metrics import ExpertUse, LossComponents, MetricHandler
from mose_med.handlers.progress import TrainingProgress
from mose_med.handlers.tracking.handler import MlflowTracking
from mose_med.handlers.tracking.training_run import STORE_NAME, TrainingRun

__all__ = [
    "BEST_NAME",
    "LAST_NAME",
    "PREVIOUS_NAME",
    "STORE_NAME",
    "Annealing",
    "AnnealingGroup",
    "BatchNormMomentum",
    "BufferAverage",
    "CheckpointKeeper",
    "EpochMetrics",
    "EpochSeeder",
    "ExpertUse",
    "GradientClipping",
    "LossComponents",
    "MetricHandler",
    "MlflowTracking",
    "StopOnBadLoss",
    "TimeLimit",
    "TrainingProgress",
    "TrainingRun",
    "WeightAverage",
    "last_checkpoint",
]
