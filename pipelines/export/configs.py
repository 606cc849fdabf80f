"""The config files that go into a bundle: whole, with the settings of the weights, without a path of the training."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from mose_med.checkpoint import ModelConfig
from mose_med.errors import ConfigError
from mose_med.files.zip_files import named_zip_errors
from mose_med.networks.registry import DEFAULT_NETWORK
from pipelines.train.config import SEVERAL_PROCESSES, TRACKING, bundle_configs, compose, config_files

__all__ = ["OVERLAYS", "bundle_metadata", "config_texts", "model_settings", "named_bundle"]

#: Folder of the overlays, beside the bundles and among the config files of an exported one.
OVERLAYS = "overlays"

_PREPROCESSING = "mose_med.preprocessing.Preprocessing"
#: With which an expression, a reference and a macro begin, and with them the names that MONAI takes for its own.
_SIGNS = ("$", "@", "%")
_SIGNS_OF_NAMES = (*_SIGNS, "_", "+")
_BASE = "train.yaml"
_INFERENCE = "inference.yaml"
#: The same again, under the name that the model zoo, MONAI Label and Deploy look for.
_INFERENCE_JSON = "inference.json"
_METADATA = "metadata.json"
#: Settings that name places and devices of one machine.
_OF_MACHINE = ("bundle_root", "datalist", "output_dir", "device_name")


def config_texts(bundle: str, model: ModelConfig, trained: Mapping[str, Any] | None) -> dict[str, str]:
    """Config files by path below the bundle's ``configs``, the overlays in ``overlays``.

    Args:
        bundle: which of this project's bundles the model belongs to.
        model: what the weights mean.
        trained: merged configuration of the training, if it is known.
    """
    folder = bundle_configs(bundle)
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if path.is_file()}
    overlays = sorted((folder.parents[1] / OVERLAYS).glob("*.yaml"))
    texts |= {f"{OVERLAYS}/{path.name}": path.read_text(encoding="utf-8") for path in overlays}
    inference = ConfigParser.load_config_file(str(folder / _INFERENCE))
    for name, config in ((_BASE, _training(bundle, trained)), (_INFERENCE, inference)):
        texts[name] = yaml.safe_dump(_of_model(config, model), sort_keys=False, allow_unicode=True, width=120)
    texts[_INFERENCE_JSON] = json.dumps(_of_model(inference, model), indent=2) + "\n"
    texts[_METADATA] = json.dumps(bundle_metadata(bundle, model), indent=2) + "\n"
    return texts


def named_bundle(bundle: Path) -> str:
    """The bundle of this project that one in a zip file or a folder belongs to, by the name in its metadata.

    Raises:
        ConfigError: if it is none of them.
        DataError: if the zip file cannot be read.
    """
    names = [json.loads(text).get("name") for text in _metadata_of(bundle)]
    for path in sorted(Path(str(files("configs"))).glob(f"*/configs/{_METADATA}")):
        if json.loads(path.read_text(encoding="utf-8"))["name"] in names:
            return path.parents[1].name
    raise ConfigError(f"bundle {bundle} does not name its bundle: pass --bundle")


def _metadata_of(bundle: Path) -> list[bytes]:
    if bundle.is_dir():
        return [path.read_bytes() for path in bundle.glob(f"configs/{_METADATA}")]
    with named_zip_errors(f"bundle {bundle} cannot be read"), zipfile.ZipFile(bundle) as content:
        return [content.read(name) for name in content.namelist() if name.endswith(f"/configs/{_METADATA}")]


def bundle_metadata(bundle: str, model: ModelConfig) -> dict[str, Any]:
    """MONAI's description of the bundle, with the sizes and classes of these weights."""
    path = bundle_configs(bundle) / _METADATA
    metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    ports = metadata["network_data_format"]
    image, pred = ports["inputs"]["image"], ports["outputs"]["pred"]
    image["num_channels"] = model.network.get("in_channels", image["num_channels"])
    pred["num_channels"] = len(model.classes)
    pred["channel_def"] = {str(index): name for index, name in enumerate(model.classes)}
    for port in (image, pred):
        port["spatial_shape"] = list(model.preprocessing.roi_size)
    return metadata


def _training(bundle: str, trained: Mapping[str, Any] | None) -> dict[str, Any]:
    base = compose(config_files(bundle, (), tracking=False), {})
    config = deepcopy(dict(trained or base))
    for overlay in (TRACKING, SEVERAL_PROCESSES) if trained else ():
        _without_overlay(config, base, bundle_configs(bundle) / f"{overlay}.yaml")
    return config | {name: base[name] for name in _OF_MACHINE if name in base}


def _of_model(config: dict[str, Any], model: ModelConfig) -> dict[str, Any]:
    """A configuration with the settings of the weights."""
    settings = model_settings(model)
    target = config.get("preprocessing", {}).get("_target_", _PREPROCESSING)
    return config | settings | {"preprocessing": settings["preprocessing"] | {"_target_": target}}


def model_settings(model: ModelConfig) -> dict[str, Any]:
    """What the weights mean, as settings of a config file.

    Config files are code, and a checkpoint is data: a name or a text that MONAI would give a meaning is refused.

    Raises:
        ConfigError: naming it.
    """
    values: dict[str, Any] = json.loads(json.dumps(model.to_dict()))
    for text in _code(values):
        raise ConfigError(f"the model's own settings hold {text!r}, which a config file would run as code")
    if values["network"]["name"] == DEFAULT_NETWORK:  # as the bundles' own files have it
        del values["network"]["name"]
    return values | {"preprocessing": {"_target_": _PREPROCESSING} | values["preprocessing"]}


def _code(values: Any) -> Iterator[str]:
    """Names and texts of nested plain values that MONAI would interpret."""
    if isinstance(values, str) and values.startswith(_SIGNS):
        yield values
    elif isinstance(values, Mapping):
        yield from (name for name in values if name.startswith(_SIGNS_OF_NAMES))
        yield from (found for value in values.values() for found in _code(value))
    elif isinstance(values, Sequence) and not isinstance(values, str):
        yield from (found for value in values for found in _code(value))


def _without_overlay(config: dict[str, Any], base: Mapping[str, Any], path: Path) -> None:
    """Remove what an overlay has added: it is a separate file of the bundle."""
    overlay: dict[str, Any] = ConfigParser.load_config_file(str(path))
    for name, value in overlay.items():
        if name.startswith("+"):
            config[name[1:]] = [entry for entry in config.get(name[1:], []) if entry not in value]
        else:
            _restore(config, base, name.split("::"))


def _restore(config: dict[str, Any], base: Mapping[str, Any], keys: list[str]) -> None:
    for key in keys[:-1]:
        config, base = config[key], base[key]
    if keys[-1] in base:
        config[keys[-1]] = base[keys[-1]]
    else:
        config.pop(keys[-1], None)
