"""``python -m pipelines.deploy [INPUT OUTPUT]``: the contract of platforms that run an image on a folder.

Without arguments the folders are those of mercure (``MERCURE_IN_DIR`` and ``MERCURE_OUT_DIR``), or else ``/input`` and
``/output``. ``MOSE_MED_CHECKPOINT`` names other weights than those that are shipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mose_med.errors import ConfigError
from pipelines.common.command_line.console import configure_logging, run_command

__all__ = ["folders", "main"]


def folders(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Path, Path]:
    """Input and output.

    Raises:
        ConfigError: if one of them alone is named.

    Example:
        >>> folders([], {"MERCURE_IN_DIR": "/tmp/in", "MERCURE_OUT_DIR": "/tmp/out"})
        (PosixPath('/tmp/in'), PosixPath('/tmp/out'))
    """
    if len(arguments) not in (0, 2):
        raise ConfigError(f"give INPUT and OUTPUT, or neither, got {len(arguments)} arguments")
    source, target = arguments or (
        environment.get("MERCURE_IN_DIR", "/input"),
        environment.get("MERCURE_OUT_DIR", "/output"),
    )
    return Path(source), Path(target)


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Process a folder and return the exit code, as of ``mose-med``."""

    def process() -> None:
        from pipelines.deploy.folders import FolderOptions, process_folder

        configure_logging(quiet=False, log_file=None, debug=False)
        source, target = folders(arguments, environment)
        weights = environment.get("MOSE_MED_CHECKPOINT")
        process_folder(FolderOptions(source, target, None if weights is None else Path(weights)))

    return int(run_command(process))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
