"""Cost of the metrics of a batch of sample sets, and beside it the cost of predicting such samples.

    python -m benchmarks.speed.metrics --threads 2 --output metrics.json

Targets: GED and M-IoU of N = 100 samples against R = 4 raters, 128 x 128, B = 32, in under 0.5 s on two cores; and less
than predicting the samples costs.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mose_med.metrics import generalized_energy_distance, matched_iou
from mose_med.networks import MoSE

BATCH, SAMPLES, RATERS, SIZE = 32, 100, 4, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs; the median is reported")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(BATCH, SAMPLES, SIZE, SIZE, generator=generator) > 0.9).to(torch.uint8)
    raters = (torch.rand(BATCH, RATERS, SIZE, SIZE, generator=generator) > 0.9).to(torch.uint8)
    weights = torch.rand(BATCH, SAMPLES, generator=generator).softmax(dim=1)

    def equal_weights() -> None:
        generalized_energy_distance(masks, raters)
        matched_iou(masks, raters)

    def compact_weights() -> None:
        generalized_energy_distance(masks, raters, weights)
        matched_iou(masks, raters, weights)

    network = MoSE().eval()
    image = torch.randn(1, 1, SIZE, SIZE, generator=generator)

    @torch.inference_mode()
    def predict_one() -> None:
        network(image, SAMPLES // network.num_experts, generator)

    results = {
        "metrics_s": median_seconds(equal_weights, options.repeats),
        "metrics_compact_s": median_seconds(compact_weights, options.repeats),
        "metrics_cpu_s": median_seconds(equal_weights, options.repeats, time.process_time),
        "metrics_compact_cpu_s": median_seconds(compact_weights, options.repeats, time.process_time),
        "prediction_s": BATCH * median_seconds(predict_one, options.repeats),
    }
    for name, value in results.items():
        print(f"{name:20} {value:8.3f}{'   target < 0.5' if name.startswith('metrics') else ''}")
    if options.output is not None:
        about = {"threads": options.threads, "machine": platform.processor() or platform.machine()}
        options.output.write_text(json.dumps(results | about, indent=2) + "\n", encoding="utf-8")


def median_seconds(function: Callable[[], None], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median of wall time, or of processor time, which says more on a machine that others use too."""
    function()
    seconds = []
    for _ in range(repeats):
        start = clock()
        function()
        seconds.append(clock() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
