"""What every command shares: logging, exit codes, and one plain line for every error a user can cause."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from mose_med.errors import ConfigError, MoseError
from pipelines.memory import lost_process, ran_out_of_memory
from pipelines.termination import Terminated, end_children, ended_by_signals

__all__ = ["ExitCode", "configure_logging", "run_command", "stderr"]

#: Progress and messages; results go to files.
stderr = Console(stderr=True)

_LOST_PROCESS = (
    "a process that worked for this command was ended, as the system does when memory runs out: "
    "run the same command again to go on, with fewer --jobs if it has them"
)


class ExitCode(IntEnum):
    """What the process returns to its caller."""

    DONE = 0
    SOME_CASES_FAILED = 1
    BAD_INPUT = 2
    INTERNAL_ERROR = 3
    INTERRUPTED = 130
    TERMINATED = 143


def configure_logging(*, quiet: bool, log_file: Path | None, debug: bool) -> None:
    """Send this project's log records to the terminal, and to ``log_file`` where one is named.

    Raises:
        ConfigError: if the log file cannot be written.
    """
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    terminal = RichHandler(console=stderr, show_path=debug, show_time=debug, level=level, markup=False)
    handlers: list[logging.Handler] = [terminal]
    if log_file is not None:
        try:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"log file {log_file} cannot be written: {error.strerror}") from error
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("mose_med", "data_prep", "pipelines"):
        logger = logging.getLogger(name)
        for earlier in logger.handlers:
            earlier.close()
        logger.handlers[:] = handlers
        logger.setLevel(logging.DEBUG if debug else logging.INFO)
        logger.propagate = False
    logging.captureWarnings(True)


def run_command(command: Callable[[], ExitCode | None], *, debug: bool = False) -> ExitCode:
    """Run ``command`` and turn whatever it raises into an exit code and, at most, one line on stderr.

    SIGTERM ends it as Ctrl-C does: it tidies up, and no process that it started outlives it.

    Args:
        command: returns its exit code; None means done.
        debug: show tracebacks.
    """
    try:
        with ended_by_signals():
            result = command()
    except MoseError as error:
        return _report(str(error), ExitCode.BAD_INPUT, debug)
    except KeyboardInterrupt as stop:
        end_children()
        code = ExitCode.TERMINATED if isinstance(stop, Terminated) else ExitCode.INTERRUPTED
        return _report(f"{code.name.lower()}: run the same command again to go on", code, debug=False)
    except OSError as error:
        return _report(_describe_os_error(error), ExitCode.BAD_INPUT, debug)
    except Exception as error:
        if ran_out_of_memory(error):
            return _report(_describe_memory(error), ExitCode.BAD_INPUT, debug)
        if lost_process(error):
            return _report(_LOST_PROCESS, ExitCode.BAD_INPUT, debug)
        message = f"internal error: {type(error).__name__}: {error} (--debug shows where; please report it)"
        return _report(message, ExitCode.INTERNAL_ERROR, debug)
    return ExitCode.DONE if result is None else result


def _describe_memory(error: Exception) -> str:
    reason = (str(error).splitlines() or [""])[0]
    return f"memory ran out{f' ({reason})' if reason else ''}: free some, or ask for less at once"


def _describe_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _report(message: str, code: ExitCode, debug: bool) -> ExitCode:
    if debug:
        traceback.print_exc(file=sys.stderr)
    stderr.print(f"mose-med: {message}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    return code
