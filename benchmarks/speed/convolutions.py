"""Which way through the backbone is fastest on this machine: memory order, precision, compiler, runtime.

    python -m benchmarks.speed.convolutions [--threads 2] [--repeats 5] [--slices 8]

The U-Net's features of some slices of 128 x 128 in eval mode, every way in turn; the fastest of the repeats counts, and
processor time beside it. A runtime that is not installed is left out.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO

import torch
from torch import Tensor, nn

from mose_med.inferers.precision import chosen_precision
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

SIDE = 128


class Backbone(nn.Module):
    """Dense feature alone."""

    def __init__(self, network: MoSE) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, F, H, W)."""
        return self.network.features(image).dense_feature


def ways(network: MoSE, image: Tensor) -> dict[str, Callable[[], object]]:
    plain, last = Backbone(network), Backbone(copy.deepcopy(network))
    for kernel in (parameter for parameter in last.parameters() if parameter.ndim == 4):
        kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
    turned = image.contiguous(memory_format=torch.channels_last)

    def short() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            last(turned)

    compiled = torch.compile(last)
    found: dict[str, Callable[[], object]] = {
        "eager, float32": lambda: plain(image),
        "eager, float32, channels last": lambda: last(turned),
        "eager, bfloat16, channels last": short,
        "torch.compile, float32, channels last": lambda: compiled(turned),
    }
    if find_spec("onnxruntime") and find_spec("onnxscript"):
        found["onnxruntime, float32"] = with_onnxruntime(plain, image)
    return found


def with_onnxruntime(backbone: nn.Module, image: Tensor) -> Callable[[], object]:
    import onnxruntime

    stream = BytesIO()
    torch.onnx.export(backbone, (image,), stream, dynamo=False, input_names=["image"])
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(stream.getvalue(), settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image.numpy()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slices", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = MoSE().eval()
    image = torch.randn(options.slices, 1, SIDE, SIDE)
    times: dict[str, list[tuple[float, float]]] = {}
    with torch.no_grad():
        found = ways(network, image)
        for repeat in range(options.repeats + 1):
            for name, work in found.items():
                wall, processor = time.perf_counter(), time.process_time()
                work()
                passed = time.perf_counter() - wall, time.process_time() - processor
                times.setdefault(name, []).extend([passed] if repeat else [])
    print("| way | s | processor time, s |\n|---|---|---|")
    for name, all_times in times.items():
        wall, processor = map(min, zip(*all_times, strict=True))
        print(f"| {name} | {wall:.3f} | {processor:.3f} |")
    choice = chosen_precision(network, "auto", Preprocessing())
    print(f"--precision auto takes {choice.precision}: {choice.reason}")


if __name__ == "__main__":
    main()
