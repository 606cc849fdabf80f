"""Colours of experts, the same in the review page and in the sheets, all visible on grey CT; and of diagrams."""

from __future__ import annotations

__all__ = ["CONSENSUS_COLOUR", "DIAGRAM_COLOURS", "expert_colour"]

CONSENSUS_COLOUR = "#ffffff"
#: Of the methods of a diagram on white, in turn.
DIAGRAM_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_EXPERTS = ("#36b0f5", "#ffa319", "#25d494", "#ff7ac6", "#f2e63d", "#b69cff", "#ff6a3d", "#7fd4d4")


def expert_colour(expert: int) -> str:
    """Colour of an expert, counted from 0; they repeat after eight.

    Example:
        >>> expert_colour(1) == expert_colour(9)
        True
    """
    return _EXPERTS[expert % len(_EXPERTS)]
