"""Bytes of the NIfTI files of a case: what storing maps as scaled integers and choosing outputs save.

    python -m benchmarks.speed.map_sizes STUDY [--output sizes.json]

Everything in the study is looked at by a stand-in for a trained network (see ``chest_stages.py``), whose probabilities
are low nearly everywhere and vary from voxel to voxel as noise does. One case is inferred and written three times.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from benchmarks.scale.chest_stages import StandIn
from benchmarks.speed.infer import PREPROCESSING
from mose_med.case_contents.maps import DEFAULT_OUTPUTS, OUTPUTS
from mose_med.inferers import CaseDistribution, infer_case
from mose_med.io import read_study
from mose_med.io.case.writing import write_case

WAYS: dict[str, dict[str, Any]] = {
    "--outputs all --maps full": {"outputs": OUTPUTS, "maps": "full"},
    "--outputs all": {"outputs": OUTPUTS},
    "default": {"outputs": DEFAULT_OUTPUTS},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="a chest CT, DICOM or NIfTI")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    torch.manual_seed(0)
    network = StandIn(channels=(4, 8), num_experts=4, latent_dim=1).eval()
    result = infer_case(network, read_study(options.study).image, preprocessing=PREPROCESSING, region="full")
    rows = [written(way, result) for way in WAYS]
    print(f"{' x '.join(map(str, result.shape))} voxels, {result.num_windows} windows")
    print("| options | bytes | writing, s |\n|---|---|---|")
    for row in rows:
        print(f"| {row['options']} | {row['bytes']:,} | {row['write_s']:.1f} |")
    if options.output:
        options.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n", encoding="utf-8")


def written(way: str, result: CaseDistribution) -> dict[str, Any]:
    """Bytes of the maps of a case, in all and by file, and the seconds that writing them took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_case(Path(folder), result, threads=torch.get_num_threads(), **WAYS[way])
        seconds = time.perf_counter() - start
        files = {path.name: path.stat().st_size for path in sorted(Path(folder).rglob("*.nii.gz"))}
    return {"options": way, "bytes": sum(files.values()), "write_s": round(seconds, 2), "files": files}


if __name__ == "__main__":
    main()
