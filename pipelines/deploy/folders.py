"""From a folder with a CT series to a folder with its DICOM objects, report and lesions.

What mercure, MHub and a MONAI application package have in common: input is in a folder, what is put into another
folder is taken away, and nothing else is kept. The files are those of ``mose-med infer``.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mose_med.case_contents.lesion_rules import LESIONS_NAME
from mose_med.errors import ConfigError
from mose_med.files.whole_files import remove_left_over, written_whole
from pipelines.infer.run import InferOptions, infer

__all__ = ["FolderOptions", "process_folder", "remove_results"]

_LOGGER = logging.getLogger(__name__)
#: Of a case: what is taken away, where it was written.
_TAKEN = ("seg.dcm", "probability_seg.dcm", "report_sr.dcm", "report.html", LESIONS_NAME)


@dataclass(frozen=True)
class FolderOptions:
    """What to make of a folder.

    Attributes:
        input_dir: DICOM files of a study; anything else is passed over.
        output_dir: gets the files; made if it does not exist.
        checkpoint: weights; None for those that are shipped.
        series: SeriesInstanceUID to read; the first if None.
        report: write the review page, too.
        samples: S, samples per expert.
        seed: of what is random.
        device: ``auto``, ``cpu`` or ``cuda[:n]``.
        threads: of the CPU; all if None.
    """

    input_dir: Path
    output_dir: Path
    checkpoint: Path | None = None
    series: str | None = None
    report: bool = True
    samples: int = 4
    seed: int = 0
    device: str = "auto"
    threads: int | None = None


def process_folder(options: FolderOptions) -> list[Path]:
    """Infer the series of a folder; the output folder gets all files or none, and keeps none of an earlier study.

    Returns:
        The files that were written.

    Raises:
        ConfigError: if an option is invalid, or there is no input folder.
        DataError: if the series cannot be used.
        GeometryError: if its geometry does not fit.
    """
    if not options.input_dir.is_dir():
        raise ConfigError(f"input folder {options.input_dir} does not exist")
    with tempfile.TemporaryDirectory(prefix="mose-med-") as scratch:
        result = infer(
            InferOptions(
                options.input_dir,
                Path(scratch) / "results",
                options.checkpoint,
                series=options.series,
                device=options.device,
                threads=options.threads,
                quiet=True,
                samples=options.samples,
                seed=options.seed,
                dicom_seg=True,
                report=options.report,
            )
        )
        options.output_dir.mkdir(parents=True, exist_ok=True)
        made = [result.folder / name for name in _TAKEN if (result.folder / name).is_file()]
        written = _put(made, options.output_dir)
    _LOGGER.info("%d files were written", len(written))
    return written


def _put(made: Sequence[Path], folder: Path) -> list[Path]:
    """Copy files into a folder in place of earlier results; if one cannot be copied, the earlier ones stay.

    Whatever ends the process, the folder never holds files of two studies.
    """
    targets = [folder / file.name for file in made]
    for name in _TAKEN:
        remove_left_over(folder / name)
    with ExitStack() as copies:
        for file, target in zip(made, targets, strict=True):
            shutil.copyfile(file, copies.enter_context(written_whole(target)))
        remove_results(folder)
    return targets


def remove_results(folder: Path) -> None:
    """Remove what a run has put into a folder; other files stay."""
    for name in _TAKEN:
        (folder / name).unlink(missing_ok=True)
