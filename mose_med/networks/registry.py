"""Networks by name: a checkpoint stores the name of its network, never a module to import.

A network is found here if its class was registered by :func:`register`, if it is one of this project, or if an
installed package declares it in the entry-point group :data:`ENTRY_POINTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from mose_med.errors import ConfigError

__all__ = [
    "DEFAULT_NETWORK",
    "ENTRY_POINTS",
    "build",
    "network_class",
    "register",
    "registered_name",
    "registered_networks",
]

#: Entry-point group in which other packages declare their networks.
ENTRY_POINTS = "mose_med.networks"
#: Network of settings that name none, as those of older checkpoints.
DEFAULT_NETWORK = "mose"

#: Networks of this project, "module:class"; a module is imported when its network is requested.
_OWN = {
    "calibrated_adversarial_refinement": (
        "mose_med.baselines.calibrated_adversarial_refinement:CalibratedAdversarialRefinement"
    ),
    "deterministic_unet": "mose_med.baselines.deterministic_unet:DeterministicUNet",
    "ensemble": "mose_med.baselines.ensemble:Ensemble",
    "hierarchical_probabilistic_unet": (
        "mose_med.baselines.hierarchical_probabilistic_unet:HierarchicalProbabilisticUNet"
    ),
    "hu_variability": "mose_med.baselines.hu_variability:HuVariability",
    "mc_dropout": "mose_med.baselines.mc_dropout:MonteCarloDropout",
    "mose": "mose_med.networks.mose.network:MoSE",
    "phiseg": "mose_med.baselines.phiseg:PHiSeg",
    "probabilistic_unet": "mose_med.baselines.probabilistic_unet:ProbabilisticUNet",
    "stochastic_segmentation_network": (
        "mose_med.baselines.stochastic_segmentation_network:StochasticSegmentationNetwork"
    ),
    "test_time_augmentation": "mose_med.baselines.augmented:AugmentedNetwork",
}
_registered: dict[str, type[Any]] = {}
Network = TypeVar("Network", bound=type)


def register(name: str) -> Callable[[Network], Network]:
    """Class decorator that makes a network known by a name.

    Raises:
        ConfigError: if another class has the name.

    Example:
        >>> @register("docs_example")
        ... class Example:
        ...     spatial_dims = 2
        >>> network_class("docs_example") is Example
        True
    """

    def registered(network: Network) -> Network:
        known = _registered.get(name, network)
        if _place(known) != _place(network):
            raise ConfigError(
                f"network name {name!r} belongs to {_place(known)}, got {_place(network)}: choose another"
            )
        _registered[name] = network
        return network

    return registered


def network_class(name: str) -> type[Any]:
    """The class of a name; its constructor defines its settings.

    Raises:
        ConfigError: if no network has that name, or the package that declares it cannot be imported.
    """
    if name not in _registered and name in _OWN:
        module, attribute = _OWN[name].split(":")
        own: type[Any] = getattr(import_module(module), attribute)
        return register(name)(own)
    if name not in _registered and name in (declared := _declared()):
        return register(name)(_loaded(declared[name]))
    if name not in _registered:
        known = ", ".join(registered_networks())
        raise ConfigError(f"network must be one of {known}, got {name!r}: is the package that registers it installed?")
    return _registered[name]


def registered_name(network: object) -> str:
    """The name of a network's class.

    Raises:
        ConfigError: if the class is not registered.
    """
    for name in registered_networks():
        if _place(_registered.get(name, object)) == _place(type(network)):
            return name
    raise ConfigError(f"network {_place(type(network))} is not registered: decorate it with mose_med.networks.register")


def registered_networks() -> tuple[str, ...]:
    """All names, sorted."""
    return tuple(sorted({*_OWN, *_registered, *_declared()}))


def build(settings: Mapping[str, Any]) -> Any:
    """A network of its settings: its ``name``, :data:`DEFAULT_NETWORK` without one, and arguments of its constructor.

    Raises:
        ConfigError: if no network has that name, or it has no such setting.

    Example:
        >>> build({"channels": [4, 8], "num_experts": 3}).num_experts
        3
    """
    arguments = dict(settings)
    name = str(arguments.pop("name", DEFAULT_NETWORK))
    network = network_class(name)
    try:
        return network(**arguments)
    except TypeError as error:
        raise ConfigError(f"network {name!r} cannot be built from its settings {sorted(arguments)}: {error}") from error


def _declared() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=ENTRY_POINTS)}


def _loaded(declared: EntryPoint) -> type[Any]:
    try:
        found = declared.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"network {declared.name!r}: {declared.value} cannot be imported: {error}") from error
    if not isinstance(found, type):
        raise ConfigError(f"network {declared.name!r}: {declared.value} must be a class, got {found!r}")
    return found


def _place(network: type) -> str:
    return f"{network.__module__}.{network.__qualname__}"
