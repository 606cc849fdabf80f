"""What ``mose-med models`` does: register, list, compare, roll back, download, sync."""

from __future__ import annotations

from pathlib import Path

from mose_med.data import load_datalist
from mose_med.errors import ConfigError
from mose_med.runtime.device import choose_device
from pipelines.models.comparison import Comparison, Scoring, SliceScores, compare, read_model_config, score_model
from pipelines.models.options import CompareOptions
from pipelines.models.registry import PROMOTED_OVER, ModelVersion, Registry

__all__ = ["CompareOptions", "compare_versions", "register_bundle", "require_bundle", "roll_back"]


def require_bundle(bundle: Path) -> None:
    """Refuse what is no bundle, before a store is made for it.

    Raises:
        ConfigError: if the file is not a bundle.
        DataError: if it is damaged.
    """
    if bundle.suffix != ".zip" or not bundle.is_file():
        raise ConfigError(f"bundle must be a zip file of `mose-med export bundle`, got {bundle}")
    read_model_config(bundle)


def register_bundle(registry: Registry, bundle: Path, *, champion: bool) -> ModelVersion:
    """Add a bundle as a version; the first one, or any if asked to, becomes the champion.

    Raises:
        ConfigError: if the file is not a bundle.
        DataError: if it is damaged, or the store refuses.
    """
    require_bundle(bundle)
    version = registry.register(bundle, {})
    with registry.promotion_lock():
        if not registry.has_champion():
            registry.set_champion(version)
        elif champion:
            now = registry.champion()
            if now.number != version.number:
                registry.set_tags(version, {PROMOTED_OVER: str(now.number), "decision": "promoted: by hand"})
                registry.set_champion(version)
    return registry.version(version.number)


def compare_versions(registry: Registry, options: CompareOptions, folder: Path) -> Comparison:
    """Compare two versions on a part of a datalist.

    Args:
        registry: of the model.
        options: which versions, on what.
        folder: where their bundles are kept.

    Raises:
        ConfigError: if there is no such version, or the data do not fit.
    """
    datalist = load_datalist(options.datalist)
    patients = [entry.patient_id for entry in datalist.part(options.part)]
    scoring = Scoring(options.num_samples, options.seed, str(choose_device(options.device)), quiet=options.quiet)

    def scores(number: int) -> SliceScores:
        bundle = registry.download(registry.version(number), folder / f"version-{number}.zip")
        return score_model(bundle, f"version {number}", datalist, options.part, scoring)

    first, second = scores(options.first), scores(options.second)
    return compare(first, second, patients, f"{options.part} part of {datalist.name}")


def roll_back(registry: Registry, to: int | None) -> tuple[ModelVersion, ModelVersion]:
    """Make an earlier version the champion again.

    Args:
        registry: of the model.
        to: which; None for the one that the champion was promoted over.

    Returns:
        The version that was champion, and the one that is now.

    Raises:
        ConfigError: if there is no champion, no such version, or none to go back to.
    """
    with registry.promotion_lock():
        champion = registry.champion()
        if to is None and PROMOTED_OVER not in champion.tags:
            raise ConfigError(
                f"version {champion.number} of {registry.model} had no champion before it: name one with --to"
            )
        target = registry.version(int(champion.tags[PROMOTED_OVER]) if to is None else to)
        if target.number == champion.number:
            raise ConfigError(f"version {target.number} of {registry.model} is already the champion")
        registry.set_champion(target)
        registry.set_tags(champion, {"rolled_back_to": str(target.number)})
    return champion, registry.version(target.number)
