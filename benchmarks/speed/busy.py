"""A training step beside another busy process: what it costs, and how long threads should look for work.

    python -m benchmarks.speed.train --busy [--threads 2] [--steps 8] [--output busy.json]

A step of ``lidc_small`` (16 images of 128 x 128, 16 samples each, forward, loss, backward, update) is timed in fresh
processes, once as OpenMP waits by default and once as ``mose-med`` lets it wait, each alone and beside a process that
keeps as many threads as there are cores in products of matrices. Ways take turns; medians count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.table import Table

__all__ = ["measure_busy"]

#: By what the rows are called: what is set in the environment of the process.
WAYS = {"by default": {}, "as mose-med sets it": {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}}
_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_BUSY = "import torch\na = torch.ones(1500, 1500)\nwhile True: a @ a"


def steps(threads: int, number: int) -> None:
    """Print the seconds of each step, after two that warm up."""
    import torch

    from mose_med.losses import OptimalTransportLoss
    from mose_med.networks import MoSE

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = MoSE(channels=(32, 64, 128, 192)).train()
    optimizer, loss = torch.optim.Adam(network.parameters()), OptimalTransportLoss()
    image, raters = torch.randn(16, 1, 128, 128), (torch.rand(16, 4, 128, 128) > 0.9).long()
    seconds = []
    for _ in range(number + 2):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss(network(image), raters, None).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds[2:]))


@contextmanager
def busy_process() -> Iterator[None]:
    """Another process that computes with a thread a core."""
    process = subprocess.Popen([sys.executable, "-c", _BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure_busy(threads: int, number: int, rounds: int = 3) -> dict[str, float]:
    """Median seconds of a step by way and company; prints them as a table."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for company in ("alone", "beside a busy process"):
            for way, settings in WAYS.items():
                with busy_process() if company != "alone" else nullcontext():
                    found.setdefault(f"{way}, {company}", []).extend(_timed(settings, threads, number))
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    table = Table("threads wait", "median step", "fastest")
    for name, seconds in found.items():
        table.add_row(name, f"{medians[name]:.2f} s", f"{min(seconds):.2f} s")
    Console().print(table)
    return medians


def _timed(settings: dict[str, str], threads: int, number: int) -> list[float]:
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES} | settings
    command = [sys.executable, "-m", "benchmarks.speed.busy", str(threads), str(number)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return list(map(float, json.loads(result.stdout.splitlines()[-1])))


if __name__ == "__main__":
    steps(int(sys.argv[1]), int(sys.argv[2]))
