"""How many times faster than the authors' release: a training step, an evaluation of 16 samples, the metrics.

    python -m benchmarks.speed.against_release [--threads 2] [--repeats 5] [--precision bf16] [--output against.json]

Batch of 16 slices of 128 x 128 with four raters, as in the release's configuration for LIDC-IDRI: release head, four
experts, full-size U-Net, optimal-transport loss. The release itself is not run here: its seconds were measured on 2
cores at the same batch and stand in ``RELEASE`` as ranges; a ratio is given for the lower end. Ours are timed in turn,
and the fastest counts, since whatever else the machine does can only add. Processor time, of all threads, tells
what is left of a figure where the machine was busy. Targets: 10 times a training step, 15 times an evaluation with its
metrics.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.machine import machine
from mose_med.inferers.precision import Precision, computing_in
from mose_med.losses import OptimalTransportLoss
from mose_med.metrics import generalized_energy_distance, matched_iou
from mose_med.networks import MoSE
from pipelines.evaluate.prediction import BatchPrediction

#: Seconds of the release, lowest and highest; of its evaluation 1.0 s are the backbone.
RELEASE = {"training step": (31.0, 38.0), "evaluation of 16 samples with its metrics": (6.4, 7.1)}
BATCH, SIDE, RATERS, SAMPLES = 16, 128, 4, 16


class Ours:
    """The same work, ours."""

    def __init__(self, precision: Precision) -> None:
        torch.manual_seed(0)
        self.precision = precision
        self.network = MoSE(head="release").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer, self.loss = torch.optim.Adam(self.network.parameters()), OptimalTransportLoss()
        self.image = torch.randn(BATCH, 1, SIDE, SIDE)
        rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        distance = ((rows - SIDE / 2) ** 2 + (columns - SIDE / 2) ** 2).sqrt()
        discs = torch.stack([distance < radius for radius in (8, 10, 12, 14)]).long()
        self.raters = discs.expand(BATCH, -1, -1, -1).contiguous()

    def step(self) -> None:
        """Forward, loss, backward and update."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        with computing_in(self.precision, self.image.device):
            samples = self.network(self.image)
        self.loss(samples, self.raters, None).backward()
        self.optimizer.step()

    @torch.inference_mode()
    def predict(self) -> torch.Tensor:
        """Masks of 16 samples."""
        self.network.eval()
        return BatchPrediction(self.network, self.image, 0, self.precision).compact(SAMPLES, 0).masks

    @torch.inference_mode()
    def metrics(self, masks: torch.Tensor) -> None:
        """Energy distance and matched IoU."""
        generalized_energy_distance(masks, self.raters)
        matched_iou(masks, self.raters)

    def evaluate(self) -> None:
        """Predict and score."""
        self.metrics(self.predict())


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of the network's products")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ours = Ours(options.precision)
    masks = ours.predict().clone()
    works = {
        "training step": ours.step,
        "evaluation of 16 samples with its metrics": ours.evaluate,
        "of which metrics": lambda: ours.metrics(masks),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(options.repeats):
        for name, work in works.items():
            found[name].append(seconds(work))
    print("| | release, s | ours, s | processor time, s | times faster |\n|---|---|---|---|---|")
    for name, times in found.items():
        low, high = RELEASE.get(name, (None, None))
        theirs = "-" if low is None else f"{low:g} to {high:g}"
        wall, processor = map(min, zip(*times, strict=True))
        faster = "-" if low is None else f"{low / wall:.1f}"
        print(f"| {name} | {theirs} | {wall:.2f} | {processor:.2f} | {faster} |")
    if options.output:
        content = {"machine": machine(), "threads": options.threads, "precision": options.precision, "seconds": found}
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
