"""What bfloat16 saves: samples of the network and a training step, in turn with the same in float32.

    python -m benchmarks.speed.precision [--threads 2] [--repeats 9] [--slices 8] [--output precision.json]

The network of ``lidc`` with each head. Its samples are compared with one deterministic pass of the same backbone in
float32, over the same slices of 128 x 128; a training step is forward, loss, backward and update. Medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.speed.head import Workload, seconds
from mose_med.inferers.precision import multiplies_bfloat16

TARGETS = {"16 samples, bfloat16": 0.55, "100 samples, bfloat16": 1.0, "training step, bfloat16": 0.6}


def medians(ways: dict[str, Callable[[], None]], options: argparse.Namespace) -> dict[str, float]:
    """Seconds of every way, run in turn after one warm-up each."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats + 1):
        for name, run in ways.items():
            times[name].append(seconds(run, options))
    return {name: statistics.median(column[1:]) for name, column in times.items()}


def rows_of(head: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    exact, short = (argparse.Namespace(**vars(options), bf16=bf16) for bf16 in (False, True))
    baseline = Workload("baseline", exact)
    ours = {"float32": Workload(head, exact), "bfloat16": Workload(head, short)}
    passes: dict[str, Callable[[], None]] = {"deterministic pass, float32": lambda: baseline.eval_pass(1)}
    for samples in (16, 100):
        for name, work in ours.items():
            passes[f"{samples} samples, {name}"] = lambda work=work, samples=samples: work.eval_pass(samples)
    steps = {f"training step, {name}": work.train_step for name, work in ours.items()}
    rows = []
    for ways in (passes, steps):
        found = medians(ways, options)
        base = next(iter(found.values()))
        rows += [
            {"head": head, "what": name, "s": value, "ratio": value / base, "target": TARGETS.get(name)}
            for name, value in found.items()
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="+", choices=["paper", "release"], default=["paper", "release"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--slices", type=int, default=8, dest="batch")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    vars(options).update(size=128, device="cpu", channels_last=True, clock="wall")
    torch.set_num_threads(options.threads)
    rows = [row for head in options.heads for row in rows_of(head, options)]
    table = Table("head", "what", "s", "of the first row", "target")
    for row in rows:
        target = f"<= {row['target']}" if row["target"] else ""
        table.add_row(row["head"], row["what"], f"{row['s']:.3f}", f"{row['ratio']:.2f}", target)
    Console().print(table)
    print(f"matrix units for bfloat16: {multiplies_bfloat16(torch.device('cpu'))}")
    if options.output:
        record = {"machine": machine(), "threads": options.threads, "slices": options.batch, "rows": rows}
        options.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
