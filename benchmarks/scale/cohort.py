"""Throughput of one and two workers, overhead of a case, and discovery of very many studies.

    python -m benchmarks.scale.cohort --output benchmarks/results/cohort.json

Two cohorts of NIfTI volumes of noise with listed positions; the network has random weights. Within a cohort the size of
a volume, the distance of slices, the number of positions and how near they are to each other vary independently. No
volume of the one has the size of one of the other, so that a model fitted on the first can be checked on the second
(``benchmarks/scale/simulation.py``).

Workers have one thread each. With one case in hand a worker does one stage at a time and work is bound by its core;
with three, as is the default, reading and writing overlap with inference.

Runs of one and two workers take turns; a speed-up is the median over the turns. Throughput is taken from the first
case's start to the last one's end, without the start of the workers. Overhead is what one worker spends beside reading,
inference and writing. Discovery is ``mose-med infer --dry-run`` in a separate process, imports included.

Targets: two workers reach 1.8 times the throughput of one; overhead is below 50 ms a case; 100,000 study folders are
found in 20 s and 500 MB.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch

from benchmarks.machine import machine
from mose_med.checkpoint import Checkpoint, ModelConfig, write_checkpoint
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.run import infer_cohort

NETWORK = {"channels": [16, 32, 64, 64], "num_experts": 4, "latent_dim": 1}
STAGES = ("read_s", "infer_s", "write_s")
#: Workers and cases in hand of the runs of a cohort.
RUNS = {"fit": ((1, 1), (2, 1), (1, 3), (2, 3)), "check": ((1, 1), (2, 1))}
#: A process that does what the command does and tells its largest memory, and that of its largest child.
_COMMAND = """
import atexit, pathlib, re, resource
status = pathlib.Path("/proc/self/status")
child_kb = lambda: resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
atexit.register(lambda: print(re.search(r"VmHWM:\\s*([0-9]+)", status.read_text())[1], child_kb()))
from pipelines.cli import main
main()
"""


class Sizes(NamedTuple):
    """From which the cases of a cohort are drawn: voxels along a side, slices, their distance, listed positions."""

    sides: tuple[int, ...]
    slices: tuple[int, ...]
    apart_mm: tuple[float, ...]
    positions: tuple[int, ...]


COHORTS = {
    "fit": Sizes((128, 192, 256), (40, 70, 110), (1.0, 2.0, 4.0), (1, 2, 4)),
    "check": Sizes((160, 224), (55, 90), (1.25, 3.0), (1, 2, 4)),
}


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_weights(Path(folder) / "weights.pt")
        results: dict[str, Any] = {"machine": machine(), "command": "python -m benchmarks.scale.cohort"}
        results["discovery"] = discovery(Path(folder), checkpoint, options.folders)
        results["cohorts"] = {
            name: measure(Path(folder) / name, checkpoint, name, options.cases, options.repeats) for name in COHORTS
        }
    report(results)
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20, help="studies of a cohort")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind")
    parser.add_argument("--folders", type=int, default=100_000, help="study folders to find")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    return parser.parse_args()


def write_weights(checkpoint: Path) -> Path:
    torch.manual_seed(0)
    config = ModelConfig(NETWORK, Preprocessing(roi_size=(64, 64)), ("background", "nodule"), num_raters=4)
    write_checkpoint(checkpoint, Checkpoint(MoSE(**NETWORK).state_dict(), config))
    return checkpoint


def discovery(folder: Path, checkpoint: Path, count: int) -> dict[str, Any]:
    """Find studies by the command; the process tells its own largest memory."""
    root = folder / "tree"
    for n in range(count):
        study = root / f"site-{n % 100:02d}" / f"study-{n:06d}"
        study.mkdir(parents=True)
        for name in ("IM0001", "IM0002"):
            (study / name).touch()
    arguments = ["infer", "--input-dir", root, "--output-dir", folder / "none", "--checkpoint", checkpoint, "--dry-run"]
    start = time.perf_counter()
    command = [sys.executable, "-c", _COMMAND, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    seconds = time.perf_counter() - start
    shutil.rmtree(root)
    assert f"{count} to do" in done.stderr, done.stderr
    largest_mb = max(int(kilobytes) / 1024 for kilobytes in done.stdout.split()[-2:])
    return {"studies": count, "seconds": round(seconds, 2), "largest_mb": round(largest_mb, 1)}


def measure(folder: Path, checkpoint: Path, cohort: str, cases: int, repeats: int) -> dict[str, Any]:
    """Runs of a cohort in turns; stages of a case are medians over the turns."""
    make_studies(folder / "studies", COHORTS[cohort], cases)
    measured: dict[tuple[int, int], list[dict[str, Any]]] = {kind: [] for kind in RUNS[cohort]}
    for _ in range(repeats):
        for (workers, in_flight), done in measured.items():
            output = folder / "out"
            crew = {"workers": workers, "in_flight": in_flight}
            infer_cohort(CohortOptions(str(output), checkpoint, folder / "studies", device="cpu", quiet=True, **crew))
            done.append(outcome(output))
            shutil.rmtree(output)
    return {
        "cases": next(iter(measured.values()))[0]["cases"],
        "runs": [
            {"workers": workers, "in_flight": in_flight} | summary(done)
            for (workers, in_flight), done in measured.items()
        ],
    }


def make_studies(folder: Path, sizes: Sizes, count: int) -> None:
    """Volumes of noise, in a random order of sizes."""
    random = np.random.default_rng(0)
    for n in range(count):
        side, slices, apart_mm, positions = (random.choice(values) for values in sizes)
        affine = np.diag([-0.7, -0.7, apart_mm, 1.0])
        values = random.integers(-1000, 400, (side, side, slices), dtype=np.int16)
        image = nib.Nifti1Image(values, affine)
        image.header.set_xyzt_units("mm")
        study = folder / f"study-{n:03d}"
        study.mkdir(parents=True)
        nib.save(image, study / "ct.nii.gz")
        shape = np.array([side, side, slices])
        spread = random.uniform(0.1, 0.8)
        places = (0.5 + spread * random.uniform(-0.5, 0.5, (positions, 3))) * shape
        rows = [",".join(f"{v:.2f}" for v in affine[:3, :3] @ place) for place in places]
        (study / "nodules.csv").write_text("\n".join(["x_ras_mm,y_ras_mm,z_ras_mm", *rows]) + "\n")


def outcome(output: Path) -> dict[str, Any]:
    """Work and times of every case, in the order of the studies, and the span of the run."""
    with (output / "private" / "case_map.csv").open(newline="") as stream:
        cases = [row["case"] for row in sorted(csv.DictReader(stream), key=lambda row: row["source"])]
    runs = [json.loads((output / case / "run.json").read_text()) for case in cases]
    begin = min(datetime.fromisoformat(run["started"]) for run in runs)
    end = max(datetime.fromisoformat(run["finished"]) for run in runs)
    return {
        "span_s": (end - begin).total_seconds(),
        "cases": [work(output / case) for case in cases],
        "stages": {stage: [run[stage] for run in runs] for stage in STAGES},
    }


def work(folder: Path) -> dict[str, float]:
    """What the stages of a case depend on; ``slab`` are whole slices of which a part was looked at."""
    run = json.loads((folder / "run.json").read_text())
    shape = json.loads((folder / "provenance.json").read_text())["input"]["shape"]
    return {
        "mvoxels": math.prod(shape) / 1e6,
        "windows": run["windows"],
        "region_mvoxels": run["region_voxels"] / 1e6,
        "slab_mvoxels": run["region_slices"] * math.prod(shape[:2]) / 1e6,
        "lesions": len(json.loads((folder / "lesions.json").read_text())["lesions"]),
        "output_mb": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
    }


def summary(done: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over repeated runs."""
    stages = {stage: np.median([run["stages"][stage] for run in done], axis=0).round(4).tolist() for stage in STAGES}
    return {"spans_s": [run["span_s"] for run in done]} | stages


