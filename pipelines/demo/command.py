"""``mose-med demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.options import Device, OutputDir, Overwrite, Quiet, Seed, Split, Threads, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(demo)


def demo(
    output_dir: OutputDir = Path("demo"),
    lidc_root: Annotated[
        Path | None, typer.Option(help="LIDC-IDRI copy; without it, a phantom with real contours.", show_default=False)
    ] = None,
    split: Split = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Everything once, end to end: annotated CT in, per-expert masks, entropy maps and measured scores out."""
    from pipelines.demo.run import DemoOptions, run_demo

    run_demo(DemoOptions(output_dir, lidc_root, split, seed, device, threads, overwrite, quiet))
