"""``mose-med listen``."""

from __future__ import annotations

import typer

from pipelines.common.command_line.command import command
from pipelines.listen.options import ListenOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        examples=(
            "mose-med listen --output-dir node --allow-ae-title SCANNER --send-to PACS@127.0.0.1:4242",
            "mose-med listen --output-dir node --any-ae-title --dicomweb http://127.0.0.1:8042/dicom-web",
        ),
    )(listen)


def listen(options: ListenOptions) -> None:
    """A DICOM node: receives CT studies by C-STORE, infers them, and sends SEG and SR.

    It runs until it is stopped. The same command resumes with the studies that it has received.
    """
    from pipelines.listen.run import listen as run

    run(options)