def speedups(runs: list[dict[str, Any]], in_flight: int) -> list[float]:
    """Throughput of two workers over that of one, by turn."""
    one, two = (run["spans_s"] for run in runs if run["in_flight"] == in_flight)
    return [round(a / b, 3) for a, b in zip(one, two, strict=True)]


def overhead_ms(runs: list[dict[str, Any]]) -> float:
    """What one worker with one case in hand spends beside the stages, by case."""
    run = next(run for run in runs if run["workers"] == run["in_flight"] == 1)
    stages_s = sum(sum(run[stage]) for stage in STAGES)
    return 1000 * (statistics.median(run["spans_s"]) - stages_s) / len(run["read_s"])


def report(results: dict[str, Any]) -> None:
    print("| cohort | workers | cases in hand | spans, s |\n|---|---|---|---|")
    for name, cohort in results["cohorts"].items():
        for run in cohort["runs"]:
            spans = ", ".join(f"{span:.2f}" for span in run["spans_s"])
            print(f"| {name} | {run['workers']} | {run['in_flight']} | {spans} |")
    for name, cohort in results["cohorts"].items():
        for in_flight in sorted({run["in_flight"] for run in cohort["runs"]}):
            ratios = speedups(cohort["runs"], in_flight)
            median = statistics.median(ratios)
            print(f"{name}, {in_flight} in hand: two workers over one {median} of {ratios} (target 1.8)")
        print(f"{name}: overhead {overhead_ms(cohort['runs']):.1f} ms a case (target 50 ms)")
    found = results["discovery"]
    print(
        f"{found['studies']:,} folders found in {found['seconds']} s (target 20 s), {found['largest_mb']} MB "
        "(target 500 MB)"
    )


if __name__ == "__main__":
    main()
