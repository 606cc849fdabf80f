"""What the tables of quality compare: each row is a training, as settings over the ``lidc_small`` bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

__all__ = ["PROTOCOL_S", "SAMPLES", "TABLES", "Recipe"]

#: Numbers of samples that rows are scored with.
SAMPLES = (16, 50, 100)

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
        published: scores that the paper has for it, as the table shows them.
    """

    name: str
    overlays: tuple[str, ...] = ("linear",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    of_model: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    labels: Literal["all", "one"] = "all"
    published: str = ""

    @property
    def of_network(self) -> str:
        """All settings over the bundle and its overlays, as YAML."""
        return yaml.safe_dump({**PROTOCOL_S, **self.settings})

    @property
    def key(self) -> str:
        """Names the training by what it is told, so that a row of several tables is trained once."""
        texts = [self.of_network, *self.overlays]
        if self.model:
            texts.append(self.model)
        if self.of_model:
            texts.append(yaml.safe_dump(dict(self.of_model)))
        if (self.share, self.labels) != (1.0, "all"):
            texts.append(f"{self.share} {self.labels}")
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


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
        Recipe("the same, cosine from 0.002, average of the weights", ("cosine",), _SCHEDULE),
        Recipe("with these, all symmetries of a square (**base**)", _BETTER.overlays, _BETTER.settings),
        Recipe("base, and rotation, zoom, shift, intensity", ("cosine",), {**_SCHEDULE, **_STRONG}),
        Recipe(
            "base, and energy distance after transport", ("cosine", "energy_distance"), {**_SCHEDULE, **_SYMMETRIES}
        ),
        Recipe("base, 8 experts of 2 samples", ("cosine",), {**_SCHEDULE, **_SYMMETRIES, **_experts(8, 2)}),
        Recipe("base, 16 experts of 1 sample", ("cosine",), {**_SCHEDULE, **_SYMMETRIES, **_experts(16, 1)}),
        Recipe("base, head of the paper", ("cosine",), {**_SCHEDULE, **_SYMMETRIES, "network::head": "paper"}),
        Recipe(
            "base, divergence averaged over samples, not summed",
            ("cosine",),
            {**_SCHEDULE, **_SYMMETRIES, "kl_reduction": "mean"},
        ),
        Recipe(
            "base, HU of the window instead of standardised slices",
            ("cosine",),
            {**_SCHEDULE, **_SYMMETRIES, "preprocessing::standardise": False},
        ),
        # In bfloat16: every sample has a last level of its own.
        Recipe(
            "base, noise before the last level: three 3 x 3 layers a sample",
            ("cosine", "amp"),
            {**_SCHEDULE, **_SYMMETRIES, "network::noise_level": -2},
        ),
        Recipe("base, a tenth of the central channels dropped", ("cosine", "dropout"), {**_SCHEDULE, **_SYMMETRIES}),
        Recipe(
            "base, residual blocks with group normalisation",
            ("cosine", "backbone_segresnet"),
            {**_SCHEDULE, **_SYMMETRIES},
        ),
    ),
    "ablations": (
        Recipe("MoSE as published", published=".218; .624; .064"),
        Recipe(
            "IoU loss on all pairs instead of transport", ("linear", "ablation_pairwise"), published=".533; .533; .277"
        ),
        Recipe("uniform expert weights", ("linear", "ablation_uniform"), published=".282; .545; .215"),
        Recipe(
            "deterministic experts, one sample each",
            ("linear", "ablation_deterministic"),
            _experts(4, 1),
            published=".246; .591; .142",
        ),
        # Not in the paper: gamma stays at the weight of a sample, so that each receives the same mass.
        Recipe(
            "uniform expert weights, no sample above its weight",
            ("linear", "ablation_uniform"),
            {"gamma_start": 1 / 16, "gamma_epochs": 1_000_000},
            published=".282; .545; .215",
        ),
    ),
    "labels": (
        Recipe("all four", published=".218, .195, .189; .624; .064 (.195, .187, .186; .635; .054)"),
        Recipe(
            "one, drawn for each",
            ("linear", "one_label"),
            labels="one",
            published=".252, .229, .223; .596; .105 (.228, .221, .220; .605; .090)",
        ),
    ),
    "sizes": (
        Recipe("a quarter", settings=_epochs(4), share=0.25, published=".226; .615; .097; .509"),
        Recipe("half", settings=_epochs(2), share=0.5, published=".225; .619; .076; .505"),
        Recipe("all", published=".218; .624; .064; .501"),
    ),
    "experts": tuple(
        Recipe(f"{number} of {each}", ("linear",), _experts(number, each))
        for number, each in ((1, 16), (2, 8), (4, 4), (6, 2), (8, 2), (10, 1))
    ),
    "levels": (
        Recipe("gating and noise at the last level", published=".218; .624; .064"),
        Recipe("gating a third down the encoder", ("linear", "gating_third"), published=".222; .620; .080"),
        Recipe("gating two thirds down", ("linear", "gating_two_thirds"), published=".218; .626; .082"),
        # In bfloat16, which costs no quality (table ``models``): every sample has a decoder of its own here.
        Recipe("noise after a third of the decoder", ("linear", "noise_third", "amp"), published=".224; .625; .086"),
        Recipe("noise after two thirds", ("linear", "noise_two_thirds", "amp"), published=".220; .627; .082"),
        Recipe("DeepLabv3+", ("linear", "backbone_deeplabv3plus"), published=".237; .609; .104"),
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
        Recipe(
            "MoSE, 16 experts of 1 sample, trained in bfloat16", ("linear", "amp"), {**_OF_MODELS, **_experts(16, 1)}
        ),
    ),
}
