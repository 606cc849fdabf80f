"""What the weights of a model mean: architecture, preprocessing, classes, raters."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mose_med.errors import ConfigError
from mose_med.networks.registry import DEFAULT_NETWORK, network_class
from mose_med.preprocessing import Preprocessing

__all__ = ["ModelConfig"]


@dataclass(frozen=True)
class ModelConfig:
    """What the weights mean.

    Attributes:
        network: keyword arguments of the network's class, sequences as lists, as JSON and YAML hold them. A ``name``
            among them is :attr:`network_name`.
        preprocessing: what the network was shown.
        classes: name of every class, background first.
        num_raters: most annotations an image of the training data had.
        network_name: of the class, see :mod:`mose_med.networks.registry`.
    """

    network: dict[str, Any]
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    num_raters: int
    network_name: str = DEFAULT_NETWORK

    def __post_init__(self) -> None:
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in self.network.items()}
        object.__setattr__(self, "network_name", plain.pop("name", self.network_name))
        object.__setattr__(self, "network", plain)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return {
            "network": {"name": self.network_name, **self.network},
            "preprocessing": self.preprocessing.to_dict(),
            "classes": list(self.classes),
            "num_raters": self.num_raters,
        }

    def require_equal(self, other: ModelConfig, source: str) -> None:
        """Refuse weights that mean something else, naming the first setting that differs.

        A network setting that one of the two does not name has its default there.

        Args:
            other: of ``source``.
            source: of the other one, a checkpoint file.

        Raises:
            ConfigError: if they differ.
        """
        mine, theirs = (json.loads(json.dumps(config.to_dict())) for config in (self, other))
        here, there = (_network_defaults(self.network_name) | config["network"] for config in (mine, theirs))
        for name in ("name", *sorted(set(here) | set(there))):
            if here.get(name) != there.get(name):
                raise ConfigError(f"{source} has network {name}={there.get(name)}, the config says {here.get(name)}")
        self.require_same_data(other, source, "the data have")

    def require_same_data(self, other: ModelConfig, source: str, own: str) -> None:
        """Refuse weights for other images, classes or raters, naming the first setting that differs.

        Args:
            other: of ``source``.
            source: of the other one, a checkpoint file.
            own: whose settings these are, and a verb: ``the config says``.

        Raises:
            ConfigError: if they differ.
        """
        self.preprocessing.require_equal(other.preprocessing, source)
        for name in ("classes", "num_raters"):
            mine, theirs = (json.loads(json.dumps(getattr(config, name))) for config in (self, other))
            if mine != theirs:
                raise ConfigError(f"{source} has {name} {theirs}, {own} {mine}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Inverse of :meth:`to_dict`."""
        return cls(
            network=dict(values["network"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            classes=tuple(values["classes"]),
            num_raters=int(values["num_raters"]),
        )


def _network_defaults(name: str) -> dict[str, Any]:
    """Settings of a network that names none, as JSON holds them; those without a default are left out."""
    parameters = inspect.signature(network_class(name)).parameters.values()
    plain = {found.name: found.default for found in parameters if found.default is not found.empty}
    defaults: dict[str, Any] = json.loads(json.dumps(plain))
    return defaults
