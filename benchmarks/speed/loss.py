"""Cost of the optimal-transport loss beside a U-Net's own training step, and on Cityscapes' problem.

    python -m benchmarks.speed.loss --threads 2 --output loss.json

Targets: on LIDC's problem (B = 16, N = 16, R = 4, C = 2, 128 x 128) forward and backward of the loss take at most 0.15
of a training step (forward, backward and Adam) of the U-Net that MoSE is built on, with one 1x1 layer and a Dice loss
in the place of experts and transport. On Cityscapes' (B = 12, N = 70, R = 32, C = 25, 128 x 128) a process with its
logits, forward and backward of the loss fits in 6 GB, and the greedy plan takes under 50 ms.

What is compared is timed in turn, so that a load that comes and goes meets all of it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mose_med.losses import ExpertSamples, OptimalTransportLoss, RaterMasks, transport_plan
from mose_med.networks.backbones.unet import UNet

SIZE = 128
CHANNELS = (32, 64, 128, 192, 192, 192, 192)
TARGETS = {"loss_over_unet_step": 0.15, "cityscapes_plan_ms": 50.0, "cityscapes_peak_gb": 6.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs; the median is reported")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    results: dict[str, Any] = {"cityscapes_peak_gb": in_a_process(cityscapes_memory_gb, options.threads)}
    results |= in_a_process(timings, options.threads, options.repeats)
    results |= {
        "threads": options.threads,
        "repeats": options.repeats,
        "load_1_minute": os.getloadavg()[0],
        "machine": platform.processor() or platform.machine(),
    }
    for name, value in results.items():
        target = f"   target <= {TARGETS[name]:g}" if name in TARGETS else ""
        print(f"{name:28} {value:10.3f}{target}" if isinstance(value, float) else f"{name:28} {value:>10}")
    if options.output is not None:
        options.output.write_text(json.dumps(results | {"targets": TARGETS}, indent=2) + "\n", encoding="utf-8")


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call in a fresh process, so that neither memory nor caches of one measurement meet another."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def timings(threads: int, repeats: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    lidc = interleaved_medians({"unet": unet_step(), "loss": loss_step()}, repeats)
    plan = interleaved_medians({"plan": plan_step()}, 10 * repeats)["plan"]
    return {
        "unet_step_ms": 1e3 * lidc["unet"],
        "loss_ms": 1e3 * lidc["loss"],
        "loss_over_unet_step": lidc["loss"] / lidc["unet"],
        "cityscapes_plan_ms": 1e3 * plan,
    }


def unet_step(batch: int = 16) -> Callable[[], None]:
    """Training step of the backbone alone, channels last: 1x1 layer, Dice loss against one mask per image, Adam."""
    generator = torch.Generator().manual_seed(0)
    backbone = UNet(2, 1, CHANNELS).to(memory_format=torch.channels_last)
    classify = nn.Conv2d(CHANNELS[0], 2, kernel_size=1)
    optimizer = torch.optim.Adam([*backbone.parameters(), *classify.parameters()], lr=1e-3)
    images = torch.randn(batch, 1, SIZE, SIZE, generator=generator).to(memory_format=torch.channels_last)
    masks = random_raters(batch, 1, 2, generator).masks[:, 0].float()

    def step() -> None:
        optimizer.zero_grad()
        dice_loss(classify(backbone(images).dense_feature), masks).backward()
        optimizer.step()

    return step


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    foreground = logits.softmax(dim=1)[:, 1].flatten(1)
    shared = (foreground * masks.flatten(1)).sum(dim=1)
    return 1 - ((2 * shared + 1) / (foreground.sum(dim=1) + masks.flatten(1).sum(dim=1) + 1)).mean()


def loss_step(batch: int = 16, experts: int = 4, samples: int = 4, raters: int = 4) -> Callable[[], None]:
    """Forward and backward of the loss, down to logits and expert probabilities."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, experts, samples, 2, SIZE, SIZE, generator=generator).requires_grad_()
    probs = torch.rand(batch, experts, generator=generator).softmax(dim=1).requires_grad_()
    target = random_raters(batch, raters, 2, generator)
    loss = OptimalTransportLoss(gamma=0.5)

    def step() -> None:
        logits.grad = probs.grad = None
        loss(ExpertSamples(logits, probs), target).backward()

    return step


def plan_step() -> Callable[[], Tensor]:
    """The greedy plan of Cityscapes' problem."""
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(12, 70, 32, generator=generator)
    weights = torch.rand(12, 32, generator=generator).softmax(dim=1)
    return lambda: transport_plan(cost, weights, 1 / 32)


def cityscapes_memory_gb(threads: int) -> float:
    """Peak resident memory of a process that does forward and backward of the loss once."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 35, 2, 25, SIZE, SIZE, generator=generator).requires_grad_()
    probs = torch.rand(12, 35, generator=generator).softmax(dim=1).requires_grad_()
    raters = random_raters(12, 32, 25, generator)
    loss = OptimalTransportLoss("ce", gamma=1 / 32, merge_iou=0.95, ignore_index=0)
    loss(ExpertSamples(logits, probs), raters).backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def random_raters(batch: int, raters: int, classes: int, generator: torch.Generator) -> RaterMasks:
    masks = torch.randint(0, classes, (batch, raters, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return RaterMasks(masks, torch.full((batch, raters), 1.0 / raters))


def interleaved_medians(steps: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each step, timed in turn after one untimed round."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
