"""Output folders of ``mose-med prepare``: whole or not at all, and known when they are done.

A folder is written under a hidden name beside the wanted one, ``.<name>.partial``. What a killed or interrupted run
left there is gone on with; what a refused input left there is removed.

With ``--overwrite``, an earlier result stays until the new one, ``.<name>.replacement``, is whole. If that run is
stopped, the same command without ``--overwrite`` goes on with it; any other command into the folder removes it.
"""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from data_prep.datalist import DATALIST_NAME, MANIFEST_NAME, PRIVATE_NAME
from mose_med.errors import ConfigError, MoseError
from mose_med.files.csv_files import read_csv
from mose_med.files.whole_files import write_json
from pipelines.common.command_line.console import ExitCode, stderr
from pipelines.common.runs.content import CONTENT, Content, claim_with_content, is_note, remove_note
from pipelines.common.runs.run_folder import (
    OPTIONS_NAME,
    claim_folder,
    options_record,
    other_version,
    read_options,
    require_replaceable,
)
from pipelines.prepare.failures import FAILED_NAME

__all__ = [
    "PreparedDatalist",
    "claim_to_replace",
    "earlier_result",
    "finished",
    "newly_prepared",
    "progress_bar",
    "written_whole",
]

logger = logging.getLogger(__name__)

#: Files of a result that its manifest does not list.
_UNLISTED = (MANIFEST_NAME, f"{PRIVATE_NAME}/*")
#: Hidden folders beside the wanted one: a first result, one that will replace an earlier one, and that earlier one.
_PARTIAL, _REPLACEMENT, _REPLACED = "partial", "replacement", "replaced"


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
    _put_back(folder)
    done, version = finished(folder), other_version(folder)
    accept = True if done is not None and not overwrite else None
    if not claim_to_replace(folder, options, content, overwrite=overwrite, accept_version=accept):
        return None
    if done is not None:
        logger.info("%s is already prepared%s", folder, f", by version {version}" if version else "")
    return done


def claim_to_replace(
    folder: Path,
    options: Mapping[str, Any],
    content: Content | None,
    *,
    overwrite: bool,
    accept_version: bool | None = None,
    own: Iterable[str] = (),
) -> bool:
    """Claim a folder for :func:`written_whole`; an earlier result stays there until the new one is whole.

    Args:
        folder: as in :func:`~pipelines.common.runs.run_folder.claim_folder`, as are the others.
        options: what decides the result.
        content: of the input; None if the options alone decide.
        overwrite: do the work again.
        accept_version: leave a result of another version as it is.
        own: patterns of the files that the command writes, beside those that a manifest lists.

    Returns:
        Whether the folder was there with the same options; never if its result is to be replaced.

    Raises:
        ConfigError: if the folder holds something else and may not be overwritten, or was made of other files.
    """
    _put_back(folder)
    replacement = _beside(folder, _REPLACEMENT)
    wanted = options_record(options if content is None else {**options, CONTENT: content.sha256})
    if (folder / OPTIONS_NAME).is_file():
        if overwrite or read_options(replacement) == wanted:
            listed = (glob.escape(name) for name in _manifest(folder).get("sha256", ()))
            require_replaceable(folder, wanted, (*_UNLISTED, *listed, *own))
        if overwrite:
            shutil.rmtree(_beside(folder, _PARTIAL), ignore_errors=True)
            _begin(replacement, wanted)
            return False
        if read_options(replacement) == wanted:
            logger.info("going on with what replaces %s", folder)
            return False
    how: dict[str, Any] = {"overwrite": overwrite, "accept_version": accept_version, "built_beside": True}
    if content is None:
        resumed = claim_folder(folder, options, **how)
    else:
        resumed = claim_with_content(folder, options, content, **how)
    shutil.rmtree(replacement, ignore_errors=True)
    return resumed


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
    return PreparedDatalist(datalist, _manifest(folder)["counts"], len(read_csv(folder / FAILED_NAME)))


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a result; empty if it has none."""
    file = folder / MANIFEST_NAME
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content


@contextmanager
def written_whole(folder: Path, *, anew: bool) -> Iterator[Path]:
    """A partial folder beside a claimed one, which takes its place if all goes well.

    An error of ours removes it, and the claim; an earlier result that it was to replace stays. After anything else, an
    interruption for instance, what is there stays, and the same options find it again.

    Args:
        folder: that was claimed.
        anew: begin without what an interrupted run left.
    """
    folder = folder.resolve()
    replacement = _beside(folder, _REPLACEMENT)
    replaces = replacement.is_dir()
    partial = replacement if replaces else _partial(folder, anew=anew)
    try:
        yield partial
    except MoseError:
        shutil.rmtree(partial, ignore_errors=True)
        if not replaces:
            with contextlib.suppress(MoseError, OSError):
                _remove_claim(folder)
        raise
    if replaces:
        _replace(folder, partial)
    else:
        _remove_claim(folder)
        partial.rename(folder)


def _beside(folder: Path, what: str) -> Path:
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.{what}")


def _partial(folder: Path, *, anew: bool) -> Path:
    """The folder that takes the place of one that holds only the claim."""
    _require_nothing_else(folder)
    partial, options = _beside(folder, _PARTIAL), read_options(folder) or {}
    if anew or read_options(partial) != options:
        _begin(partial, options)
    return partial


def _begin(partial: Path, options: Mapping[str, Any]) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    write_json(partial / OPTIONS_NAME, options)


def _replace(folder: Path, replacement: Path) -> None:
    """Put a whole folder in the place of an earlier one."""
    replaced = _beside(folder, _REPLACED)
    if folder.exists():
        folder.rename(replaced)
    replacement.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Tidy up after a run that was killed in the moment of replacing: an earlier result returns, or goes for good."""
    replaced = _beside(folder, _REPLACED)
    if folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    elif replaced.is_dir():
        replaced.rename(folder.resolve())


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
