"""Composition of a bundle's training configuration: base, overlays and the values of the command line.

Config files are code in MONAI: a value that begins with ``$`` is evaluated. Values of the command line are not: paths
are made absolute, so that none begins with a sign that MONAI gives a meaning, and the device is checked.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from mose_med.errors import ConfigError

__all__ = [
    "SEVERAL_PROCESSES",
    "TRACKING",
    "bundle_configs",
    "bundle_names",
    "compose",
    "config_files",
    "overlay_names",
    "setting_names",
]

#: Overlay of every bundle that turns tracking on.
TRACKING = "mlflow"
#: Overlay of every bundle for one of several processes.
SEVERAL_PROCESSES = "multi_gpu_train"
_SUFFIXES = (".yaml", ".yml", ".json")


def bundle_configs(bundle: str) -> Path:
    """Folder with the config files of a bundle of this project.

    Raises:
        ConfigError: if there is no such bundle.
    """
    root = Path(str(files("configs")))
    if bundle not in bundle_names():
        raise ConfigError(f"bundle must be one of {', '.join(bundle_names())}, got {bundle!r}")
    return root / bundle / "configs"


def bundle_names() -> tuple[str, ...]:
    """Bundles of this project that can be trained."""
    return tuple(sorted(path.parents[1].name for path in Path(str(files("configs"))).glob("*/configs/train.yaml")))


def config_files(
    bundle: str, overlays: tuple[str, ...], *, tracking: bool, several_processes: bool = False
) -> list[Path]:
    """Base and overlays, in the order in which they are merged.

    Args:
        bundle: name of the bundle.
        overlays: files, or names out of :func:`overlay_names`.
        tracking: whether to add the bundle's tracking overlay.
        several_processes: whether to add the bundle's overlay for one of several processes.

    Raises:
        ConfigError: if one is missing, cannot be read, or names a setting that the base does not have, or if two of the
            bundle's own define the same object.
    """
    folder = bundle_configs(bundle)
    added = [name for name, wanted in ((TRACKING, tracking), (SEVERAL_PROCESSES, several_processes)) if wanted]
    base = [folder / f"{name}.yaml" for name in ("train", *added)]
    found = [_overlay(overlay, folder) for overlay in overlays]
    own = set(_named_overlays(folder).values())
    _check_objects([path for path in found if path in own])
    known = ConfigParser.load_config_files([str(path) for path in (*base, *(path for path in found if path in own))])
    for path in found:
        if path not in own:
            _check_names(path, known)
    return list(dict.fromkeys([*base, *found]))


def compose(paths: list[Path], values: Mapping[str, Any]) -> dict[str, Any]:
    """The merged configuration, unevaluated, with the values of the command line."""
    config: dict[str, Any] = ConfigParser.load_config_files([str(path) for path in paths])
    return config | dict(values)


def overlay_names(bundle: str) -> tuple[str, ...]:
    """Overlays that a bundle knows by name: those for all bundles, and its own that change the training."""
    return tuple(sorted(_named_overlays(bundle_configs(bundle))))


def _named_overlays(folder: Path) -> dict[str, Path]:
    shared = (folder.parents[1] / "overlays").glob("*.yaml")
    return {path.stem: path for path in (*shared, *(folder / f"{name}.yaml" for name in (TRACKING, SEVERAL_PROCESSES)))}


def _overlay(overlay: str, folder: Path) -> Path:
    if Path(overlay).suffix in _SUFFIXES:
        if not Path(overlay).is_file():
            raise ConfigError(f"config {overlay} does not exist")
        return Path(overlay).resolve()
    known = _named_overlays(folder)
    if overlay not in known:
        raise ConfigError(f"config must be a YAML or JSON file or one of {', '.join(sorted(known))}, got {overlay!r}")
    return known[overlay]


def _check_objects(overlays: list[Path]) -> None:
    """Refuse overlays that define different objects under one name: a mixture of both is of no use."""
    found: dict[str, str] = {}
    for path in dict.fromkeys(overlays):
        for name, value in ConfigParser.load_config_file(str(path)).items():
            if isinstance(value, Mapping) and "_target_" in value and name in found:
                raise ConfigError(f"overlays {found[name]} and {path.stem} each define {name}: choose one of them")
            if isinstance(value, Mapping) and "_target_" in value:
                found[name] = path.stem


def _check_names(path: Path, known: Mapping[str, Any]) -> None:
    try:
        content = ConfigParser.load_config_file(str(path))
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise ConfigError(f"config {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"config {path} must hold settings by name, got {type(content).__name__}")
    names = set(setting_names(known))
    for name in setting_names(content, into=_is_checked):
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f": did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"config {path} sets {name!r}, which train.yaml does not have{hint}")


def _is_checked(key: str, value: Mapping[Any, Any]) -> bool:
    """Whether the names in a mapping are those of the base; another object or network and additions (``+``) are not."""
    other = "_target_" in value or (key == "network" and "name" in value)
    return not other and not key.startswith("+")


def setting_names(
    content: Mapping[Any, Any], prefix: str = "", into: Callable[[str, Mapping[Any, Any]], bool] = lambda *_: True
) -> Iterator[str]:
    """``network``, ``network::channels`` and so on, of every setting in the mappings that ``into`` accepts."""
    for key, value in content.items():
        name = prefix + str(key).removeprefix("+").replace("#", "::")
        yield name
        if isinstance(value, Mapping) and into(str(key), value):
            yield from setting_names(value, f"{name}::", into)
