"""Output folders of ``mose-med prepare``: whole or not at all, and known when they are done.

A folder is written under a hidden name beside the wanted one, ``.<name>.partial``. What a killed or interrupted run
left there is gone on with; what a refused input left there is removed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from data_prep.datalist import DATALIST_NAME, MANIFEST_NAME
from mose_med.errors import ConfigError, MoseError
from mose_med.files.csv_files import read_csv
from pipelines.common.command_line.console import ExitCode, stderr
from pipelines.common.runs.content import Content, claim_with_content, is_note, remove_note
from pipelines.common.runs.run_folder import OPTIONS_NAME, other_version
from pipelines.prepare.failures import FAILED_NAME

__all__ = ["PreparedDatalist", "earlier_result", "finished", "newly_prepared", "progress_bar", "written_whole"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedDatalist:
    """Where the datalist is and what it holds.

    Attributes:
        datalist: path of ``dataset.json``.
        counts: those of the manifest.
        num_failed: cases that were skipped and are listed in ``failed.csv``.
    """

    datalist: Path
    counts: Mapping[str, Any]
    num_failed: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """What the process returns to its caller."""
        return ExitCode.SOME_CASES_FAILED if self.num_failed else ExitCode.DONE


def earlier_result(
    folder: Path, options: Mapping[str, Any], content: Content, *, overwrite: bool
) -> PreparedDatalist | None:
    """Make a folder the output of a run with these options; what an earlier one has put there, if it was done.

    What another version has prepared stays as it is; what it has begun is not gone on with.

    Raises:
        ConfigError: if the folder holds something else and may not be overwritten, or was made of other files.
    """
    done, version = finished(folder), other_version(folder)
    accept = True if done is not None and not overwrite else None
    if not claim_with_content(folder, options, content, overwrite=overwrite, accept_version=accept):
        return None
    if done is not None:
        logger.info("%s is already prepared%s", folder, f", by version {version}" if version else "")
    return done


def newly_prepared(folder: Path, counts: Mapping[str, Any], num_failed: int = 0) -> PreparedDatalist:
    """What a run has put into a folder; says so in the log."""
    (what, sizes), *_ = ((name, value) for name, value in counts.items() if name.endswith("_by_part"))
    parts = ", ".join(f"{number} for {part}" for part, number in sizes.items())
    left_out = f"; {num_failed} left out, see {FAILED_NAME}" if num_failed else ""
    logger.info(
        "%s holds %d %s: %s%s", folder.name, sum(sizes.values()), what.removesuffix("_by_part"), parts, left_out
    )
    return PreparedDatalist(folder / DATALIST_NAME, counts, num_failed)


def finished(folder: Path) -> PreparedDatalist | None:
    """The datalist of a folder; None if it has none yet."""
    datalist = folder / DATALIST_NAME
    if not datalist.is_file():
        return None
    counts = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))["counts"]
    return PreparedDatalist(datalist, counts, len(read_csv(folder / FAILED_NAME)))


@contextmanager
def written_whole(folder: Path, *, anew: bool) -> Iterator[Path]:
    """A partial folder beside a claimed one, which takes its place if all goes well.

    An error of ours removes both. After anything else, an interruption for instance, what is there stays, and the same
    options find it again.

    Args:
        folder: that was claimed.
        anew: begin without what an interrupted run left.
    """
    folder = folder.resolve()
    _require_nothing_else(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    options = (folder / OPTIONS_NAME).read_bytes()
    record = partial / OPTIONS_NAME
    if anew or not record.is_file() or record.read_bytes() != options:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        record.write_bytes(options)
    try:
        yield partial
    except MoseError:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(MoseError, OSError):
            _remove_claim(folder)
        raise
    _remove_claim(folder)
    partial.rename(folder)


def _remove_claim(folder: Path) -> None:
    """Remove a claimed folder, which holds nothing but the claim."""
    _require_nothing_else(folder)
    remove_note(folder)
    (folder / OPTIONS_NAME).unlink()
    folder.rmdir()


def _require_nothing_else(folder: Path) -> None:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(f".{OPTIONS_NAME}."):
            entry.unlink()
        elif entry.name != OPTIONS_NAME and not is_note(entry):
            raise ConfigError(
                f"output folder {folder} holds {entry.name}, which this command did not put there: move it"
            )


def progress_bar(quiet: bool) -> Progress:
    """A progress bar on stderr, off when ``quiet``."""
    return Progress(console=stderr, disable=quiet, transient=True)
