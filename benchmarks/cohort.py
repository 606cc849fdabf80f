"""Throughput of one and two workers, overhead of a case, and discovery of very many studies.

    python benchmarks/cohort.py --output cohort.json

Studies are NIfTI volumes of noise with listed positions, in three sizes; the network has random weights. Workers have
one thread and one case in hand each, so that work is bound by the CPU and split over the cores. Throughput is taken
from the first case's start to the last one's end, without the start of the workers. Overhead is what a worker spends
beside reading, inference and writing. ``benchmarks/scale_simulation.py`` fits its cost model on the file of results.

Targets: two workers reach 1.8 times the throughput of one; overhead is below 50 ms a case; 100,000 study folders are
found in 20 s and 500 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from mose_med.checkpoint import Checkpoint, ModelConfig, write_checkpoint
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from pipelines.cohort.entries import find_entries
from pipelines.cohort.options import CohortOptions
from pipelines.cohort.run import infer_cohort

NETWORK = {"channels": [16, 32, 64, 64], "num_experts": 4, "latent_dim": 1}
#: Slices and listed positions of the three sizes.
SIZES = ((40, 1), (80, 2), (120, 4))
SIDE = 192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=18, help="studies to infer")
    parser.add_argument("--folders", type=int, default=100_000, help="study folders to find")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    parser.add_argument("--find", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.find is not None:
        print(json.dumps(find(options.find)))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = {"machine": machine(), "discovery": discovery(Path(folder) / "tree", options.folders)}
        results["runs"] = throughput(Path(folder), options.cases)
    speedup = results["runs"][1]["cases_per_s"] / results["runs"][0]["cases_per_s"]
    results["two_workers_over_one"] = round(speedup, 3)
    report(results)
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    return {"cores": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()}


def discovery(root: Path, count: int) -> dict[str, Any]:
    """Find studies in a process of its own, of which the largest memory is taken."""
    for n in range(count):
        study = root / f"site-{n % 100:02d}" / f"study-{n:06d}"
        study.mkdir(parents=True)
        for name in ("IM0001", "IM0002"):
            (study / name).touch()
    command = [sys.executable, __file__, "--find", str(root)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    shutil.rmtree(root)
    assert found["studies"] == count
    return found


def find(root: Path) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    entries = sorted(find_entries(root))
    seconds = time.perf_counter() - start
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "studies": len(entries),
        "seconds": round(seconds, 2),
        "added_mb": round((largest - before) / 1024, 1),
        "largest_mb": round(largest / 1024, 1),
    }


def throughput(folder: Path, cases: int) -> list[dict[str, Any]]:
    """The same cohort by one worker and by two."""
    checkpoint = folder / "weights.pt"
    torch.manual_seed(0)
    config = ModelConfig(NETWORK, Preprocessing(roi_size=(64, 64)), ("background", "nodule"), num_raters=4)
    write_checkpoint(checkpoint, Checkpoint(MoSE(**NETWORK).state_dict(), config))
    make_studies(folder / "studies", cases)
    runs = []
    for workers in (1, 2):
        output = folder / f"out-{workers}"
        infer_cohort(
            CohortOptions(
                str(output), checkpoint, folder / "studies", device="cpu", workers=workers, in_flight=1, quiet=True
            )
        )
        runs.append({"workers": workers} | measured(output, workers))
    return runs


def make_studies(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    affine = np.diag([-0.7, -0.7, 1.5, 1.0])
    for n in range(count):
        slices, positions = SIZES[n % len(SIZES)]
        values = random.integers(-1000, 400, (SIDE, SIDE, slices), dtype=np.int16)
        image = nib.Nifti1Image(values, affine)
        image.header.set_xyzt_units("mm")
        study = folder / f"study-{n:03d}"
        study.mkdir(parents=True)
        nib.save(image, study / "ct.nii")
        places = np.linspace(0.25, 0.75, positions)[:, None] * np.array([SIDE, SIDE, slices])
        rows = [",".join(f"{v:.2f}" for v in affine[:3, :3] @ place) for place in places]
        (study / "nodules.csv").write_text("\n".join(["x_ras_mm,y_ras_mm,z_ras_mm", *rows]) + "\n")


def measured(output: Path, workers: int) -> dict[str, Any]:
    cases = []
    for folder in output.glob("case-*"):
        run = json.loads((folder / "run.json").read_text())
        shape = json.loads((folder / "provenance.json").read_text())["input"]["shape"]
        run |= {
            "voxels": int(np.prod(shape)),
            "positions": len(json.loads((folder / "lesions.json").read_text())["lesions"]),
        }
        run["output_bytes"] = sum(path.stat().st_size for path in folder.iterdir())
        cases.append(run)
    stages_s = sum(case["read_s"] + case["infer_s"] + case["write_s"] for case in cases)
    begin = min(datetime.fromisoformat(case["started"]) for case in cases)
    end = max(datetime.fromisoformat(case["finished"]) for case in cases)
    span_s = (end - begin).total_seconds()
    return {
        "cases": cases,
        "span_s": round(span_s, 2),
        "cases_per_s": round(len(cases) / span_s, 4),
        "overhead_ms": round(1000 * (span_s * workers - stages_s) / len(cases), 1),
    }


def report(results: dict[str, Any]) -> None:
    found = results["discovery"]
    print("| workers | cases | span, s | cases/s | overhead a case, ms |\n|---|---|---|---|---|")
    for run in results["runs"]:
        count = len(run["cases"])
        print(f"| {run['workers']} | {count} | {run['span_s']} | {run['cases_per_s']} | {run['overhead_ms']} |")
    print(f"two workers over one: {results['two_workers_over_one']} (target 1.8)")
    print(
        f"{found['studies']:,} folders found in {found['seconds']} s (target 20 s), process of "
        f"{found['largest_mb']} MB, {found['added_mb']} MB of it for this (target 500 MB)"
    )


if __name__ == "__main__":
    main()
