"""What every command shares: logging, exit codes, and one plain line for every error a user can cause."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import TextIO

from rich.console import Console

from mose_med.errors import ConfigError, MoseError
from mose_med.files.credentials import without_credentials
from pipelines.common.memory import lost_process, ran_out_of_memory
from pipelines.common.runs.termination import Terminated, end_children, ended_by_signals

__all__ = ["ExitCode", "configure_logging", "how_to_resume", "named_log_file", "run_command", "stderr"]

#: Progress and messages; results go to files.
stderr = Console(stderr=True)

_OURS = ("pipelines", "mose_med", "data_prep")
#: Libraries whose log and warnings may quote tags of a patient, or that anticipate our own line.
_SILENCED = ("nibabel.global", "pydicom", "highdicom", "pynetdicom")
#: Attribute of the handlers that are of this module.
_MARK = "is_of_mose_med"
_DEBUG_FORMAT = "%(asctime)s %(levelname)-8s %(name)s:%(lineno)d %(message)s"
#: Way out of an error of the file system, by its number.
_ADVICE = {
    errno.EACCES: "get the permission, or name another place",
    errno.EPERM: "get the permission, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOTDIR: "a part of the path is a file, name another place",
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some space, or name another place",
}
#: Errors of a disk that has no room, which do not say where.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOST_PROCESS = "a worker process was killed, probably because memory ran out"


class ExitCode(IntEnum):
    """What the process returns to its caller."""

    DONE = 0
    SOME_CASES_FAILED = 1
    BAD_INPUT = 2
    INTERNAL_ERROR = 3
    INTERRUPTED = 130
    TERMINATED = 143


class _Terminal(logging.Handler):
    """A record is one line, however narrow the terminal, so that paths can be copied."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        stderr.print(self.format(record), style=style, markup=False, highlight=False, soft_wrap=True)


class _LogFile(logging.FileHandler):
    """A log file that the command goes on without where it cannot be written, after one warning."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="surrogateescape")
        self._warned = False

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - a name of logging
        """Warn of the first record that is not written."""
        if self._warned:
            return
        self._warned = True
        error = sys.exc_info()[1]
        reason = getattr(error, "strerror", None) or type(error).__name__
        line = f"WARNING  log file {self.baseFilename} cannot be written ({reason}): the log goes on without it"
        stderr.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Close the file; what it has no room for is lost."""
        with contextlib.suppress(OSError):
            super().close()


class _WithoutCredentials(logging.Filter):
    """Takes passwords out of a record, its traceback included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; every record passes."""
        record.msg, record.args = without_credentials(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = record.exc_text and without_credentials(record.exc_text)
        return True


def configure_logging(*, quiet: bool, log_file: Path | None, debug: bool) -> None:
    """Send this project's log, and warnings of libraries, to the terminal, and to ``log_file`` where one is named.

    The log of libraries goes to the file alone.

    Raises:
        ConfigError: if the log file cannot be written.
    """
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    terminal = _Terminal(level)
    terminal.setFormatter(logging.Formatter(_DEBUG_FORMAT if debug else "%(levelname)-8s %(message)s"))
    file = logging.NullHandler() if log_file is None else _file_handler(log_file)
    root = logging.getLogger()
    for handler in [handler for name in ("", *_OURS) for handler in logging.getLogger(name).handlers]:
        if getattr(handler, _MARK, False):
            for name in ("", *_OURS):
                logging.getLogger(name).removeHandler(handler)
            handler.close()
    for handler in (terminal, file):
        setattr(handler, _MARK, True)
        handler.addFilter(_WithoutCredentials())
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [terminal, file]
        logger.setLevel(logging.DEBUG if debug else logging.INFO)
        logger.propagate = False
    root.addHandler(file)
    for name in _SILENCED:
        logging.getLogger(name).setLevel(logging.NOTSET if debug else logging.CRITICAL + 1)
    warnings.showwarning = _show_warning


def named_log_file() -> Path | None:
    """The log file of this process; None if it has none."""
    files = [handler.baseFilename for handler in _file_handlers()]
    return Path(files[0]) if files else None


def _file_handler(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path)
    except OSError as error:
        raise ConfigError(f"log file {path} cannot be written: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(threadName)s]: %(message)s"))
    return handler


