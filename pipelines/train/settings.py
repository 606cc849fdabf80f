"""Settings of a training that are in no file: those typed with ``--set name=value``, and those of the data."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import nibabel as nib
import yaml

from mose_med.data import Datalist
from mose_med.errors import ConfigError
from mose_med.io.nifti.damaged import named_nifti_errors
from pipelines.train.config import setting_names

__all__ = ["OWN_OPTIONS", "data_settings", "setting", "typed_settings", "with_settings"]

#: Settings that have their own options.
OWN_OPTIONS = {
    "datalist": "--datalist",
    "output_dir": "--output-dir",
    "seed": "--seed",
    "device_name": "--device",
    "max_epochs": "--max-epochs",
    "max_minutes": "--max-minutes",
    "tracking_uri": "--tracking-uri",
}
#: What MONAI would evaluate or look up.
_EVALUATED = ("$", "@", "%")
_logger = logging.getLogger(__name__)


def typed_settings(typed: Iterable[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, their values typed as YAML does.

    Args:
        typed: ``name=value``; ``network::channels`` is a setting in another.
        config: the merged configuration, which has the names.

    Raises:
        ConfigError: if one is not of this form, has no such name, has its own option, or is an expression.

    Example:
        >>> typed_settings(["rate=1e-4", "classes=[1, 2]"], {"rate": 0.1, "classes": [1]})
        {'rate': 0.0001, 'classes': [1, 2]}
    """
    names = set(setting_names(config))
    settings: dict[str, Any] = {}
    for text in typed:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not name:
            raise ConfigError(f"--set must be name=value, got {text!r}")
        name = name.replace("#", "::")
        if name in OWN_OPTIONS:
            raise ConfigError(f"--set {name} has its own option: use {OWN_OPTIONS[name]}")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see `mose-med config list`"
            raise ConfigError(f"--set {name}: train.yaml has no such setting: {hint}")
        settings[name] = _typed(name, value, setting(config, name))
    return settings


def _typed(name: str, text: str, before: Any) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {name}={text} is not valid YAML: {' '.join(str(error).split())}") from error
    if isinstance(value, str) and value.startswith(_EVALUATED):
        raise ConfigError(f"--set {name} must be a plain value, got {text!r}: put an expression into a file, --config")
    if isinstance(value, str) and (before is None or isinstance(before, float | int)):
        try:
            return float(value)  # 1e-4, which YAML 1.1 takes for text
        except ValueError:
            if before is not None:
                raise ConfigError(f"--set {name} must be a number, got {text!r}") from None
    return value


def setting(config: Mapping[str, Any], name: str) -> Any:
    """Value of a setting, ``network::channels`` for instance; None if there is none."""
    value: Any = config
    for part in name.split("::"):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def with_settings(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with other values of some settings.

    Example:
        >>> with_settings({"network": {"in_channels": 1}}, {"network::in_channels": 3})
        {'network': {'in_channels': 3}}
    """
    changed = dict(config)
    for name, value in settings.items():
        first, inside, rest = name.partition("::")
        changed[first] = with_settings(changed.get(first) or {}, {rest: value}) if inside else value
    return changed


def data_settings(datalist: Datalist, base: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Raters, classes, channels and spacing as the data have them, where nobody has said otherwise.

    Args:
        datalist: of the training.
        base: configuration of the bundle.
        config: the same with overlays and what was typed; what differs there was chosen, and stays.
    """
    wanted: dict[str, Any] = {"num_raters": datalist.num_raters, "network::in_channels": _channels(datalist)}
    if datalist.classes != tuple(base["classes"]):
        number = len(datalist.classes)
        wanted |= {"classes": list(datalist.classes), "network::out_channels": number}
        wanted["metric_classes"] = list(range(1, number))
    settings = {
        name: value
        for name, value in wanted.items()
        if setting(config, name) == setting(base, name) and setting(base, name) not in (None, value)
    }
    spacing = "preprocessing::spacing_mm"
    if datalist.spacing_mm is not None and setting(config, spacing) is None:
        settings[spacing] = datalist.spacing_mm
    if settings:
        _logger.info("taken from the data: %s", ", ".join(f"{name} {value}" for name, value in settings.items()))
    return settings


def _channels(datalist: Datalist) -> int:
    """Channels of the first image: its last axis after three of space."""
    image = datalist.part("training")[0].image
    with named_nifti_errors(f"image {image} cannot be read"):
        shape = nib.load(image).shape
    return int(shape[3]) if len(shape) > 3 else 1
