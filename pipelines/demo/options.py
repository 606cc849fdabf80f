"""Options of ``mose-med demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mose_med.options import check_options
from pipelines.common.options import Device, OutputDir, Overwrite, PhantomOrLidcRoot, Quiet, Seed, SplitCsv, Threads

__all__ = ["DemoOptions"]


@dataclass(frozen=True)
class DemoOptions:
    """What to run; a folder for each stage is made below the output folder."""

    output_dir: OutputDir = Path("demo")
    lidc_root: PhantomOrLidcRoot = None
    split_csv: SplitCsv = None
    seed: Seed = 0
    device: Device = "auto"
    threads: Threads = None
    overwrite: Overwrite = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        check_options(self)
