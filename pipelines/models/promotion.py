"""When a challenger becomes the champion, and how the alias is moved while others may move it, too.

The rule, for ``auto``: the interval of the change of GED lies below 0 (or, with a margin, below the margin), the ECE is
no higher than before (by more than its own margin), and there are enough patients for an interval to mean anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from mose_med.errors import ConfigError, DataError
from pipelines.models.comparison import Comparison
from pipelines.models.registry import PROMOTED_OVER, ModelVersion, Registry

__all__ = ["LEAST_PATIENTS", "Decision", "Mode", "Outcome", "PromotionRule", "promote"]

Mode = Literal["auto", "never", "force"]

#: With fewer, even a change that is for the better in every patient is not significant at 5 % (2 x 0.5^n > 0.05).
LEAST_PATIENTS = 6
#: How often a comparison is repeated because the champion has moved meanwhile.
_ROUNDS = 5


class Decision(NamedTuple):
    """Whether the alias moves, and why."""

    promote: bool
    reason: str


class Outcome(NamedTuple):
    """The outcome for a challenger.

    Attributes:
        decision: about it.
        champion: the version it was compared with in the end.
        comparison: with that version.
        overtaken_by: the version that another promotion put in its place at the same moment, if one did.
    """

    decision: Decision
    champion: ModelVersion
    comparison: Comparison
    overtaken_by: int | None = None


@dataclass(frozen=True)
class PromotionRule:
    """Decides from a comparison.

    Attributes:
        mode: ``auto`` by the rule, ``never``, or ``force`` regardless of the comparison.
        margin: a GED that is higher by less than this is good enough; None asks for a lower one.
        ece_margin: percentage points by which the ECE may be higher.
    """

    mode: Mode = "auto"
    margin: float | None = None
    ece_margin: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ConfigError(f"promote must be one of {', '.join(get_args(Mode))}, got {self.mode!r}")
        if self.margin is not None and not self.margin > 0:
            raise ConfigError(f"margin must be > 0, got {self.margin}")
        if not self.ece_margin >= 0:
            raise ConfigError(f"ece-margin must be >= 0, got {self.ece_margin}")

    def decide(self, comparison: Comparison) -> Decision:
        """Apply the rule."""
        if self.mode != "auto":
            return Decision(self.mode == "force", f"as requested by --promote {self.mode}")
        if comparison.patients < LEAST_PATIENTS:
            found = f"{comparison.patients} held-out patients"
            return Decision(False, f"{found} are too few to compare: at least {LEAST_PATIENTS} are needed")
        ged, ece = comparison.ged, comparison.ece_percent
        low, high = ged.interval
        limit = 0.0 if self.margin is None else self.margin
        change = f"GED changes by {ged.change:+.4f} (95 % CI {low:+.4f} to {high:+.4f})"
        if high >= limit:
            wanted = "lower" if self.margin is None else f"no worse than the margin {self.margin:g}"
            return Decision(False, f"{change}: not significantly {wanted}")
        if ece.change > self.ece_margin:
            return Decision(False, f"{change}, but ECE rises by {ece.change:.3f} points, more than {self.ece_margin:g}")
        return Decision(True, f"{change}, and ECE changes by {ece.change:+.3f} points")


def promote(
    registry: Registry,
    challenger: ModelVersion,
    rule: PromotionRule,
    compare_with: Callable[[ModelVersion], Comparison],
) -> Outcome:
    """Compare a challenger with the champion and move the alias if the rule says so.

    The alias is moved only while the champion is still the version that the challenger was compared with; if it has
    moved, the comparison is repeated with the new one. A local store is locked between reading and moving; on a server,
    that leaves the moment between the two requests, after which the alias is read again.

    Args:
        registry: of the model.
        challenger: a registered version.
        rule: decides.
        compare_with: compares the challenger with a champion.

    Raises:
        ConfigError: if there is no champion, or the challenger was promoted by hand.
        DataError: if the champion keeps changing.
    """
    champion = registry.champion()
    if champion.number == challenger.number:  # a run before this one was killed after it had moved the alias
        if PROMOTED_OVER not in champion.tags:
            raise ConfigError(
                f"version {champion.number} of {registry.model} is already the champion, without one before it"
            )
        before = registry.version(int(champion.tags[PROMOTED_OVER]))
        return Outcome(Decision(True, "promoted before"), before, compare_with(before))
    for _ in range(_ROUNDS):
        comparison = compare_with(champion)
        decision = rule.decide(comparison)
        with registry.promotion_lock():
            now = registry.champion()
            if now.number == champion.number:
                overtaken = _move(registry, challenger, champion) if decision.promote else None
                return Outcome(decision, champion, comparison, overtaken)
        champion = now
    raise DataError(f"the champion of {registry.model} has changed {_ROUNDS} times during comparisons: run again")


def _move(registry: Registry, challenger: ModelVersion, champion: ModelVersion) -> int | None:
    registry.set_tags(challenger, {PROMOTED_OVER: str(champion.number)})
    registry.set_champion(challenger)
    after = registry.champion().number
    return None if after == challenger.number else after
