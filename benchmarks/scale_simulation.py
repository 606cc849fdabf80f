"""What 10^3 to 10^7 studies cost, from stages that were measured, and where the bottleneck moves.

    python benchmarks/cohort.py --output cohort.json
    python benchmarks/scale_simulation.py cohort.json --output scale.json

Reading and writing are fitted as a constant and a part that grows with the voxels, inference as a constant and a part
that grows with the windows, by least squares over the cases of one worker. The model is checked by simulating the
measured runs, of one worker and of two, case by case. Then it is carried over to whole chest CT.

No GPU was measured: the time of a window on a GPU is the option ``--gpu-window-ms``, an assumption to be replaced by a
measurement on the hardware in question.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

#: Windows about one listed position of the benchmark: 20 mm above and below, slices 1.5 mm apart.
WINDOWS_OF_POSITION = 27
STUDIES = (10**3, 10**5, 10**7)
GPUS = (1, 8, 64, 512)


class Line(NamedTuple):
    """Seconds or bytes as ``constant + slope * size``."""

    constant: float
    slope: float

    def at(self, size: float) -> float:
        """Value at a size."""
        return self.constant + self.slope * size


@dataclass(frozen=True)
class CostModel:
    """Stages of a case on one thread; sizes are millions of voxels, and windows."""

    read_s: Line
    infer_s: Line
    write_s: Line
    output_mb: Line
    overhead_s: float


@dataclass(frozen=True)
class Study:
    """A study to carry the model over to, and the hardware that works on it."""

    slices: int
    side: int
    windows: int
    gpu_window_ms: float
    storage_mb_per_s: float

    @property
    def megavoxels(self) -> float:
        """Millions of voxels."""
        return self.slices * self.side**2 / 1e6

    @property
    def input_mb(self) -> float:
        """Of 16 bits a voxel, uncompressed."""
        return 2 * self.megavoxels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", type=Path, help="JSON file of benchmarks/cohort.py")
    parser.add_argument("--slices", type=int, default=300, help="slices of a study of 512 x 512")
    parser.add_argument("--windows", type=int, default=9000, help="windows of a study: 30 on each of 300 slices")
    parser.add_argument("--gpu-window-ms", type=float, default=2.0, help="time of a window on the GPU, an assumption")
    parser.add_argument("--storage-mb-per-s", type=float, default=2000.0, help="what shared storage delivers in all")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    runs = json.loads(options.measured.read_text(encoding="utf-8"))["runs"]
    model = fit(runs[0])
    study = Study(options.slices, 512, options.windows, options.gpu_window_ms, options.storage_mb_per_s)
    checked = [check(model, run) for run in runs]
    rows = [cost(model, study, count, gpus) for count in STUDIES for gpus in GPUS]
    report(model, checked, rows)
    if options.output is not None:
        results = {"model": asdict(model), "study": asdict(study), "checked": checked, "costs": rows}
        options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def fit(run: Mapping[str, Any]) -> CostModel:
    """Cost model of the cases of one worker; no part of it is negative."""
    cases = run["cases"]
    megavoxels = [case["voxels"] / 1e6 for case in cases]
    windows = [case["positions"] * WINDOWS_OF_POSITION for case in cases]
    return CostModel(
        read_s=line(megavoxels, [case["read_s"] for case in cases]),
        infer_s=line(windows, [case["infer_s"] for case in cases]),
        write_s=line(megavoxels, [case["write_s"] for case in cases]),
        output_mb=line(megavoxels, [case["output_bytes"] / 1e6 for case in cases]),
        overhead_s=max(run["overhead_ms"], 0.0) / 1000,
    )


def line(sizes: Sequence[float], values: Sequence[float]) -> Line:
    solution, _ = nnls(np.stack([np.ones(len(sizes)), sizes], axis=1), np.asarray(values))
    return Line(*(float(value) for value in solution))


def check(model: CostModel, run: Mapping[str, Any]) -> dict[str, float]:
    """Simulated and measured span of a run."""
    cases = sorted(run["cases"], key=lambda case: case["started"])
    stages = [
        (
            model.read_s.at(case["voxels"] / 1e6),
            model.infer_s.at(case["positions"] * WINDOWS_OF_POSITION),
            model.write_s.at(case["voxels"] / 1e6) + model.overhead_s,
        )
        for case in cases
    ]
    simulated = simulate(stages, workers=run["workers"], in_flight=1)
    return {
        "workers": run["workers"],
        "simulated_s": round(simulated, 2),
        "measured_s": run["span_s"],
        "error_percent": round(100 * (simulated / run["span_s"] - 1), 1),
    }


def simulate(cases: Iterable[tuple[float, float, float]], *, workers: int, in_flight: int) -> float:
    """Span of a run: each worker has a place for ``in_flight`` cases and does a stage of one case at a time."""
    places = [(0.0, worker, slot) for worker in range(workers) for slot in range(in_flight)]
    heapq.heapify(places)
    free_at = [[0.0, 0.0, 0.0] for _ in range(workers)]
    end = 0.0
    for stages in cases:
        now, worker, slot = heapq.heappop(places)
        for stage, seconds in enumerate(stages):
            now = max(now, free_at[worker][stage]) + seconds
            free_at[worker][stage] = now
        heapq.heappush(places, (now, worker, slot))
        end = max(end, now)
    return end


def cost(model: CostModel, study: Study, count: int, gpus: int) -> dict[str, Any]:
    """A worker for each GPU, stages overlapped; the slowest stage or the storage sets the rate."""
    output_mb = model.output_mb.at(study.megavoxels)
    seconds = {
        "reading": model.read_s.at(study.megavoxels) / gpus,
        "GPU": study.windows * study.gpu_window_ms / 1000 / gpus,
        "writing": (model.write_s.at(study.megavoxels) + model.overhead_s) / gpus,
        "storage": (study.input_mb + output_mb) / study.storage_mb_per_s,
    }
    bottleneck = max(seconds, key=lambda name: seconds[name])
    span_s = count * seconds[bottleneck]
    return {
        "studies": count,
        "gpus": gpus,
        "bottleneck": bottleneck,
        "studies_per_hour": round(3600 / seconds[bottleneck]),
        "days": round(span_s / 86400, 2),
        "gpu_hours": round(gpus * span_s / 3600, 1),
        "busy_gpu_hours": round(count * study.windows * study.gpu_window_ms / 3.6e6, 1),
        "read_tb": round(count * study.input_mb / 1e6, 3),
        "written_tb": round(count * output_mb / 1e6, 3),
    }


def report(model: CostModel, checked: list[dict[str, float]], rows: list[dict[str, Any]]) -> None:
    print("| stage | constant | slope |\n|---|---|---|")
    for name, unit in (("read_s", "Mvoxel"), ("infer_s", "window"), ("write_s", "Mvoxel"), ("output_mb", "Mvoxel")):
        fitted = getattr(model, name)
        print(f"| {name} | {fitted.constant:.4f} | {fitted.slope:.5f} a {unit} |")
    print("\n| workers | simulated, s | measured, s | error, % |\n|---|---|---|---|")
    for row in checked:
        print(f"| {row['workers']} | {row['simulated_s']} | {row['measured_s']} | {row['error_percent']} |")
    titles = "studies | GPUs | bottleneck | studies/h | days | GPU-hours held | GPU-hours busy | read, TB | written, TB"
    print(f"\n| {titles} |\n" + "|---" * 9 + "|")
    for row in rows:
        values = [f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()]
        print("| " + " | ".join(values) + " |")


if __name__ == "__main__":
    main()
