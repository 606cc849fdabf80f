from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mose_med.errors import ConfigError, DataError
from mose_med.metrics import Interval
from pipelines.models.comparison import Comparison, Difference
from pipelines.models.promotion import PromotionRule, promote
from pipelines.models.registry import CHAMPION, PROMOTED_OVER, ModelVersion


def comparison(ged: tuple[float, float, float], ece_change: float = -0.1, patients: int = 30) -> Comparison:
    """A comparison of a change of GED (mean, low, high) and of ECE."""
    change, low, high = ged
    return Comparison(
        data="test part",
        images=90,
        patients=patients,
        ged=Difference(0.3, 0.3 + change, change, Interval(low, high)),
        matched_iou=Difference(0.6, 0.6, 0.0, Interval(-0.1, 0.1)),
        ece_percent=Difference(1.0, 1.0 + ece_change, ece_change, Interval(ece_change - 1, ece_change + 1)),
    )


BETTER = comparison((-0.05, -0.08, -0.01))
UNSURE = comparison((-0.02, -0.05, 0.01))
WORSE = comparison((0.05, 0.01, 0.08))


@pytest.mark.parametrize(
    ("rule", "found", "wanted", "reason"),
    [
        (PromotionRule(), BETTER, True, r"GED changes by -0\.0500 \(95 % CI -0\.0800 to -0\.0100\), and ECE changes"),
        (PromotionRule(), UNSURE, False, "not significantly lower"),
        (PromotionRule(margin=0.02), UNSURE, True, "and ECE changes by -0.100 points"),
        (PromotionRule(margin=0.01), UNSURE, False, r"not significantly no worse than the margin 0\.01"),
        (PromotionRule(), comparison((-0.05, -0.08, -0.01), 0.2), False, "but ECE rises by 0.200 points, more than 0"),
        (PromotionRule(ece_margin=0.3), comparison((-0.05, -0.08, -0.01), 0.2), True, r"ECE changes by \+0\.200"),
        (PromotionRule(), replace(BETTER, patients=5), False, "5 held-out patients are too few .* at least 6"),
        (PromotionRule("force"), WORSE, True, "as requested by --promote force"),
        (PromotionRule("never"), BETTER, False, "as requested by --promote never"),
    ],
)
def test_the_rule(rule: PromotionRule, found: Comparison, wanted: bool, reason: str):
    import re

    decision = rule.decide(found)
    assert decision.promote is wanted
    assert re.search(reason, decision.reason)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "perhaps"}, "promote must be one of auto, never, force, got 'perhaps'"),
        ({"margin": 0.0}, r"margin must be > 0, got 0\.0"),
        ({"ece_margin": -1.0}, r"ece-margin must be >= 0, got -1\.0"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(settings: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        PromotionRule(**settings)


class Store:
    """A registry in memory whose alias others move: ``moves[n]`` is who they make champion after the n-th reading."""

    model = "mose"

    def __init__(self, moves: dict[int, int] | None = None) -> None:
        self.alias = 1
        self.tags: dict[int, dict[str, str]] = {1: {}, 2: {}, 3: {}}
        self.moves = moves or {}
        self.reads = 0
        self.locked = False

    def champion(self) -> ModelVersion:
        self.reads += 1
        found = self.version(self.alias)
        self.alias = self.moves.get(self.reads, self.alias)
        return found

    def version(self, number: int) -> ModelVersion:
        aliases = (CHAMPION,) if number == self.alias else ()
        return ModelVersion(number, "run", dict(self.tags[number]), aliases)

    def set_champion(self, version: ModelVersion) -> None:
        assert self.locked
        self.alias = version.number

    def set_tags(self, version: ModelVersion, tags: dict[str, str]) -> None:
        self.tags[version.number] |= tags

    @contextmanager
    def promotion_lock(self) -> Iterator[None]:
        self.locked = True
        yield
        self.locked = False


def run(store: Store, *found: Comparison, rule: PromotionRule | None = None) -> tuple[object, list[int]]:
    """Outcome of promoting version 2, and the versions it was compared with."""
    seen: list[int] = []

    def compare_with(champion: ModelVersion) -> Comparison:
        assert not store.locked  # a comparison takes minutes
        seen.append(champion.number)
        return found[len(seen) - 1]

    return promote(store, store.version(2), rule or PromotionRule(), compare_with), seen


def test_a_better_challenger_becomes_the_champion_and_records_over_whom():
    store = Store()
    outcome, seen = run(store, BETTER)
    assert (store.alias, store.tags[2][PROMOTED_OVER], seen) == (2, "1", [1])
    assert outcome.overtaken_by is None


def test_a_challenger_that_is_not_better_leaves_the_alias_alone():
    store = Store()
    outcome, _ = run(store, UNSURE)
    assert (store.alias, outcome.decision.promote, PROMOTED_OVER in store.tags[2]) == (1, False, False)


def test_a_champion_that_has_moved_is_compared_with_anew():
    store = Store(moves={1: 3})
    outcome, seen = run(store, BETTER, WORSE)
    assert (seen, store.alias, outcome.champion.number) == ([1, 3], 3, 3)


def test_a_forced_promotion_names_the_champion_that_it_replaced():
    store = Store(moves={1: 3})
    run(store, WORSE, WORSE, rule=PromotionRule("force"))
    assert (store.alias, store.tags[2][PROMOTED_OVER]) == (2, "3")


def test_being_overtaken_in_the_last_moment_is_reported():
    class Late(Store):
        def set_champion(self, version: ModelVersion) -> None:
            self.alias = 3  # another writer's request comes last

    outcome, _ = run(Late(), BETTER)
    assert outcome.overtaken_by == 3


def test_a_champion_that_never_rests_ends_in_one_sentence():
    store = Store(moves={n: 3 if n % 2 else 1 for n in range(1, 20)})
    with pytest.raises(DataError, match="champion of mose has changed 5 times during comparisons: run again"):
        run(store, *[BETTER] * 9)


def test_a_challenger_that_was_made_champion_by_hand_is_named():
    store = Store()
    store.alias = 2
    with pytest.raises(ConfigError, match="version 2 of mose is already the champion, without one before it"):
        run(store, BETTER)


def test_a_killed_promotion_is_found_done():
    store = Store()
    store.alias, store.tags[2][PROMOTED_OVER] = 2, "1"
    outcome, seen = run(store, BETTER)
    assert (outcome.decision, outcome.champion.number, seen) == ((True, "promoted before"), 1, [1])
