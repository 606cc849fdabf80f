"""A training on what the annotators have saved: prepare, retrain, and infer with the better model; no MONAI Label."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mose_med.errors import ConfigError
from pipelines.models.actions import register_bundle
from pipelines.models.comparison import read_model_config
from pipelines.models.registry import Registry
from pipelines.prepare.source_options import PrepareRaterMasksOptions
from pipelines.prepare.sources.rater_masks import prepare_rater_masks
from pipelines.retrain.options import RetrainOptions
from pipelines.retrain.run import retrain

__all__ = ["CHAMPION", "EXPORTED", "MODEL_NAME", "train_on"]

#: Weights in the folder ``model`` of the app: those of the latest promotion, and those it was exported with.
CHAMPION, EXPORTED = "champion.zip", "exported.zip"
MODEL_NAME = "mose_med"
_LOGGER = logging.getLogger(__name__)


def train_on(studies: Path, app: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Fine-tune the model of an app on the labels of a datastore; it is replaced if the new one is better.

    Args:
        studies: folder of the datastore.
        app: folder of the app.
        request: ``max_epochs``, ``promote`` (auto, never or force), ``device``, and paths of a ``held_out`` datalist
            and a ``train_config`` as of ``mose-med retrain``.

    Returns:
        What the retraining came to.

    Raises:
        ConfigError: if there are too few annotated images, or raters and classes do not fit the model.
    """
    if not studies.is_dir():
        raise ConfigError(f"training needs a datastore that is a folder, got {studies}")
    registry = Registry(MODEL_NAME, str(app / "registry"), create=True)
    if not registry.has_champion():
        register_bundle(registry, app / "model" / EXPORTED, champion=True)
    bundle = registry.download(registry.champion(), app / "model" / "start.zip")
    model = read_model_config(bundle)
    work = app / "trainings" / f"{len(list((app / 'trainings').glob('*'))) + 1:04d}"
    prepare_rater_masks(
        PrepareRaterMasksOptions(
            source=studies,
            output_dir=work / "data",
            classes=model.classes,
            roi_size=model.preprocessing.roi_size,
            spacing_mm=model.preprocessing.spacing_mm,
            num_raters=model.num_raters,
            quiet=True,
        )
    )
    result = retrain(_options(work, registry.uri, request))
    if result.promoted:
        registry.download(registry.champion(), app / "model" / CHAMPION)
    _LOGGER.info("version %d: %s", result.version, result.reason)
    return asdict(result)


def _options(work: Path, store: str, request: Mapping[str, Any]) -> RetrainOptions:
    epochs, held_out, config = (request.get(name) or None for name in ("max_epochs", "held_out", "train_config"))
    promote = request.get("promote", "auto")
    return RetrainOptions(
        work / "data" / "dataset.json",
        work / "retraining",
        MODEL_NAME,
        store,
        held_out=None if held_out is None else Path(held_out),
        configs=() if config is None else (str(config),),
        max_epochs=None if epochs is None else int(epochs),
        promote=promote[0] if isinstance(promote, list) else promote,
        device=str(request.get("device", "auto")),
        quiet=True,
    )
