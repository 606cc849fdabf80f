"""The rank of this process, if torchrun started several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

from mose_med.errors import MoseError
from pipelines.common.processes import rank_and_count

__all__ = ["Process"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Process:
    """One process of a training.

    Attributes:
        rank: from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def from_environment(cls) -> Process:
        """Rank and count from torchrun; a process that it did not start is the only one."""
        return cls(*rank_and_count())

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and talks to the user."""
        return self.rank == 0

    def run_in_first(self, step: Callable[[], _T]) -> _T:
        """Call ``step`` in the first process; all have its result, or raise the error that it names.

        The processes must have been joined into a group, if there are several.
        """
        if self.count == 1:
            return step()
        outcome: list[Any] = [None, None]
        if self.is_first:
            try:
                outcome[0] = step()
            except MoseError as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0)
        if outcome[1] is not None:
            raise outcome[1]
        result: _T = outcome[0]
        return result
