"""What MONAI's model zoo also requires of a bundle: pinned packages, files over 25 MB elsewhere, no package of ours.

The zoo's checks run on Python 3.10, so that the pins of a bundle for it are the last versions for that Python.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import PurePosixPath
from typing import Any

import yaml

from mose_med import __version__
from mose_med.checkpoint import ModelConfig
from mose_med.errors import ConfigError
from mose_med.networks.registry import network_class
from pipelines.export.configs import OVERLAYS
from pipelines.export.vendored import OWN_PACKAGE, Vendored, named_in, vendored
from pipelines.train.config import TRACKING

__all__ = ["LARGE_FILES_NAME", "large_files", "self_contained", "with_pins"]

#: What the zoo's commands download before they check a bundle.
LARGE_FILES_NAME = "large_files.yml"

_MOST_BYTES = 25 * 10**6  # that the zoo takes into its repository
_METADATA = "configs/metadata.json"
_DISTRIBUTION = "mose-med"
#: What MONAI's own commands import for these config files, and to load images, in addition to mose_med's imports.
_OF_MONAI = frozenset({"fire", "ignite", "jsonschema", "nibabel", "pydicom", "yaml"})
#: Packages that the metadata pin by their own keys.
_PINNED_ELSEWHERE = frozenset({"monai", "torch", "numpy"})
#: Last versions for Python 3.10, of packages whose later ones need a later Python.
_LAST_OF_3_10 = {"numpy": "2.2.6", "scipy": "1.15.3"}


def with_pins(texts: Mapping[str, str], model: ModelConfig) -> dict[str, str]:
    """Files of a bundle whose metadata name every package that its configs need, mose_med among them."""
    copies = vendored(_names(_of_monai(texts), model), __version__)
    pins = _pins(copies.packages) | {_DISTRIBUTION: __version__}
    return {**texts, _METADATA: _metadata(texts, pins)}


def self_contained(texts: Mapping[str, str], model: ModelConfig) -> dict[str, str]:
    """Files of a bundle that contains the modules of mose_med; without overlays and tracking, which name more.

    Raises:
        ConfigError: if the network is of another package.
    """
    kept = _of_monai(texts)
    place = network_class(model.network_name).__module__
    if place.partition(".")[0] != OWN_PACKAGE:
        raise ConfigError(
            f"network {model.network_name} is of {place}: a self-contained bundle contains only modules of mose_med"
        )
    copies = vendored(_names(kept, model), __version__)
    pins = _pins(copies.packages) | {name: _LAST_OF_3_10[name] for name in _LAST_OF_3_10 if name in copies.packages}
    pins.pop("numpy", None)
    kept |= {name: Vendored.config(kept[name]) for name in _configs(kept)}
    return {**kept, **copies.files, _METADATA: _metadata(kept, pins, numpy_version=_LAST_OF_3_10["numpy"])}


def large_files(files: Mapping[str, bytes], url: str) -> dict[str, bytes]:
    """``large_files.yml`` of the files that are too large for the zoo's repository; none if all fit.

    Args:
        files: content by path in the bundle.
        url: of the folder where they will be, each by its name.

    Raises:
        ConfigError: if the address is invalid.
    """
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"large-files must be the address of a folder, https://..., got {url!r}")
    entries = [
        {
            "path": name,
            "url": f"{url.rstrip('/')}/{PurePosixPath(name).name}",
            "hash_val": hashlib.sha256(content).hexdigest(),
            "hash_type": "sha256",
        }
        for name, content in sorted(files.items())
        if len(content) > _MOST_BYTES
    ]
    if not entries:
        return {}
    return {LARGE_FILES_NAME: yaml.safe_dump({"large_files": entries}, sort_keys=False, width=1000).encode()}


def _of_monai(texts: Mapping[str, str]) -> dict[str, str]:
    """Without overlays, which name other networks, and tracking, for which MONAI has commands of its own."""
    left_out = (f"configs/{OVERLAYS}/", f"configs/{TRACKING}.yaml")
    return {name: text for name, text in texts.items() if not name.startswith(left_out)}


def _configs(texts: Iterable[str]) -> list[str]:
    """Paths of the files that MONAI reads as configuration."""
    return [name for name in texts if name.startswith("configs/") and name != _METADATA]


def _names(texts: Mapping[str, str], model: ModelConfig) -> set[str]:
    """Names of mose_med in the config files, and that of the network."""
    network = network_class(model.network_name)
    own = f"{network.__module__}.{network.__qualname__}"
    return named_in([*(texts[name] for name in _configs(texts)), own])


def _pins(packages: Iterable[str]) -> dict[str, str]:
    """Installed version of every package that is neither in Python nor pinned elsewhere, by its name in pip."""
    wanted = {*packages, *_OF_MONAI} - set(sys.stdlib_module_names) - _PINNED_ELSEWHERE
    known = packages_distributions()
    names = {known[name][0] for name in wanted if name in known}
    return {name.lower(): version(name) for name in sorted(names, key=str.lower)}


def _metadata(texts: Mapping[str, str], pins: Mapping[str, str], **settings: str) -> str:
    metadata: dict[str, Any] = json.loads(texts[_METADATA])
    return json.dumps(metadata | settings | {"required_packages_version": dict(pins)}, indent=2) + "\n"
