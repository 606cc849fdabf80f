"""What inference of a case costs: samples against one pass of the same U-Net, memory of a whole chest, a nodule list.

Three workloads on a synthetic chest, each in a separate process:

- ``compute``: network, sampling and blending of 16 samples over the windows of some slices, timed in turn with one
  deterministic pass of the same backbone over the same windows (ratio of medians).
- ``memory``: the most memory that a process holds that reads 512 x 512 x 600, infers lungs or all, and writes every
  file. The network is of full size and runs on every 50th batch; in between a threshold answers in its place, since
  the time would be hours and the memory is the same.
- ``study``: seconds, imports apart, of ``mose-med infer`` with three listed nodules on 512 x 512 x 300.

On a machine that other programs use, ``--threads 1 --clock cpu`` counts processor time in ``compute``.

    python -m benchmarks.speed.infer [--parts compute memory study] [--repeats 5] [--output infer.json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mose_med.checkpoint import Checkpoint, ModelConfig, write_checkpoint
from mose_med.inferers import infer_case
from mose_med.inferers.noise import draw_case_noise
from mose_med.inferers.sampling import RegionSampler
from mose_med.inferers.windows.asked_regions import searched_region
from mose_med.inferers.windows.cutting import network_input, oriented_volume
from mose_med.io import read_ct
from mose_med.io.case.writing import write_case
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from mose_med.samples import ExpertSamples

TARGETS = {"compute": 1.5, "memory": 3.0, "study": 15.0}
PREPROCESSING = Preprocessing(window_hu=(-1000, 400))
AFFINE = np.diag([-0.7, -0.7, 1.0, 1.0])
SIDE = 512
#: Centres of nodules (i, j, share of the height) and radius in voxels.
NODULES = ((150, 256, 0.5, 8), (360, 250, 0.3, 11), (340, 300, 0.7, 5))


class Baseline(nn.Module):
    """The network's backbone and one output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MoSE().backbone
        self.classify = nn.Conv2d(self.backbone.dense_channels, 2, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Foreground probability (B, H, W)."""
        return self.classify(self.backbone(image).dense_feature).softmax(dim=1)[:, 1]


class MostlyThreshold(MoSE):
    """A network of full size that answers every 50th batch; a threshold answers the others."""

    batches = 0

    def forward(
        self,
        image: Tensor,
        samples_per_expert: int | None = None,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
    ) -> ExpertSamples:
        """Samples of the network, thrown away, or none; then those of the threshold."""
        if self.batches % 50 == 0:
            super().forward(image, samples_per_expert, generator, latents)
        self.batches += 1
        foreground = (image[:, :, None] - 120) / 10 + latents[..., 0][None, :, :, None, None]
        probs = image.new_full((len(image), self.num_experts), 1 / self.num_experts)
        return ExpertSamples(torch.stack([torch.zeros_like(foreground), foreground], dim=3), probs)


def chest(slices: int) -> NDArray[np.int16]:
    """HU (i, j, k) of a noisy body with two lungs and three nodules."""
    rng = np.random.default_rng(0)
    i, j = np.ogrid[:SIDE, :SIDE]
    noise = rng.integers(-20, 21, (SIDE, SIDE)).astype(np.int16)
    body = ((i - 256) / 220) ** 2 + ((j - 256) / 160) ** 2 < 1
    volume = np.empty((SIDE, SIDE, slices), dtype=np.int16, order="F")
    for k in range(slices):
        width = max(0.0, 1 - ((k / slices - 0.5) / 0.46) ** 2)
        plane = np.where(body, 20, -1000)
        for centre in (155, 357):
            plane[((i - centre) / 80) ** 2 + ((j - 256) / 115) ** 2 < width] = -850
        for x, y, height, radius in NODULES:
            plane[(i - x) ** 2 + (j - y) ** 2 + (k - int(height * slices)) ** 2 < radius**2] = 200
        volume[..., k] = plane + np.roll(noise, 37 * k, axis=0)
    return volume


def seconds(run: Callable[[], None], clock: str) -> float:
    now = time.process_time if clock == "cpu" else time.perf_counter
    start = now()
    run()
    return now() - start


def compute(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Sampling a region against one deterministic pass over its windows."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    image = MetaTensor(torch.from_numpy(np.ascontiguousarray(chest(60)[..., 30 : 30 + options.slices]))[None], AFFINE)
    volume = oriented_volume(image, PREPROCESSING.orientation)
    region = searched_region(volume, None, PREPROCESSING.roi_size, 0.25)
    network = MoSE().eval().to(memory_format=torch.channels_last)
    baseline = Baseline().eval().to(memory_format=torch.channels_last)
    noise = draw_case_noise(network, 16 // network.num_experts, 0, seed=0)

    def ours() -> None:
        sampler = RegionSampler(network, volume, PREPROCESSING)
        sampler.regions(region.windows, region.box, noise, sampler.storage([region.box], noise))

    def one_pass() -> None:
        with torch.inference_mode():
            for first in range(0, len(region.windows), 16):
                baseline(network_input(volume, region.windows[first : first + 16], PREPROCESSING))

    times = [(seconds(ours, options.clock), seconds(one_pass, options.clock)) for _ in range(options.repeats + 1)]
    mine, theirs = (statistics.median(column) for column in zip(*times[1:], strict=True))
    return [
        {"part": "compute", "what": f"16 samples, {len(region.windows)} windows, s", "value": mine},
        {"part": "compute", "what": "one deterministic pass, s", "value": theirs},
        {"part": "compute", "what": "ratio", "value": mine / theirs, "target": TARGETS["compute"]},
    ]


def memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak memory of reading, inferring and writing a whole chest."""
    torch.set_num_threads(options.threads)
    loaded = _peak_gb()
    network = MostlyThreshold().eval()
    with torch.no_grad():
        network.priors.log_std.fill_(-3)
    with tempfile.TemporaryDirectory(dir=options.scratch_dir) as folder:
        start = time.perf_counter()
        image = read_ct(options.study)
        read = time.perf_counter()
        result = infer_case(
            network,
            image,
            preprocessing=replace(PREPROCESSING, standardise=False),
            region=options.region,
            scratch_dir=options.scratch_dir,
        )
        inferred = time.perf_counter()
        write_case(Path(folder), result, threads=options.threads)
        written = time.perf_counter()
    what = f"{options.region}, {SIDE} x {SIDE} x {image.shape[3]}"
    return [
        {"part": "memory", "what": f"{what}, GB", "value": _peak_gb(), "target": TARGETS["memory"]},
        {"part": "memory", "what": f"{what}: libraries alone, GB", "value": loaded},
        {"part": "memory", "what": f"{what}: reading, s", "value": read - start},
        {"part": "memory", "what": f"{what}: all but the network, s", "value": inferred - read},
        {"part": "memory", "what": f"{what}: writing, s", "value": written - inferred},
    ]


def study(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of a nodule list, by stage."""
    from pipelines.infer.run import InferOptions, infer

    with tempfile.TemporaryDirectory(dir=options.scratch_dir) as folder:
        root = Path(folder)
        network = MoSE()
        config = ModelConfig({}, PREPROCESSING, ("background", "nodule"), num_raters=4)
        write_checkpoint(root / "weights.pt", Checkpoint(network.state_dict(), config))
        depth = nib.load(options.study).shape[2]
        rows = [",".join(str(v) for v in AFFINE[:3, :3] @ (x, y, int(z * depth))) for x, y, z, _ in NODULES]
        (root / "nodules.csv").write_text("\n".join(["x_ras_mm,y_ras_mm,z_ras_mm", *rows]) + "\n")
        start = time.perf_counter()
        done = infer(
            InferOptions(
                options.study,
                root / "out",
                root / "weights.pt",
                root / "nodules.csv",
                threads=options.threads,
                quiet=True,
            )
        )
        total = time.perf_counter() - start
        stages = json.loads((done.folder / "run.json").read_text(encoding="utf-8"))
    what = f"nodule list, {SIDE} x {SIDE} x {depth}"
    return [
        {"part": "study", "what": f"{what}, s", "value": total, "target": TARGETS["study"]},
        *(
            {"part": "study", "what": f"{what}: {stage}, s", "value": stages[f"{stage}_s"]}
            for stage in ("read", "infer", "write")
        ),
    ]


def _peak_gb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM"))


def alone(run: Callable[[argparse.Namespace], list[dict[str, Any]]], options: argparse.Namespace) -> Any:
    """Run in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (options,))


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if "compute" in options.parts:
        rows += alone(compute, options)
    for part, depth, run in (("memory", options.depth, memory), ("study", options.depth // 2, study)):
        if part not in options.parts:
            continue
        with tempfile.TemporaryDirectory(dir=options.scratch_dir) as folder:
            options.study = Path(folder) / "chest.nii.gz"
            nib.save(nib.Nifti1Image(chest(depth), AFFINE), options.study)
            for region in options.regions if part == "memory" else [None]:
                options.region = region
                rows += alone(run, options)
    return rows


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--regions", nargs="+", choices=["lungs", "full"], default=["lungs", "full"])
    parser.add_argument("--slices", type=int, default=2, help="slices of the compute part, of 25 windows each")
    parser.add_argument("--depth", type=int, default=600, help="slices of the memory part; the study has half of them")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: seconds of all cores, summed")
    parser.add_argument("--scratch-dir", type=Path, help="for temporary files, some 8 GB; the system's own by default")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    return parser.parse_args()


def main() -> None:
    options = parse()
    settings = {key: str(value) for key, value in vars(options).items()}
    settings |= {"torch": torch.__version__, "machine": platform.machine(), "date": datetime.now(UTC).isoformat()}
    rows = measure(options)
    if options.output:
        text = json.dumps({"settings": settings, "results": rows}, indent=2) + "\n"
        options.output.write_text(text, encoding="utf-8")
    table = Table("part", "quantity", "value", "target")
    for row in rows:
        table.add_row(row["part"], row["what"], f"{row['value']:.3g}", f"<= {row['target']}" if "target" in row else "")
    Console().print(table)


if __name__ == "__main__":
    main()
