"""Weights that a training starts from, in place of random ones."""

from __future__ import annotations

from pathlib import Path

from monai.bundle import ConfigParser

from mose_med.checkpoint import build_network, read_checkpoint
from mose_med.errors import ConfigError
from mose_med.weights.files import weights_file

__all__ = ["load_initial_weights"]


def load_initial_weights(parser: ConfigParser, source: Path) -> None:
    """Put the weights of a checkpoint or bundle into the network of a training that has not begun.

    The checkpoints of the training record the data that the weights were trained on.

    Call it before any other part is built: an average of the weights, for one, begins with what it finds.

    Raises:
        ConfigError: if architecture, preprocessing or classes are not those of the training.
        DataError: if the file is damaged.
    """
    with weights_file(source) as path:
        checkpoint = read_checkpoint(path)
    model = parser.get_parsed_content("model_config")
    model.require_same_data(checkpoint.config, str(source), "the config says")
    weights = build_network(checkpoint, f"checkpoint {source}").state_dict()
    try:
        parser.get_parsed_content("network_def").load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).splitlines()[1:2]).strip() or str(error)
        raise ConfigError(f"{source} has a different network from the config: {reason}") from error
    kept = parser.get_parsed_content("checkpoints").learnt_from
    kept += [record for record in checkpoint.learnt_from if record not in kept]
