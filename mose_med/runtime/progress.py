"""How far long work is: what it tells to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "Tell", "unseen"]

#: Is told how many are done, and of how many.
Tell = Callable[[int, int], None]
#: Is told what is counted (in the plural), how many are done, and of how many.
Progress = Callable[[str, int, int], None]


def unseen(*counts: object) -> None:
    """Either of these, for work whose progress nobody watches."""
