"""How long reading a CT takes: DICOM as a folder and as a zip, NIfTI through isal and through nibabel.

    python -m benchmarks.speed.read_ct --output read_ct.json [--slices 300] [--size 512] [--repeats 3]

The volume is made up (a body of noise in air), the same in every form; times are the least of the repeats, SimpleITK's
GDCM reader and nibabel are there to compare with. Peak memory is that of one reading in a separate process.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from mose_med.io import read_ct


def make_hu(slices: int, size: int) -> np.ndarray:
    """HU (k, j, i) of a body of noise in air."""
    j, i = np.mgrid[:size, :size] - size / 2
    body = (i / (0.42 * size)) ** 2 + (j / (0.33 * size)) ** 2 < 1
    noise = np.random.default_rng(0).normal(-400, 120, size=(slices, size, size))
    return np.where(body, noise, -1000).astype(np.int16)


def write_dicom(folder: Path, hu: np.ndarray) -> None:
    """One file per slice, uncompressed."""
    folder.mkdir()
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for k, plane in enumerate(hu):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("slice", {}, file_meta=meta, preamble=bytes(128))
        image.SOPClassUID, image.SOPInstanceUID, image.Modality = CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.PatientID, image.InstanceNumber = "benchmark", k + 1
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-180, -180, k]
        image.PixelSpacing, image.Rows, image.Columns = [0.7, 0.7], *plane.shape
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 1
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.RescaleIntercept, image.RescaleSlope, image.PixelData = 0, 1, plane.tobytes()
        pydicom.dcmwrite(folder / f"{k:04}.dcm", image)


def read_with_simpleitk(folder: Path) -> None:
    """All slices of a folder by GDCM."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.Execute()


def least_seconds(read: Callable[[], object], repeats: int) -> float:
    """Least of the times of some calls."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        read()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_mib(path: Path) -> float:
    """Peak memory of reading in a separate process."""
    command = [sys.executable, __file__, "--read", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        read_ct(options.read)
        # Of this process alone: what getrusage says includes the memory of the process that started it.
        print(int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0]) / 1024)
        return
    with tempfile.TemporaryDirectory() as root:
        folder, archive, nifti = Path(root) / "dicom", Path(root) / "dicom.zip", Path(root) / "ct.nii.gz"
        hu = make_hu(options.slices, options.size)
        write_dicom(folder, hu)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as content:
            for path in sorted(folder.iterdir()):
                content.write(path, path.name)
        nib.save(nib.Nifti1Image(hu.T, np.diag([-0.7, -0.7, 1, 1])), nifti)
        readers: dict[str, Callable[[], object]] = {
            "DICOM folder": lambda: read_ct(folder),
            "DICOM folder, SimpleITK": lambda: read_with_simpleitk(folder),
            "DICOM zip": lambda: read_ct(archive),
            "NIfTI .nii.gz": lambda: read_ct(nifti),
            "NIfTI .nii.gz, nibabel": lambda: np.asanyarray(nib.load(nifti).dataobj),
        }
        result = {name: {"seconds": round(least_seconds(read, options.repeats), 3)} for name, read in readers.items()}
        for name, path in (("DICOM folder", folder), ("DICOM zip", archive), ("NIfTI .nii.gz", nifti)):
            result[name]["peak_mib"] = round(peak_mib(path))
    for name, values in result.items():
        print(f"{name:28}{values['seconds']:8.2f} s{values.get('peak_mib', ''):>8}")
    if options.output is not None:
        shape = [options.slices, options.size, options.size]
        options.output.write_text(json.dumps({"shape": shape, "readers": result}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
