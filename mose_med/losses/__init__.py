"""The optimal-transport loss between predicted samples and raters."""

from __future__ import annotations

from mose_med.losses.annealing import LinearSchedule, PlateauSchedule, Schedule, StepSchedule, warmed_up_weights
from mose_med.losses.costs import cross_entropy_cost, dice_cost, focal_cost, iou_cost
from mose_med.losses.energy_distance import energy_distance
from mose_med.losses.grouping import expert_groups
from mose_med.losses.optimal_transport import OptimalTransportLoss
from mose_med.losses.pairwise import PairwiseLoss
from mose_med.losses.standard_form import StandardFormLoss, gumbel_standard_form
from mose_med.losses.transport import transport_plan
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples

__all__ = [
    "ExpertSamples",
    "LinearSchedule",
    "OptimalTransportLoss",
    "PairwiseLoss",
    "PlateauSchedule",
    "RaterMasks",
    "Schedule",
    "StandardFormLoss",
    "StepSchedule",
    "WeightedSamples",
    "cross_entropy_cost",
    "dice_cost",
    "energy_distance",
    "expert_groups",
    "focal_cost",
    "gumbel_standard_form",
    "iou_cost",
    "transport_plan",
    "warmed_up_weights",
]
