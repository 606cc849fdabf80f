"""The report of a failed case: the stage, the reason in one line, and what to do.

``failed.csv`` must not say whose the study was. Paths, names of files and UIDs are taken out of the reason; the
journal, which is private, keeps them.
"""

from __future__ import annotations

import contextlib
import errno
import re
import traceback
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mose_med.errors import ConfigError, DataError, MoseError
from mose_med.files.file_tree import files_below
from mose_med.files.zip_files import named_zip_errors
from pipelines.common.memory import ran_out_of_memory

if TYPE_CHECKING:
    from mose_med.api.reading import CaseRequest

__all__ = ["Failure", "describe", "describe_without_text", "lost_worker", "timed_out"]

_RETRY = "then run again with --retry-failed"
_MEMORY = f"give a worker more memory: fewer --workers, --in-flight 1 or a smaller --sw-batch-size, {_RETRY}"
_INTERNAL = "internal error:"
_REPORT = "please report it; the traceback is in private/errors"
_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UID = re.compile(r"\b\d+(\.\d+){5,}\b")
#: Shorter names of files are taken out once, where a message begins with them.
_TELLING_LENGTH = 4


class Failure(NamedTuple):
    """Why a case failed; ``detail`` is private: the reason with all names, or of an error of ours its traceback."""

    stage: str
    reason: str
    advice: str
    detail: str


def describe(error: BaseException, stage: str, request: CaseRequest) -> Failure:
    """Describe the error of a case."""
    reason, advice = _reason_and_advice(error, stage)
    detail = "".join(traceback.format_exception(error)) if reason.startswith(_INTERNAL) else reason
    return Failure(stage, _concealed(reason, request), advice, detail)


def describe_without_text(error: BaseException, stage: str) -> Failure:
    """Describe an error for which :func:`describe` failed; its text may identify the patient."""
    reason = f"{_INTERNAL} {type(error).__name__}"
    return Failure(stage, reason, f"{_REPORT} ({stage})", "".join(traceback.format_exception(error)))


def timed_out(stage: str, limit_s: float) -> Failure:
    """Describe a timeout of a case."""
    reason = f"the case was not finished within {limit_s:g} s"
    return Failure(stage, reason, f"check the storage of the study, or raise --case-timeout, {_RETRY}", reason)


def lost_worker(stage: str, cause: str) -> Failure:
    """Describe a case whose workers ended repeatedly."""
    reason = f"the worker ended: {cause}"
    advice = "please report it, with the traceback that --log-file keeps" if cause.startswith("exit code") else _MEMORY
    return Failure(stage, reason, advice, reason)


def _reason_and_advice(error: BaseException, stage: str) -> tuple[str, str]:
    text = " ".join(str(error).split()) or type(error).__name__
    if ran_out_of_memory(error):
        return text if isinstance(error, MoseError) else f"out of memory: {text}", _MEMORY
    if isinstance(error, ConfigError):
        return text, "correct the input or option and run again"
    if isinstance(error, MoseError):
        return text, f"repair the input or leave it out, {_RETRY}"
    if isinstance(error, OSError):
        todo = "make room for the results" if error.errno in _SPACE else "check the disk"
        return error.strerror or text, f"{todo}, {_RETRY}"
    return f"{_INTERNAL} {type(error).__name__}: {text}", f"{_REPORT} ({stage})"


def _concealed(reason: str, request: CaseRequest) -> str:
    words: dict[str, str] = {}
    named = ((request.nodules, "the nodule list"), (request.lung_mask, "the lung mask"), (request.source, "the study"))
    for path, word in named:
        if path is not None:
            words |= {str(path.absolute().parent): "the folder", str(path.absolute()): word, str(path): word}
    for name in sorted(words, key=len, reverse=True):
        reason = reason.replace(name, words[name]) if len(name) > 1 else reason
    reason = _UID.sub("a UID", reason)
    for number, name in enumerate(_file_names(request.source), start=1):
        if name in reason:
            pattern = rf"(?<![\w./]){re.escape(name)}(?![\w./])"
            reason = re.sub(pattern, f"file {number}", reason, count=0 if len(name) >= _TELLING_LENGTH else 1)
    return reason


def _file_names(source: Path) -> list[str]:
    """Names of the files of a study as messages name them, sorted."""
    with contextlib.suppress(OSError, DataError):
        if source.is_dir():
            found = files_below(source)
            return sorted(path.relative_to(source).as_posix() for path in (*found.files, *found.broken_links))
        if zipfile.is_zipfile(source):
            with named_zip_errors("the study cannot be unpacked"), zipfile.ZipFile(source) as archive:
                return sorted(archive.namelist())
    return []
