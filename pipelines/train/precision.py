"""The precision of a training: the forward and backward products of the network; weights stay in float32."""

from __future__ import annotations

import logging

from monai.bundle import ConfigParser

from mose_med.errors import ConfigError
from mose_med.inferers import AutocastInferer
from mose_med.inferers.precision import AskedPrecision, chosen_precision

__all__ = ["set_precision"]

_LOGGER = logging.getLogger(__name__)


def set_precision(parser: ConfigParser, asked: AskedPrecision) -> bool:
    """Let the training's network compute in a precision; return whether it is bfloat16.

    Raises:
        ConfigError: if it is float16, whose gradients vanish, or the configuration has its own way to call the network.
    """
    if asked == "fp16":
        raise ConfigError("precision must be auto, fp32 or bf16 for a training, got 'fp16': its gradients would vanish")
    inferer = parser.get_parsed_content("train::inferer")
    if not isinstance(inferer, AutocastInferer):
        raise ConfigError(f"precision needs the inferer of the bundle, got {type(inferer).__name__} from an overlay")
    network, preprocessing = (parser.get_parsed_content(name) for name in ("network_def", "preprocessing"))
    choice = chosen_precision(network, asked, preprocessing)
    _LOGGER.info("precision: %s (%s)", *choice)
    inferer.enabled = choice.precision == "bf16"
    return inferer.enabled
