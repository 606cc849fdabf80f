"""What sixteen samples of every model cost, at the channels of ``lidc_small``: the table of docs/models.md.

    python -m benchmarks.speed.sample_costs

Processor seconds of one thread for 8 windows of 64 x 64, the least of several, as ``evaluate`` calls the networks.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

import mose_med.baselines  # noqa: F401  (registers the models)
from mose_med.networks.encoded import encoded
from mose_med.networks.memory import lay_channels_last
from mose_med.networks.protocol import draw_fields, standard_deviates
from mose_med.networks.registry import build

IMAGES, SIDE, SAMPLES = 8, 64, 16
_CHANNELS = [16, 32, 64, 96, 96]
_UNET = {"name": "deterministic_unet", "channels": _CHANNELS}
MODELS: dict[str, dict[str, Any]] = {
    "MoSE, 16 experts": {"name": "mose", "channels": _CHANNELS, "num_experts": 16, "samples_per_expert": 1},
    "hu_variability": {"name": "hu_variability", "channels": _CHANNELS},
    "probabilistic_unet": {"name": "probabilistic_unet", "channels": _CHANNELS},
    "deterministic_unet": _UNET,
    "stochastic_segmentation_network": {"name": "stochastic_segmentation_network", "channels": _CHANNELS},
    "calibrated_adversarial_refinement": {
        "name": "calibrated_adversarial_refinement",
        "channels": _CHANNELS,
        "refinement_channels": 16,
        "discriminator_channels": 32,
        "image_size": [SIDE, SIDE],
    },
    "ensemble of five U-Nets": {"name": "ensemble", "members": [_UNET] * 5},
    "test-time augmentation": {"name": "test_time_augmentation", "member": _UNET},
    "hierarchical_probabilistic_unet": {"name": "hierarchical_probabilistic_unet", "channels": _CHANNELS},
    "phiseg": {"name": "phiseg", "channels": _CHANNELS},
    "mc_dropout": {"name": "mc_dropout", "channels": _CHANNELS},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=6)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("| model | parameters | seconds |\n|---|---|---|")
    for name, settings in MODELS.items():
        parameters, seconds = costs(settings, repeats)
        print(f"| {name} | {parameters:,} | {seconds:.3f} |", flush=True)


@torch.inference_mode()
def costs(settings: dict[str, Any], repeats: int) -> tuple[int, float]:
    """Parameters of a registered network, and processor seconds of its samples."""
    network: Any = build(settings).eval()
    lay_channels_last(network)
    image, generator = torch.zeros(IMAGES, 1, SIDE, SIDE), torch.Generator().manual_seed(0)
    each = max(1, SAMPLES // network.num_experts)
    deviates = standard_deviates(network, each, IMAGES, generator)
    fields = draw_fields(network, image, each, generator)
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        encoded(network, image).samples(deviates, fields)
        seconds.append(time.process_time() - start)
    return sum(parameter.numel() for parameter in network.parameters()), min(seconds)


if __name__ == "__main__":
    main()
