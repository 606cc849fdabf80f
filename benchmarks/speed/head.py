"""What samples cost: MoSE against the same backbone with one output layer, in time and memory.

Every workload is timed next to its baseline, turn by turn, and the ratio of medians is printed beside its target.
Memory is the growth of a fresh process (or the allocator's peak on CUDA) over two training steps. Both sides use the
same memory format, precision and optimiser. On a machine that other programs use, ``--threads 1 --clock cpu`` counts
the time that a core works for this process instead of the time that passes.

    python -m benchmarks.speed.head [--device cuda --bf16] [--repeats 9] [--output head.json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from monai.losses import DiceLoss
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mose_med.losses import OptimalTransportLoss
from mose_med.networks import MoSE
from mose_med.networks.head import heads

TARGETS = {
    "training time": {"paper": 1.25, "release": 2.0},
    "training memory": {"paper": 1.3, "release": 2.0},
    "eval time, 16 samples": {"paper": 1.25, "release": 1.35},
    "eval time, 100 samples": {"paper": 2.5, "release": 3.0},
}
EXPERTS, RATERS = 4, 4


class Baseline(nn.Module):
    """The network's backbone and one output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MoSE().backbone
        self.classify = nn.Conv2d(self.backbone.dense_channels, 2, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, 2, H, W)."""
        logits: Tensor = self.classify(self.backbone(image).dense_feature)
        return logits


class Workload:
    """A network with its batch, able to take a training step or an eval pass."""

    def __init__(self, kind: str, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.kind, self.options = kind, options
        memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
        network = Baseline() if kind == "baseline" else MoSE(head=kind)
        self.network = network.to(options.device, memory_format=memory_format)
        shape = (options.batch, 1, options.size, options.size)
        self.image = torch.randn(shape, device=options.device).contiguous(memory_format=memory_format)
        raters = torch.rand(options.batch, RATERS, options.size, options.size, device=options.device) > 0.9
        self.masks = raters.long()
        self.loss = DiceLoss(softmax=True, to_onehot_y=True) if kind == "baseline" else OptimalTransportLoss()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)

    def train_step(self) -> None:
        """Forward, loss, backward and update."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = self._loss()
        loss.backward()
        self.optimizer.step()

    def eval_pass(self, samples: int) -> None:
        """Logits of ``samples`` samples an image; the baseline has one."""
        self.network.eval()
        with torch.inference_mode(), self._precision():
            if self.kind == "baseline":
                self.network(self.image)
            else:
                self.network(self.image, samples_per_expert=samples // EXPERTS)

    def _loss(self) -> Tensor:
        if self.kind == "baseline":
            loss: Tensor = self.loss(self.network(self.image).float(), self.masks[:, :1])
        else:
            loss = self.loss(self.network(self.image), self.masks)
        return loss

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.options.device, dtype=torch.bfloat16, enabled=self.options.bf16)


def seconds(run: Callable[[], None], options: argparse.Namespace) -> float:
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    start = clock()
    run()
    if options.device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def paired_medians(ours: Callable[[], None], baseline: Callable[[], None], options: argparse.Namespace) -> list[float]:
    """Median seconds of ours and of the baseline, run in turn after one warm-up each."""
    times = [(seconds(ours, options), seconds(baseline, options)) for _ in range(options.repeats + 1)]
    return [statistics.median(column) for column in zip(*times[1:], strict=True)]


def training_memory(kind: str, options: argparse.Namespace) -> float:
    """Bytes that two training steps need on top of the loaded network, in a separate process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_growth, (kind, options))


def _growth(kind: str, options: argparse.Namespace) -> float:
    heads.COMPILED_ON_ACCELERATORS = options.compiled
    torch.set_num_threads(options.threads)
    workload = Workload(kind, options)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = _status_bytes("VmRSS")
    for _ in range(2):
        workload.train_step()
    return (torch.cuda.max_memory_allocated() if options.device == "cuda" else _status_bytes("VmHWM")) - before


def _status_bytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure(head: str, baseline: Workload, options: argparse.Namespace) -> list[dict[str, Any]]:
    ours = Workload(head, options)
    pairs = {
        "training time": paired_medians(ours.train_step, baseline.train_step, options),
        "training memory": [training_memory(head, options), training_memory("baseline", options)],
    }
    for samples in (16, 100):
        pair = paired_medians(lambda n=samples: ours.eval_pass(n), lambda: baseline.eval_pass(1), options)
        pairs[f"eval time, {samples} samples"] = pair
    return [
        {"head": head, "quantity": name, "ours": a, "baseline": b, "ratio": a / b, "target": TARGETS[name][head]}
        for name, (a, b) in pairs.items()
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--compiled", action="store_true", help="the head through torch.compile, on a GPU")
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--heads", nargs="+", choices=["paper", "release"], default=["paper", "release"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128, help="side of the image in pixels, a multiple of 64")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: seconds of all cores, summed")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    return parser.parse_args()


def main() -> None:
    options = parse()
    heads.COMPILED_ON_ACCELERATORS = options.compiled
    torch.set_num_threads(options.threads)
    baseline = Workload("baseline", options)
    rows = [row for head in options.heads for row in measure(head, baseline, options)]
    settings = {key: str(value) for key, value in vars(options).items()}
    settings |= {"torch": torch.__version__, "machine": platform.machine(), "date": datetime.now(UTC).isoformat()}
    if options.output:
        text = json.dumps({"settings": settings, "results": rows}, indent=2) + "\n"
        options.output.write_text(text, encoding="utf-8")
    table = Table("head", "quantity", "ours", "baseline", "ratio", "target")
    for row in rows:
        unit, factor = ("MB", 1e-6) if "memory" in row["quantity"] else ("s", 1.0)
        ours, base = (f"{row[side] * factor:.4g} {unit}" for side in ("ours", "baseline"))
        table.add_row(row["head"], row["quantity"], ours, base, f"{row['ratio']:.2f}", f"<= {row['target']}")
    Console().print(table)


if __name__ == "__main__":
    main()
