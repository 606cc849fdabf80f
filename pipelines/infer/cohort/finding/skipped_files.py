"""Files that the search for cases skipped: names on the terminal, only numbers in the log."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from enum import StrEnum

from pipelines.common.command_line.console import stderr

__all__ = ["Reason", "SkippedFiles"]

_LOGGER = logging.getLogger(__name__)
#: This many names of a kind are printed.
_NAMES = 5


class Reason(StrEnum):
    """Why something below the input folder belongs to no case."""

    STRAY = "files outside the studies"
    LOOSE = "DICOM files, or files named like slices, outside any study folder"
    OUTPUT = "folders with results of mose-med"
    TWICE = "links to a file that is already a case"
    BROKEN = "broken links"
    CLOSED = "folders that cannot be listed (no permission)"


#: What cannot be a study.
_NO_STUDIES = (Reason.STRAY, Reason.OUTPUT)


class SkippedFiles:
    """Collects paths and reports them."""

    def __init__(self) -> None:
        self._paths: dict[Reason, list[str]] = defaultdict(list)

    def add(self, reason: Reason, *paths: str) -> None:
        """Note skipped paths."""
        if paths:
            self._paths[reason] += paths

    def lines(self, root: str) -> list[str]:
        """One line per reason, with the first names below the root."""
        return [f"skipped: {len(self._paths[reason])} {reason}: {self._names(reason, root)}" for reason in self._known]

    def report(self, root: str, *, quiet: bool) -> None:
        """Report what was skipped; with ``quiet`` only what may be a study."""
        for reason, line in zip(self._known, self.lines(root), strict=True):
            level = logging.INFO if reason in _NO_STUDIES else logging.WARNING
            _LOGGER.log(level, "%s", self._count(reason))
            if level == logging.WARNING or not quiet:
                stderr.print(line, markup=False, highlight=False, soft_wrap=True)

    @property
    def _known(self) -> list[Reason]:
        return [reason for reason in Reason if self._paths.get(reason)]

    def _count(self, reason: Reason) -> str:
        return f"skipped: {len(self._paths[reason])} {reason}"

    def _names(self, reason: Reason, root: str) -> str:
        paths = sorted(os.path.relpath(path, root) for path in self._paths[reason])
        more = len(paths) - _NAMES
        return ", ".join(paths[:_NAMES]) + (f" and {more} more" if more > 0 else "")
