"""How the ``mose-med`` console script starts: it can be told to end while the command line is still being loaded.

Light to import, so that there is hardly a moment before it.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

__all__ = ["main"]

#: Exit code and word of an end by each signal, as of a command that is at work.
_ENDS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}


class _Stopped(BaseException):
    """A signal came before the command was at work; no KeyboardInterrupt, which the parser takes for itself."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code, self.word = _ENDS[signal.Signals(number)]


def main() -> None:
    """Run the command line of this process and exit with its code."""
    try:
        for number in _ENDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _stop)
        from pipelines.cli import main as run

        run()
    except _Stopped as stop:
        for number in _ENDS:
            signal.signal(number, signal.SIG_IGN)
        _tell(stop, sys.argv[1:])
        sys.exit(stop.code)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)


def _tell(stop: _Stopped, arguments: list[str]) -> None:
    """Say in one line, and with ``--json`` in one object, that the command was stopped before it began."""
    from pipelines.common.command_result import JSON_FLAG, print_document, result_document

    line = f"{stop.word} before it began: run the same command again"
    sys.stderr.write(f"mose-med: {line}\n")
    if JSON_FLAG in arguments:
        command = next((word for word in arguments if not word.startswith("-")), "")
        print_document(result_document(command, stop.code, error=line), sys.stdout)
