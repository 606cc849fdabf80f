"""How far the greedy transport plan is from the exact one, on cost matrices of a real training.

    python -m benchmarks.speed.greedy_vs_exact ../shared/data/lidc_maxslice.npz --output greedy.json

A small MoSE (four experts of four samples) is trained on real nodules with four raters' masks; at a few steps the cost
matrices of nodules it is not trained on are solved both ways for several gamma. Costs are 1 - IoU, so that 0.01 above
the optimum is a hundredth of an IoU. The spread says that there is something to choose: it is the mean over nodules and
raters of the standard deviation of the cost over the samples.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mose_med.losses import OptimalTransportLoss, iou_cost, transport_plan
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

GAMMAS = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
SIZE, BATCH = 48, 16
#: Differences of costs below this are rounding in single precision.
ROUNDING = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nodules", type=Path, help="npz of image_hu (n, 71, 71), mask (n, 4, 71, 71) and split")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 100, 300, 600], help="training steps to look at")
    parser.add_argument("--nodules-compared", type=int, help="held-out nodules to look at; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    images, masks, held_out = read_nodules(options.nodules)
    shown = torch.nonzero(held_out).flatten()[: options.nodules_compared]
    generator = torch.Generator().manual_seed(options.seed)
    torch.manual_seed(options.seed)
    network = small_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    loss = OptimalTransportLoss(gamma=0.5)
    print(
        "| step | spread | gamma | mean exact cost | greedy above exact, mean | 95 % | largest | plans of equal cost |"
    )
    print("|---|---|---|---|---|---|---|---|")
    line = (
        "| {step} | {spread:.3f} | {gamma:g} | {exact:.4f} | {mean:.5f} | {upper:.5f} | {largest:.5f} | {equal:.0%} |"
    )
    rows = []
    for step in range(max(options.steps) + 1):
        if step in options.steps:
            found = compare(network, images[shown], masks[shown], generator, step)
            print(*(line.format(**row) for row in found), sep="\n", flush=True)
            rows += found
        chosen = torch.nonzero(~held_out).flatten()[
            torch.randint(int((~held_out).sum()), (BATCH,), generator=generator)
        ]
        optimizer.zero_grad()
        loss(network(images[chosen], generator=generator), masks[chosen]).backward()
        optimizer.step()
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def small_network() -> MoSE:
    """Four experts of four samples; its batch normalisation follows a training of a few hundred steps."""
    network = MoSE(channels=(8, 16, 32), head="paper")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    return network


def read_nodules(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Network inputs (n, 1, H, W), masks (n, 4, H, W) and which nodules are held out."""
    content = np.load(path)
    window = slice((71 - SIZE) // 2, (71 - SIZE) // 2 + SIZE)
    images = Preprocessing()(torch.from_numpy(content["image_hu"][:, None, window, window].astype(np.float32)))
    masks = torch.from_numpy(content["mask"][:, :, window, window])
    return images, masks, torch.from_numpy(content["split"] == "val")


@torch.inference_mode()
def compare(
    network: MoSE, images: Tensor, masks: Tensor, generator: torch.Generator, step: int
) -> list[dict[str, float]]:
    network.eval()
    parts = zip(images.split(BATCH), masks.split(BATCH), strict=True)
    costs = torch.cat([iou_cost(network(x, generator=generator).weighted().logits, y) for x, y in parts])
    network.train()
    rows = []
    for gamma in GAMMAS:
        value = {s: (transport_plan(costs, None, gamma, s) * costs).sum(dim=(1, 2)) for s in ("greedy", "exact")}
        above = (value["greedy"] - value["exact"]).clamp_min(0)
        rows.append(
            {
                "step": step,
                "spread": costs.std(dim=1).mean().item(),
                "gamma": gamma,
                "exact": value["exact"].mean().item(),
                "mean": above.mean().item(),
                "upper": above.quantile(0.95).item(),
                "largest": above.max().item(),
                "equal": (above < ROUNDING).float().mean().item(),
            }
        )
    return rows


if __name__ == "__main__":
    main()
