"""Cost of preparing LIDC-IDRI beside merely reading the same DICOM files, of clustering all its scans, and of memory.

    python -m benchmarks.speed.prepare --lidc-root LIDC-IDRI --output prepare.json

Without ``--lidc-root`` phantoms of the demonstration's patients are written first, whole scans of them. Reading is
pydicom's: every file, header and pixels. Files are in the operating system's cache and processor time is taken, so that
neither disks nor other programs play a part.

Targets: writing the patients takes at most 1.3 times as long as reading; all 1,018 scans are clustered in 30 s; the
process stays below 1.5 GB, however many patients there are.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pydicom

from data_prep.lidc.annotations import patient_ids, read_scans
from data_prep.lidc.clustering import cluster_annotations
from data_prep.lidc.collection import CropOptions, find_patients
from data_prep.lidc.patient import Patient, PatientWriter
from pipelines.prepare.sources.lidc import PrepareLidcOptions, prepare_lidc
from pipelines.prepare.sources.phantom import PreparePhantomOptions, demo_patients, prepare_phantom

TARGETS = {"patients_over_reading": 1.3, "clustering_all_scans_s": 30.0, "peak_gb": 1.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lidc-root", type=Path, help="LIDC-IDRI copy; phantoms if not given")
    parser.add_argument("--patients", type=int, default=6, help="phantoms to write")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs; the median is reported")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = options.lidc_root or phantoms(folder / "phantoms", options.patients)
        results = in_new_process(timings, root, folder, options.repeats)
        for number in (2, len(find_patients(root))):
            results[f"peak_gb_{number}_patients"] = in_new_process(peak_gb, root, folder / f"peak_{number}", number)
    results |= {"clustering_all_scans_s": clustering_s(), "machine": platform.processor() or platform.machine()}
    for key, value in results.items():
        target = next((f"   target <= {limit:g}" for begin, limit in TARGETS.items() if key.startswith(begin)), "")
        print(f"{key:28} {value:10.3f}{target}" if isinstance(value, float) else f"{key:28} {value:>10}")
    if options.output is not None:
        options.output.write_text(json.dumps(results | {"targets": TARGETS}, indent=2) + "\n", encoding="utf-8")


def phantoms(root: Path, patients: int) -> Path:
    """Whole scans: as many slices as the patients' own have."""
    return prepare_phantom(PreparePhantomOptions(root, patients=demo_patients(patients), margin_slices=10_000))


def in_new_process(function, *arguments):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def timings(root: Path, folder: Path, repeats: int) -> dict[str, float | int]:
    """Seconds of reading and of preparing, in turn, so that both see the same load of the machine."""
    patients = find_patients(root)
    files = sorted(path for folders in patients.values() for top in folders for path in top.rglob("*.dcm"))
    split = split_csv(root, folder / "split.csv", len(patients))
    prepare(root, folder / "warm", split)
    reading, writing, preparing = [], [], []
    for number in range(repeats):
        reading.append(cpu_seconds(read_all, files))
        writing.append(cpu_seconds(write_patients, patients, folder / f"patients_{number}"))
        preparing.append(cpu_seconds(prepare, root, folder / f"out_{number}", split))
    return {
        "files": len(files),
        "reading_s": statistics.median(reading),
        "patients_s": statistics.median(writing),
        "prepare_s": statistics.median(preparing),
        "patients_over_reading": statistics.median(w / r for w, r in zip(writing, reading, strict=True)),
    }


def cpu_seconds(function, *arguments) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def read_all(files: list[Path]) -> None:
    for path in files:
        pydicom.dcmread(path).pixel_array.mean()


def write_patients(patients: Mapping[str, tuple[Path, ...]], output: Path) -> None:
    """What grows with the number of patients: all but the montage, the card and the manifest."""
    output.mkdir()
    write = PatientWriter(output, CropOptions(), tuple(patients), "empty", "all")
    for patient, folders in patients.items():
        write(Patient(patient, folders, "training"))


def split_csv(root: Path, path: Path, number: int) -> Path:
    """The first patients, the first of them for validation."""
    patients = list(find_patients(root))[:number]
    lines = [f"{patient},{'training' if index else 'validation'}" for index, patient in enumerate(patients)]
    path.write_text("\n".join(["patient_id,part", *lines]) + "\n", encoding="utf-8")
    return path


def prepare(root: Path, output: Path, split: Path) -> None:
    prepare_lidc(PrepareLidcOptions(root, output, split_csv=split, quiet=True))


def peak_gb(root: Path, output: Path, number: int) -> float:
    prepare(root, output, split_csv(root, output.with_suffix(".csv"), number))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def clustering_s() -> float:
    scans = read_scans(patient_ids())
    start = time.perf_counter()
    for scan in scans:
        cluster_annotations(scan)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
