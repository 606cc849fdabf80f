"""What the tables of quality compare: each row is a training, as settings over the ``lidc_small`` bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["PROTOCOL_S", "TABLES", "Recipe"]

#: Protocol S with the recipe as published, over the bundle: the small network on windows of 64 x 64, HU clipped, 14
#: epochs of 16 slices a step.
PROTOCOL_S: Mapping[str, Any] = {
    "network::num_experts": 4,
    "network::samples_per_expert": 4,
    "network::head": "release",
    "val_samples_per_expert": 4,
    "max_epochs": 14,
    "val_interval": 1,
    "gamma_epochs": 7,
    "learning_rate": 0.001,
    "final_learning_rate": 0.00001,
    "max_gradient_norm": None,
    "ema_decay": None,
    "batch_norm_momentum": 0.01,
    "augmentation_transpose": False,
    "max_rotation_degrees": 10.0,
    "max_zoom": 1.0,
    "max_shift": 0.0,
    "max_contrast": 0.0,
    "max_brightness": 0.0,
    "max_noise": 0.0,
}
_SCHEDULE = {"learning_rate": 0.002, "final_learning_rate": 0.0, "ema_decay": 0.99}
_SYMMETRIES = {"augmentation_transpose": True, "max_rotation_degrees": 0.0}
_STRONG = {
    "augmentation_transpose": True,
    "max_rotation_degrees": 45.0,
    "max_zoom": 1.22,
    "max_shift": 0.047,
    "max_contrast": 0.1,
    "max_brightness": 0.1,
    "max_noise": 0.1,
}


@dataclass(frozen=True)
class Recipe:
    """One row of a table.

    Attributes:
        name: of the row.
        overlays: of the bundle, by name.
        settings: over them.
        model: overlay of another model, over the settings; None for MoSE.
        of_model: settings over that overlay.
        share: of the patients to train on.
        labels: all raters of a training slice, or one drawn for each.
    """

    name: str
    overlays: tuple[str, ...] = ("linear",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    of_model: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    labels: Literal["all", "one"] = "all"


def _experts(number: int, each: int) -> dict[str, Any]:
    return {"network::num_experts": number, "network::samples_per_expert": each, "val_samples_per_expert": each}


def _epochs(times: int) -> dict[str, Any]:
    """As many steps with a part of the data, validated as often."""
    return {name: times * PROTOCOL_S[name] for name in ("max_epochs", "gamma_epochs", "val_interval")}


_BETTER = Recipe("as published, better schedule and all symmetries", ("cosine",), {**_SCHEDULE, **_SYMMETRIES})

#: The other methods learn from one rater a step, and have more steps for it.
_OF_MODELS = {"max_epochs": 20, "val_interval": 5, "gamma_epochs": 10}

#: Rows by table; each is trained under protocol S unless its settings say otherwise. In the paper, ``labels`` is table
#: 1 (and 4), ``ablations`` table 2 (and 5), ``sizes`` table 6, ``experts`` figure 5 and ``levels`` table 7.
TABLES: Mapping[str, tuple[Recipe, ...]] = {
    "levers": (
        Recipe("as published"),
        Recipe("+ cosine from 0.002, average of the weights", ("cosine",), _SCHEDULE),
        Recipe("+ all symmetries of a square", _BETTER.overlays, _BETTER.settings),
        Recipe("+ rotation, zoom, shift, intensity", ("cosine",), {**_SCHEDULE, **_STRONG}),
        Recipe("+ energy distance", ("cosine", "energy_distance"), {**_SCHEDULE, **_SYMMETRIES}),
        Recipe("+ 8 experts of 2 samples", ("cosine",), {**_SCHEDULE, **_SYMMETRIES, **_experts(8, 2)}),
        Recipe("+ 16 experts of 1 sample", ("cosine",), {**_SCHEDULE, **_SYMMETRIES, **_experts(16, 1)}),
        Recipe("+ head of the paper", ("cosine",), {**_SCHEDULE, **_SYMMETRIES, "network::head": "paper"}),
        Recipe("+ divergence averaged over samples", ("cosine",), {**_SCHEDULE, **_SYMMETRIES, "kl_reduction": "mean"}),
    ),
    "ablations": (
        Recipe("full"),
        Recipe("IoU loss on all pairs", ("linear", "ablation_pairwise")),
        Recipe("uniform expert weights", ("linear", "ablation_uniform")),
        Recipe("deterministic experts", ("linear", "ablation_deterministic"), _experts(4, 1)),
        # Not in the paper: gamma stays at the weight of a sample, so that each receives the same mass.
        Recipe(
            "uniform expert weights, no sample above its weight",
            ("linear", "ablation_uniform"),
            {"gamma_start": 1 / 16, "gamma_epochs": 1_000_000},
        ),
    ),
    "labels": (Recipe("all raters"), Recipe("one rater", ("linear", "one_label"), labels="one")),
    "sizes": (
        Recipe("a quarter of the patients", settings=_epochs(4), share=0.25),
        Recipe("half of the patients", settings=_epochs(2), share=0.5),
        Recipe("all patients"),
    ),
    "experts": tuple(
        Recipe(f"{number} experts", ("linear",), _experts(number, max(1, 16 // number)))
        for number in (1, 2, 4, 6, 8, 10)
    ),
    "levels": (
        Recipe("gating and noise at the last level"),
        Recipe("gating a third down", ("linear", "gating_third")),
        Recipe("gating two thirds down", ("linear", "gating_two_thirds")),
        Recipe("noise after a third", ("linear", "noise_third")),
        Recipe("noise after two thirds", ("linear", "noise_two_thirds")),
        Recipe("DeepLabv3+", ("linear", "backbone_deeplabv3plus")),
    ),
    "models": (
        Recipe("MoSE, 4 experts of 4 samples", settings=_OF_MODELS),
        Recipe("MoSE, 16 experts of 1 sample", ("linear",), {**_OF_MODELS, **_experts(16, 1)}),
        Recipe("Probabilistic U-Net", settings=_OF_MODELS, model="probabilistic_unet"),
        Recipe("Hierarchical Probabilistic U-Net", settings=_OF_MODELS, model="hierarchical_probabilistic_unet"),
        Recipe("PHiSeg", settings=_OF_MODELS, model="phiseg"),
        Recipe("Stochastic segmentation network", settings=_OF_MODELS, model="stochastic_segmentation_network"),
        Recipe("Adversarial refinement", settings=_OF_MODELS, model="calibrated_adversarial_refinement"),
        Recipe("Variability as a target, after Hu", settings=_OF_MODELS, model="hu_variability"),
        Recipe("U-Net", settings=_OF_MODELS, model="deterministic_unet"),
        Recipe("Monte Carlo dropout", settings=_OF_MODELS, model="mc_dropout"),
        Recipe(
            "Hierarchical Probabilistic U-Net, 0.3 nats a hard voxel",
            settings=_OF_MODELS,
            model="hierarchical_probabilistic_unet",
            of_model={"loss::kappa": 0.3},
        ),
        Recipe(
            "Stochastic segmentation network, loss of the paper",
            settings=_OF_MODELS,
            model="stochastic_segmentation_network",
            of_model={"loss::mean_share": 0.0},
        ),
        Recipe(
            "Hierarchical Probabilistic U-Net, 0.3 nats, three times the learning rate",
            settings=_OF_MODELS,
            model="hierarchical_probabilistic_unet",
            of_model={"loss::kappa": 0.3, "optimizer::lr": "$@learning_rate * 0.3"},
        ),
        Recipe(
            "Probabilistic U-Net, three times the learning rate",
            settings=_OF_MODELS,
            model="probabilistic_unet",
            of_model={"optimizer::lr": "$@learning_rate * 0.3"},
        ),
        # As published, the coarsest of the four latent maps is one number; the bundle's five levels end at 4 x 4.
        Recipe(
            "Hierarchical Probabilistic U-Net, 0.3 nats, three times the learning rate, seven levels",
            settings=_OF_MODELS,
            model="hierarchical_probabilistic_unet",
            of_model={
                "loss::kappa": 0.3,
                "optimizer::lr": "$@learning_rate * 0.3",
                "model::channels": [16, 32, 64, 96, 96, 96, 96],
                "model::latent_dims": [1, 1, 1, 1],
            },
        ),
        Recipe("MoSE, 16 experts of 1 sample, bfloat16", ("linear", "amp"), {**_OF_MODELS, **_experts(16, 1)}),
    ),
}
