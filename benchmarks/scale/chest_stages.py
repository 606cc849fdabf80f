"""Stages of one whole chest CT, 512 x 512 x 300: reading it, three listed positions, a search of the lungs, writing.

    python -m benchmarks.scale.chest_stages --output benchmarks/results/chest_stages.json

One thread. Listed positions are inferred by a network of full size with random weights. In the search of the lungs,
which would take a CPU many minutes, logits that vary with the image replace it: what is timed there is all that
the CPU has to do beside the network, and does too where a GPU runs the network. Reading is from the page cache: it is
the decoding that is timed, and the bytes are told, so that a network or a disk can be reckoned with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import machine
from benchmarks.speed.infer import AFFINE, NODULES, PREPROCESSING, SIDE, chest
from benchmarks.speed.read_ct import write_dicom
from mose_med.api.model import Model
from mose_med.api.options import ResultOptions
from mose_med.api.reading import CaseRequest, read_case
from mose_med.api.stages import Stages
from mose_med.checkpoint import ModelConfig
from mose_med.networks import MoSE
from mose_med.samples import ExpertSamples
from pipelines.infer.case import Destination, run_case


class StandIn(MoSE):
    """Logits that are a linear function of the image, and the time that making them took."""

    seconds = 0.0

    def forward(
        self,
        image: Tensor,
        samples_per_expert: int | None = None,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
    ) -> ExpertSamples:
        """Foreground is improbable but where the image is bright, and varies from voxel to voxel as noise does."""
        start = time.perf_counter()
        foreground = 3 * image[:, :, None] - 5 + 0.3 * latents[..., 0][None, :, :, None, None]
        probs = (image.mean(dim=(1, 2, 3))[:, None] + latents.mean(dim=(1, 2))).softmax(dim=1)
        logits = torch.stack([torch.zeros_like(foreground), foreground], dim=3)
        self.seconds += time.perf_counter() - start
        return ExpertSamples(logits, probs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3, help="readings, of which the median counts")
    parser.add_argument("--scratch-dir", type=Path, help="for some GB; the system's temporary folder by default")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(dir=options.scratch_dir) as folder:
        forms = write_forms(Path(folder), options.slices)
        results: dict[str, Any] = {
            "machine": machine(),
            "command": "python -m benchmarks.scale.chest_stages",
            "shape": [SIDE, SIDE, options.slices],
            "forms": [reading(name, path, options.repeats) for name, path in forms.items()],
        }
        nodules = write_nodules(Path(folder) / "nodules.csv", options.slices)
        study = forms["NIfTI, compressed"]
        results["cases"] = [
            case("three listed positions", MoSE(), CaseRequest(study, nodules, None, ResultOptions()), Path(folder)),
            case("search of the lungs", StandIn(), CaseRequest(study, None, None, ResultOptions()), Path(folder)),
        ]
    report(results)
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def write_forms(folder: Path, slices: int) -> dict[str, Path]:
    """The same chest in the forms that studies come in."""
    hu = chest(slices)
    paths = {"DICOM, uncompressed": folder / "dicom", "NIfTI, compressed": folder / "chest.nii.gz"}
    paths["NIfTI"] = folder / "chest.nii"
    write_dicom(paths["DICOM, uncompressed"], np.ascontiguousarray(hu.T))
    for name in ("NIfTI, compressed", "NIfTI"):
        nib.save(nib.Nifti1Image(hu, AFFINE), paths[name])
    return paths


def write_nodules(file: Path, slices: int) -> Path:
    rows = [",".join(str(v) for v in AFFINE[:3, :3] @ (x, y, int(z * slices))) for x, y, z, _ in NODULES]
    file.write_text("\n".join(["x_ras_mm,y_ras_mm,z_ras_mm", *rows]) + "\n")
    return file


def reading(name: str, path: Path, repeats: int) -> dict[str, Any]:
    """The read stage of a form."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        read_case(CaseRequest(path, None, None, ResultOptions()))
        seconds.append(time.perf_counter() - start)
    files = [path] if path.is_file() else list(path.iterdir())
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    # The first reading imports what the form needs.
    median_s = round(statistics.median(seconds[1:]), 3)
    return {"form": name, "files": len(files), "mb": round(megabytes, 1), "read_s": median_s}


def case(name: str, network: MoSE, request: CaseRequest, folder: Path) -> dict[str, Any]:
    """Stages of a case, what it looked at and what it wrote."""
    config = ModelConfig({}, PREPROCESSING, ("background", "nodule"), num_raters=4)
    stages = Stages()
    output = folder / name.replace(" ", "-")
    output.mkdir()
    outcome = run_case(Model(network.eval(), config, ""), request, Destination(str(output), bytes(32)), stages)
    files = list((output / outcome.case).iterdir())
    run = json.loads((output / outcome.case / "run.json").read_text())
    stand_in_s = network.seconds if isinstance(network, StandIn) else 0.0
    return {
        "case": name,
        "network": not isinstance(network, StandIn),
        "windows": run["windows"],
        "region_mvoxels": round(run["region_voxels"] / 1e6, 2),
        "infer_s": round(outcome.seconds["infer_s"] - stand_in_s, 2),
        "write_s": round(outcome.seconds["write_s"], 2),
        "files": len(files),
        "output_mb": round(sum(file.stat().st_size for file in files) / 1e6, 1),
    }


def report(results: dict[str, Any]) -> None:
    for rows in (results["forms"], results["cases"]):
        print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
        for row in rows:
            print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    main()
