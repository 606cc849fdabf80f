"""``mose-med export bundle``: a trained model as one zip file that stands on its own.

<name>/models/model.pt   the state dict that MONAI's commands load; model_config.json what it means, for our own
       models/model.ts   the same as TorchScript that needs only PyTorch
       configs/          MONAI's, train.yaml with every setting of the training
       docs/README.md    model card with the measured scores; evaluation.json the scores as numbers; data_license.txt
       scripts/          the modules of mose_med that the configs name, if the bundle must not need mose_med
       large_files.yml   where files over 25 MB are, for the model zoo
       LICENSE  SHA256SUMS
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from mose_med.checkpoint import Checkpoint, build_network, read_checkpoint, write_weights
from mose_med.errors import ConfigError
from mose_med.weights.files import BUNDLE_WEIGHTS, weights_file
from mose_med.weights.model_files import MODEL_CONFIG_NAME, model_sha256
from pipelines.common.runs.run_folder import OPTIONS_NAME
from pipelines.evaluate.files import METRICS_NAME, Evaluation, read_evaluation
from pipelines.export.archive import write_archive
from pipelines.export.card import model_card
from pipelines.export.configs import config_texts, named_bundle
from pipelines.export.model_zoo import large_files, self_contained, with_pins
from pipelines.export.options import ExportBundleOptions
from pipelines.export.torchscript import torchscript_bytes
from pipelines.train.config import bundle_configs
from pipelines.train.run import CONFIG_NAME

__all__ = ["ExportBundleOptions", "export_bundle"]

#: Pages of a bundle that hold for every model of it.
_PAGES = ("README.md", "data_license.txt")
_logger = logging.getLogger(__name__)


def export_bundle(options: ExportBundleOptions) -> Path:
    """Write the zip file; the same inputs and versions give the same bytes.

    Raises:
        ConfigError: if checkpoint, evaluation, bundle or target is not suitable.
        DataError: if the checkpoint is damaged.
    """
    target = options.output_file
    if target.suffix != ".zip":
        raise ConfigError(f"output file must end in .zip, got {target}")
    if target.exists() and not options.overwrite:
        raise ConfigError(f"{target} exists: name another output file or add --overwrite")
    with weights_file(options.checkpoint) as weights:
        found, sha256 = read_checkpoint(weights), model_sha256(weights)
    scores = None if options.evaluation is None else _scores(options.evaluation, sha256, options.checkpoint)
    bundle = options.bundle or _bundle_of(options.checkpoint)
    texts = _texts(bundle, found, sha256, scores, options)
    texts = self_contained(texts, found.config) if options.self_contained else with_pins(texts, found.config)
    files = {name: text.encode() for name, text in texts.items()}
    files |= _models(found, options.checkpoint, files["configs/metadata.json"])
    if options.large_files is not None:
        files |= large_files(files, options.large_files)
    write_archive(target, target.stem, files)
    _logger.info("%s holds %d files", target, len(files))
    return target


def _scores(folder: Path, sha256: str, checkpoint: Path) -> Evaluation:
    evaluation = read_evaluation(folder.parent if folder.name == METRICS_NAME else folder)
    if evaluation is None:
        raise ConfigError(f"evaluation {folder} has no {METRICS_NAME}: name the output folder of mose-med evaluate")
    if evaluation.checkpoint_sha256 != sha256:
        raise ConfigError(f"evaluation {folder} belongs to another checkpoint than {checkpoint}: evaluate this one")
    return evaluation


def _bundle_of(checkpoint: Path) -> str:
    """That of the checkpoint, if it is a bundle; else that of its training, and lidc if both are unknown."""
    if checkpoint.is_dir() or checkpoint.suffix == ".zip":
        return named_bundle(checkpoint)
    training, record = checkpoint.parent, checkpoint.parent / OPTIONS_NAME
    if not (training / CONFIG_NAME).is_file() or not record.is_file():
        return "lidc"
    return str(json.loads(record.read_text(encoding="utf-8")).get("bundle", "lidc"))


def _texts(
    bundle: str, found: Checkpoint, sha256: str, scores: Evaluation | None, options: ExportBundleOptions
) -> dict[str, str]:
    root = bundle_configs(bundle).parent
    path = options.checkpoint.parent / CONFIG_NAME
    trained: dict[str, Any] | None = ConfigParser.load_config_file(str(path)) if path.is_file() else None
    texts = {f"configs/{name}": text for name, text in config_texts(bundle, found.config, trained).items()}
    pages = {name: (root / "docs" / name).read_text(encoding="utf-8") for name in _PAGES}
    pages["README.md"] = model_card(pages["README.md"], found, sha256, scores, self_contained=options.self_contained)
    if scores is not None:
        pages["evaluation.json"] = json.dumps(scores.to_dict(), indent=2) + "\n"
    texts |= {f"docs/{name}": text for name, text in pages.items()}
    texts["LICENSE"] = (root / "LICENSE").read_text(encoding="utf-8")
    return texts


def _models(found: Checkpoint, source: Path, metadata: bytes) -> dict[str, bytes]:
    """Weights alone, the averaged ones where there are any, with what they mean, and as TorchScript."""
    network = build_network(found, f"checkpoint {source}")
    kept = replace(found, model=network.state_dict(), ema=None)
    with tempfile.TemporaryDirectory() as folder:
        weights, description = Path(folder) / BUNDLE_WEIGHTS.name, Path(folder) / "metadata.json"
        write_weights(weights, kept)
        description.write_bytes(metadata)
        return {
            str(BUNDLE_WEIGHTS): weights.read_bytes(),
            str(BUNDLE_WEIGHTS.with_name(MODEL_CONFIG_NAME)): weights.with_name(MODEL_CONFIG_NAME).read_bytes(),
            str(BUNDLE_WEIGHTS.with_suffix(".ts")): torchscript_bytes(weights, description),
        }