def _file_handlers() -> list[logging.FileHandler]:
    return [handler for handler in logging.getLogger(_OURS[0]).handlers if isinstance(handler, logging.FileHandler)]


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a Python warning in one line; what only developers of libraries need, and what may quote tags, as debug."""
    package = filename.rpartition("site-packages/")[2].partition("/")[0].removesuffix(".py")
    is_warning = issubclass(category, UserWarning | RuntimeWarning) and package not in _SILENCED
    text = " ".join(str(message).split())
    logging.getLogger(__name__).log(logging.WARNING if is_warning else logging.DEBUG, "%s (%s)", text, package)


def how_to_resume(overwrite: bool = False) -> str:
    """What to do after a command was stopped; ``--overwrite`` would start over."""
    return f"run the same command again{', without --overwrite,' if overwrite else ''} to continue"


def run_command(
    command: Callable[[], ExitCode | None],
    *,
    debug: bool = False,
    overwrite: bool = False,
    output: Path | str | None = None,
    on_error: Callable[[str], None] | None = None,
) -> ExitCode:
    """Run ``command`` and turn whatever it raises into an exit code and, at most, one line on stderr.

    SIGTERM ends it as Ctrl-C does: it tidies up, and no process that it started outlives it.

    Args:
        command: returns its exit code; None means done.
        debug: show tracebacks.
        overwrite: the command was called with ``--overwrite``.
        output: folder or file that it writes.
        on_error: gets the line of an error.
    """
    report = functools.partial(_report, debug=debug, on_error=on_error)
    try:
        with ended_by_signals():
            result = command()
    except MoseError as error:
        return report(str(error), ExitCode.BAD_INPUT)
    except KeyboardInterrupt as stop:
        end_children()
        code = ExitCode.TERMINATED if isinstance(stop, Terminated) else ExitCode.INTERRUPTED
        return _report(f"{code.name.lower()}: {how_to_resume(overwrite)}", code, debug=False, on_error=on_error)
    except OSError as error:
        return report(_describe_os_error(error, output), ExitCode.BAD_INPUT)
    except Exception as error:
        if ran_out_of_memory(error):
            return report(_describe_memory(error), ExitCode.BAD_INPUT)
        if lost_process(error):
            advice = f"{how_to_resume(overwrite)}, with fewer --jobs if it has them"
            return report(f"{_LOST_PROCESS}: {advice}", ExitCode.BAD_INPUT)
        where = "--debug" if named_log_file() is None else "the log file"
        message = f"internal error: {type(error).__name__}: {error} ({where} shows where; please report it)"
        return report(message, ExitCode.INTERNAL_ERROR)
    return ExitCode.DONE if result is None else result


def _describe_memory(error: Exception) -> str:
    reason = (str(error).splitlines() or [""])[0]
    return f"memory ran out{f' ({reason})' if reason else ''}: free some, or process less at once"


def _describe_os_error(error: OSError, output: Path | str | None) -> str:
    where = f"{error.filename}: " if error.filename else ""
    places = ""
    if not where and output is not None and error.errno in _FULL:
        places = f" (output {output}, or the folder of temporary files)"
    advice = _ADVICE.get(error.errno or 0, "")
    return f"{where}{error.strerror or error}{places}{f': {advice}' if advice else ''}"


def _report(message: str, code: ExitCode, *, debug: bool, on_error: Callable[[str], None] | None) -> ExitCode:
    """Say what ended the command in one line; the log file gets no words that may name a patient's files."""
    line = without_credentials(" ".join(part.strip() for part in message.splitlines()))
    if on_error is not None:
        on_error(line)
    if debug:
        sys.stderr.write(without_credentials(traceback.format_exc()))
    record = {"name": __name__, "levelno": logging.ERROR, "levelname": "ERROR", "msg": _without_names(code)}
    for handler in _file_handlers():
        handler.handle(logging.makeLogRecord(record))
    stderr.print(f"mose-med: {line}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    return code


def _without_names(code: ExitCode) -> str:
    """Kind of the error under way, and of one of ours where it was; its message may name files, and so patients."""
    kind, _, place = sys.exc_info()
    summary = f"{kind.__name__ if kind else 'error'}, exit code {int(code)}; the terminal shows why"
    if code != ExitCode.INTERNAL_ERROR:
        return summary
    return "\n".join([summary, *(part.rstrip() for part in traceback.format_tb(place))])
