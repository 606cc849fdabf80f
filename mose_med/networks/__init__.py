"""Networks: tensors in, tensors out."""

from mose_med.networks.backbones.choice import Backbone
from mose_med.networks.marginal import MarginalMoSE
from mose_med.networks.mose.experts import expert_agreement, expert_usage, merge_experts, merged_settings
from mose_med.networks.mose.network import MoSE
from mose_med.networks.mose.release import load_release_checkpoint
from mose_med.networks.protocol import NoiseField, StochasticNetwork
from mose_med.networks.registry import network_class, register, registered_name, registered_networks
from mose_med.samples import ExpertSamples, ExpertUsage, RaterMasks, WeightedSamples

__all__ = [
    "Backbone",
    "ExpertSamples",
    "ExpertUsage",
    "MarginalMoSE",
    "MoSE",
    "NoiseField",
    "RaterMasks",
    "StochasticNetwork",
    "WeightedSamples",
    "expert_agreement",
    "expert_usage",
    "load_release_checkpoint",
    "merge_experts",
    "merged_settings",
    "network_class",
    "register",
    "registered_name",
    "registered_networks",
]
