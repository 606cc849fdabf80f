"""Options of inference: what decides a result, and what belongs to the run that computes it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mose_med.errors import ConfigError
from mose_med.inferers import DEPTH_MM, REACH_MM
from mose_med.report.niivue import require_niivue

__all__ = ["InferOptions", "ResultOptions"]


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """What, besides weights and input, decides the files of a case: the same for all cases of an output folder.

    It is recorded in ``options.json`` and in every ``provenance.json``; another value is another result.

    Attributes:
        seed: of the latent codes.
        samples: S, samples per expert.
        form: ``standard`` writes samples in the standard form besides, as many as the compact form has.
        depth_mm: how far above and below a position to look.
        reach_mm: how far from a position its lesion may begin.
        sw_batch_size: windows per call of the network.
        report: write the review page and a sheet for each lesion into the folder of the case.
    """

    seed: int = 0
    samples: int = 4
    form: Literal["compact", "standard"] = "compact"
    depth_mm: float = DEPTH_MM
    reach_mm: float = REACH_MM
    sw_batch_size: int = 16
    report: bool = False

    def result_options(self) -> ResultOptions:
        """These options alone, of whatever they are part of."""
        return ResultOptions(**{field.name: getattr(self, field.name) for field in dataclasses.fields(ResultOptions)})

    def to_dict(self) -> dict[str, Any]:
        """Plain types, by name."""
        return dataclasses.asdict(self.result_options())

    def check(self) -> None:
        """Check the values.

        Raises:
            ConfigError: naming the option, the rule and the value.
            MissingDependencyError: if a report is wanted and the package for it is not installed.
        """
        for name, value, least in (
            ("samples", self.samples, 1),
            ("sw_batch_size", self.sw_batch_size, 1),
            ("seed", self.seed, 0),
            ("depth_mm", self.depth_mm, 0),
            ("reach_mm", self.reach_mm, 0),
        ):
            if not value >= least:
                raise ConfigError(f"{name} must be >= {least}, got {value}")
        if self.form not in ("compact", "standard"):
            raise ConfigError(f"form must be compact or standard, got {self.form!r}")
        if self.report:
            require_niivue()


@dataclass(frozen=True)
class InferOptions(ResultOptions):
    """What to infer, and how.

    Attributes:
        source: DICOM folder or zip, or NIfTI file.
        output_dir: gets one folder a case.
        checkpoint: weights, made by ``mose-med train``.
        nodules: CSV of positions in mm.
        series: SeriesInstanceUID to read; the one with most axial slices if None.
        device: ``auto``, ``cpu`` or ``cuda[:n]``.
        threads: of the CPU; all if None.
        quiet: do not show progress.
        overwrite: replace results that were made with other options.
    """

    source: Path
    output_dir: Path
    checkpoint: Path | None = None
    nodules: Path | None = None
    series: str | None = None
    device: str = "auto"
    threads: int | None = None
    quiet: bool = False
    overwrite: bool = False

    def check(self) -> None:
        """Check the values, those that decide a result included.

        Raises:
            ConfigError: naming the option, the rule and the value.
        """
        super().check()
        if self.nodules is None:
            raise ConfigError(
                "infer needs positions to look at: pass --nodules FILE, a CSV with x_ras_mm,y_ras_mm,z_ras_mm"
            )
