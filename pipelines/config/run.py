"""What ``mose-med config`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.config.options import ShowConfigOptions
from pipelines.train.config import compose, config_files
from pipelines.train.settings import OWN_OPTIONS, typed_settings, with_settings

__all__ = ["merged", "settings_of"]


def settings_of(bundle: str) -> dict[str, Any]:
    """The knobs of a bundle by name, ``network::channels`` for instance; no wiring.

    Raises:
        ConfigError: if there is no such bundle.
    """
    return dict(_knobs(compose(config_files(bundle, (), tracking=False), {})))


def _knobs(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            if "_target_" not in value or name == "preprocessing":
                yield from _knobs(value, f"{prefix}{name}::")
        elif not _is_wiring(name, value):
            yield prefix + name, value


def _is_wiring(name: str, value: Any) -> bool:
    """Whether a value is an expression, or holds objects."""
    parts = value if isinstance(value, list) else [value]
    computed = any(isinstance(part, Mapping) or str(part).startswith(("$", "@", "%")) for part in parts)
    return computed or name in ("_target_", "imports", "bundle_root", *OWN_OPTIONS)


def merged(options: ShowConfigOptions) -> dict[str, Any]:
    """The configuration with overlays and what is typed.

    Raises:
        ConfigError: if an overlay or a setting does not fit.
    """
    config = compose(config_files(options.bundle, options.configs, tracking=False), {})
    return with_settings(config, typed_settings(options.settings, config))
