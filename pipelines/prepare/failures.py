"""What ``--keep-going`` does: a case that cannot be used is recorded and passed over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.files.csv_files import write_csv

__all__ = ["FAILED_NAME", "Failures"]

FAILED_NAME = "failed.csv"

logger = logging.getLogger(__name__)


class Failures:
    """Cases that could not be prepared.

    Args:
        keep_going: record them; if False the first one ends the command.
    """

    def __init__(self, *, keep_going: bool) -> None:
        self.keep_going = keep_going
        self._rows: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self._rows)

    @contextmanager
    def case(self, name: str, *, conceal: Callable[[str], str] = str) -> Iterator[None]:
        """What is done for one case; an error of its data ends it, and ends the command unless it may continue.

        Args:
            name: of the case, as it may be logged.
            conceal: takes out of a message what must not be recorded.
        """
        try:
            yield
        except (DataError, GeometryError) as error:
            if not self.keep_going:
                raise
            message = conceal(str(error))
            logger.warning("%s is left out: %s", name, message)
            self._rows.append((name, message))

    def write(self, folder: Path) -> None:
        """Write ``failed.csv``, sorted by case."""
        write_csv(folder / FAILED_NAME, ("case", "error"), sorted(self._rows))

    def require_some_left(self, num_prepared: int) -> None:
        """Refuse a source of which nothing could be prepared.

        Raises:
            ConfigError: naming the first case that failed.
        """
        if num_prepared == 0 and self._rows:
            name, error = self._rows[0]
            raise ConfigError(f"none of {len(self._rows)} cases can be prepared; the first, {name}: {error}")
