"""Everything once, end to end: annotated CT in, per-expert masks, entropy maps and measured scores out.

Each stage is the command of the same name with its own folder below the output folder, so that a demo that was stopped
resumes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from rich.table import Table

from data_prep.datalist import DATALIST_NAME, NODULES_NAME
from data_prep.phantom import DEMO_SPLIT_CSV
from data_prep.split import read_split
from mose_med.errors import DataError
from mose_med.files.csv_files import read_csv, write_csv
from mose_med.files.whole_files import write_json
from mose_med.handlers import STORE_NAME
from mose_med.io import read_ct
from pipelines.common.command_line.console import stderr
from pipelines.demo.options import DemoOptions
from pipelines.evaluate.files import Evaluation
from pipelines.evaluate.run import RELIABILITY_NAME, SAMPLES_NAME, EvaluateOptions, evaluate
from pipelines.infer.run import InferOptions, InferResult, infer
from pipelines.prepare.sources.lidc import PrepareLidcOptions, prepare_lidc
from pipelines.prepare.sources.phantom import PreparePhantomOptions, prepare_phantom
from pipelines.train.run import TrainOptions, train

__all__ = ["DemoOptions", "run_demo"]

#: Overlay of the bundle that fits the demo's minutes.
OVERLAY = "demo"


@dataclass
class _Stages:
    """Announces every stage and keeps its seconds."""

    quiet: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if not self.quiet:
            stderr.rule(f"[bold]{len(self.seconds) + 1}. {name}", align="left")
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


class _Study(NamedTuple):
    """Something to infer: a DICOM folder and the series in it, or a NIfTI file; and the CSV of its nodules."""

    source: Path
    series: str | None
    nodules: Path


def run_demo(options: DemoOptions) -> None:
    """Prepare, train, evaluate, infer with the new weights and with the shipped ones, and print a closing table.

    Raises:
        MoseError: if a stage refuses something.
    """
    out = options.output_dir
    stages = _Stages(options.quiet)
    common: dict[str, Any] = {"overwrite": options.overwrite, "quiet": options.quiet}
    compute = common | {"seed": options.seed, "device": options.device, "threads": options.threads}
    split = options.split_csv or DEMO_SPLIT_CSV
    with stages.stage("Input: CT series with the contours of four radiologists"):
        root = options.lidc_root or out / "phantom"
        if options.lidc_root is None:
            patients = tuple(read_split(split))
            prepare_phantom(PreparePhantomOptions(root, seed=options.seed, patients=patients, **common))
    with stages.stage("Prepare: multi-rater slices"):
        prepare_lidc(PrepareLidcOptions(lidc_root=root, output_dir=out / "dataset", split_csv=split, **common))
    datalist = out / "dataset" / DATALIST_NAME
    with stages.stage("Train: MoSE with the optimal-transport loss"):
        trained = train(TrainOptions(datalist, out / "training", configs=(OVERLAY,), tracking=True, **compute))
    with stages.stage("Evaluate: test patients, beside two baselines"):
        weights = trained.best_checkpoint
        scores = evaluate(EvaluateOptions(datalist, weights, out / "evaluation", **compute))
    studies = _test_studies(root, out)
    with stages.stage("Infer: a DICOM study and a NIfTI volume"):
        cases = {
            f"{kind} study": _inferred(study, out / "inference", weights, compute) for kind, study in studies.items()
        }
    with stages.stage("Infer with the shipped weights: the DICOM study"):
        cases["DICOM study, shipped weights"] = _inferred(studies["DICOM"], out / "shipped", None, compute)
    write_json(out / "seconds.json", {name: round(seconds, 1) for name, seconds in stages.seconds.items()})
    if not options.quiet:
        _close(options, stages, scores, cases)


def _inferred(study: _Study, folder: Path, weights: Path | None, compute: Mapping[str, Any]) -> InferResult:
    """The study's case; without weights by those that are shipped."""
    return infer(
        InferOptions(
            source=study.source,
            output_dir=folder,
            checkpoint=weights,
            nodules=study.nodules,
            series=study.series,
            **compute,
        )
    )


def _test_studies(root: Path, out: Path) -> dict[str, _Study]:
    """The first patient of the test part as the DICOM folder it is, the last copied to NIfTI."""
    rows = [row for row in read_csv(out / "dataset" / NODULES_NAME) if row["part"] == "test"]
    if not rows:
        raise DataError("the demo needs a patient in the test part: name a split file that has one (--split)")
    series = list(dict.fromkeys((row["patient_id"], row["series_uid"]) for row in rows))
    folder = out / "studies"
    folder.mkdir(exist_ok=True)
    studies = {}
    for kind, (patient, uid) in {"DICOM": series[0], "NIfTI": series[-1]}.items():
        nodules = folder / f"{patient}_nodules.csv"
        write_csv(nodules, list(rows[0]), [row.values() for row in rows if row["series_uid"] == uid])
        if kind == "DICOM":
            studies[kind] = _Study(root / patient, uid, nodules)
        else:
            studies[kind] = _Study(_as_nifti(root / patient, uid, folder / f"{patient}.nii"), None, nodules)
    return studies


def _as_nifti(dicom: Path, series: str, path: Path) -> Path:
    image = read_ct(dicom, series)
    volume = nib.Nifti1Image(image[0].numpy().astype(np.int16), np.asarray(image.affine))
    volume.header.set_xyzt_units("mm")
    nib.save(volume, path)
    return path


def _close(options: DemoOptions, stages: _Stages, scores: Evaluation, cases: Mapping[str, InferResult]) -> None:
    """Scores, where the files are, what to open next."""
    out = options.output_dir
    stderr.rule("[bold]Done", align="left")
    stderr.print(_score_table(scores))
    places: dict[str, Path | str] = {
        "slices with every rater's outline": out / "dataset" / "montage.png",
        "outlines by expert, beside the raters'": out / "evaluation" / SAMPLES_NAME,
        "calibration": out / "evaluation" / RELIABILITY_NAME,
        **{f"masks, entropy and lesions of the {kind}": case.folder for kind, case in cases.items()},
        "volumes of all lesions": out / "inference" / "summary.csv",
    }
    store = out / "training" / STORE_NAME
    if store.is_file():
        places["learning curves"] = f"mlflow ui --backend-store-uri sqlite:///{store}"
    for what, where in places.items():
        stderr.print(f"{what}:\n    {where}", soft_wrap=True, highlight=False)
    if options.lidc_root is None:
        stderr.print("Voxels are rendered (phantom); contours, positions and spacing are LIDC-IDRI's.")
    spent = ", ".join(f"{name.split(':')[0].lower()} {seconds:.0f} s" for name, seconds in stages.seconds.items())
    stderr.print(f"{sum(stages.seconds.values()) / 60:.1f} minutes: {spent}", highlight=False)


def _score_table(scores: Evaluation) -> Table:
    title = f"{scores.part} part of {scores.datalist}: {scores.images} slices of {scores.patients} patients"
    table = Table("", "samples", "GED (lower)", "M-IoU (higher)", "ECE % (lower)", title=title, title_justify="left")
    for row in scores.rows:
        values = (row.ged.mean, row.matched_iou.mean, row.ece_percent.mean)
        table.add_row(row.method, str(row.num_samples), *(f"{value:.3f}" for value in values))
    return table
