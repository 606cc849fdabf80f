"""What inference, training and export require of a stochastic segmentation network.

A network draws nothing itself when it is inferred: it is a function of the image and of standard normal numbers, which
the caller draws once per case, so that a sample is one hypothesis for all of the case. In eval mode several threads
call it at once on a CPU; it must keep nothing from one call to the next.

Axes: B batch, K experts, S samples per expert, C classes, D numbers of the case-wide deviate. A network without experts
has K = 1, and gives its one expert the probability 1.

Members that a network may have besides those of :class:`StochasticNetwork`, each with a default here:

- ``samples_per_expert``: S where nothing else says it, 4 without.
- ``noise_fields``: noise in the image, see :class:`NoiseField`; none without.
- ``temperatures()``: the modules that ``mose-med calibrate`` tempers, by the names ``"gating"`` and ``"logits"``.
- ``encoded(image)``: what does not depend on the noise computed once, see :mod:`mose_med.networks.encoded`.
- ``is_deterministic``: all samples of an expert are the same; without, whether there is no noise to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mose_med.errors import ConfigError, ShapeError
from mose_med.networks.priors import CodeChoice, chosen_deviates
from mose_med.samples import ExpertSamples, RaterMasks

__all__ = [
    "NoiseField",
    "StochasticNetwork",
    "checked_deviates",
    "checked_fields",
    "default_samples",
    "device_of",
    "draw_fields",
    "field_sides",
    "is_deterministic",
    "noise_fields",
    "require_stochastic",
    "samples_of",
    "standard_deviates",
    "tempered_modules",
]

_DEFAULT_SAMPLES = 4
_Self = TypeVar("_Self")  # typing.Self needs Python 3.11, and bundles with a copy of this module run on 3.10
_REQUIRED = ("spatial_dims", "in_channels", "num_experts", "noise_dim", "samples_from")


class NoiseField(NamedTuple):
    """Noise in the image, which inference draws by voxel position, so that overlapping windows agree.

    A network with fields takes a third argument of ``samples_from``: one tensor per declared field, standard normal,
    of shape (B, K, S, channels, *ceil(spatial / stride)). Without it the fields are 0.

    Attributes:
        name: of the field, unique in the network: its numbers follow from it.
        channels: of the field.
        stride: voxels of the image per voxel of the field.
        through_slices: the same noise for every slice, which keeps a sample of latent maps coherent in 3D; otherwise
            every voxel of the volume has its own.
    """

    name: str
    channels: int
    stride: int = 1
    through_slices: bool = False


class StochasticNetwork(Protocol):
    """A network whose samples are a function of the image and of standard normal numbers.

    Attributes:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_experts: K; 1 for a network without experts.
        noise_dim: D, numbers of the case-wide deviate; may be 0.
    """

    spatial_dims: int
    in_channels: int
    num_experts: int

    @property
    def noise_dim(self) -> int:
        """D, numbers of the case-wide deviate; may be 0."""

    def samples_from(self, image: Tensor, deviates: Tensor) -> ExpertSamples:
        r"""Samples of an image (B, in_channels, \*spatial) at standard normal numbers, (K, S, D) or (B, K, S, D).

        In eval mode a pure function of its arguments. S is as the caller likes.
        """

    def __call__(
        self,
        image: Tensor,
        *,
        samples_per_expert: int | None = None,
        generator: torch.Generator | None = None,
        target: RaterMasks | None = None,
    ) -> Any:
        """With a target what the network's own loss takes first; without one samples, drawn from the CPU generator."""

    def modules(self) -> Iterator[nn.Module]:
        """As :class:`torch.nn.Module` has it; so the others."""

    def parameters(self) -> Iterator[nn.Parameter]: ...  # noqa: D102

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...  # noqa: D102

    def eval(self: _Self) -> _Self: ...  # noqa: D102

    def to(self: _Self, device: torch.device | str) -> _Self: ...  # noqa: D102


def require_stochastic(network: object) -> None:
    """Refuse what lacks a member of the protocol.

    Raises:
        ConfigError: naming the first that is missing.
    """
    for name in _REQUIRED:
        if not hasattr(network, name):
            raise ConfigError(f"network {type(network).__name__} must have the attribute {name}")


def noise_fields(network: object) -> tuple[NoiseField, ...]:
    """Fields that a network declares."""
    return tuple(getattr(network, "noise_fields", ()))


def default_samples(network: object) -> int:
    """S where nothing else says it."""
    return int(getattr(network, "samples_per_expert", _DEFAULT_SAMPLES))


def device_of(network: StochasticNetwork) -> torch.device:
    """Where a network's parameters are; the CPU for a network without any."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


def tempered_modules(network: object) -> dict[str, nn.Module]:
    """Modules with a temperature that calibration fits, by what it decides: ``gating``, ``logits``.

    Raises:
        ConfigError: if the network has none.
    """
    temperatures: Callable[[], dict[str, nn.Module]] | None = getattr(network, "temperatures", None)
    if temperatures is None:
        raise ConfigError(f"network {type(network).__name__} has no temperatures: it cannot be calibrated")
    return temperatures()


def is_deterministic(network: StochasticNetwork) -> bool:
    """Whether all samples of an expert are the same."""
    return bool(getattr(network, "is_deterministic", network.noise_dim == 0 and not noise_fields(network)))


def standard_deviates(
    network: StochasticNetwork,
    samples: int,
    batch: int = 1,
    generator: torch.Generator | None = None,
    choice: CodeChoice = "random",
) -> Tensor:
    """Case-wide deviates (B, K, S, D), standard normal, on the CPU.

    Args:
        network: whose K and D.
        samples: S.
        batch: B.
        generator: CPU generator; PyTorch's default generator if None.
        choice: ``"random"``; ``"stratified"``, one in each S-th part of the normal distribution; or ``"quadrature"``,
            fixed points that stand for it, the same for every expert and image.

    Raises:
        ConfigError: if ``samples`` < 1, or there is no such choice.
    """
    if samples < 1:
        raise ConfigError(f"samples_per_expert must be >= 1, got {samples}")
    return chosen_deviates((batch, network.num_experts, samples, network.noise_dim), choice, generator)


def checked_deviates(network: StochasticNetwork, deviates: Tensor, batch: int) -> Tensor:
    """Deviates (K, S, D) or (B, K, S, D) as (B, K, S, D); device and type are left to the network.

    Raises:
        ShapeError: if they do not fit the network and a batch of that size.
    """
    samples = deviates.shape[-2] if deviates.ndim >= 2 else 0
    expected = (batch, network.num_experts, samples, network.noise_dim)
    if samples < 1 or tuple(deviates.shape) not in (expected, expected[1:]):
        raise ShapeError(
            f"deviates must be K x S x D or B x K x S x D with B={batch}, K={network.num_experts}, S >= 1, "
            f"D={network.noise_dim}, got shape {tuple(deviates.shape)}"
        )
    return deviates.expand(expected)


def field_sides(field: NoiseField, spatial: Sequence[int]) -> tuple[int, ...]:
    """Sides of a field for an image.

    Example:
        >>> field_sides(NoiseField("latents", channels=2, stride=4), (9, 8))
        (3, 2)
    """
    return tuple(-(-side // field.stride) for side in spatial)


def draw_fields(
    network: object, image: Tensor, samples: int, generator: torch.Generator | None = None
) -> tuple[Tensor, ...]:
    """Standard normal fields for a batch, on its device; drawn on the CPU, so that a seed fits every device.

    Example:
        >>> draw_fields(nn.Identity(), torch.zeros(1, 1, 4, 4), samples=2)
        ()
    """
    lead = (len(image), int(getattr(network, "num_experts", 1)), samples)
    shapes = [(*lead, field.channels, *field_sides(field, image.shape[2:])) for field in noise_fields(network)]
    return tuple(torch.randn(shape, generator=generator).to(image) for shape in shapes)


def checked_fields(network: object, fields: Sequence[Tensor] | None, image: Tensor, samples: int) -> tuple[Tensor, ...]:
    """The fields of a call of ``samples_from``, on the device and of the type of the image; zeros where none are given.

    Raises:
        ShapeError: if one does not fit, or their number does not.
    """
    declared, experts = noise_fields(network), int(getattr(network, "num_experts", 1))
    shapes = [
        (len(image), experts, samples, field.channels, *field_sides(field, image.shape[2:])) for field in declared
    ]
    if fields is None:
        return tuple(image.new_zeros(shape) for shape in shapes)
    if [tuple(field.shape) for field in fields] != shapes:
        raise ShapeError(f"fields must have the shapes {shapes}, got {[tuple(field.shape) for field in fields]}")
    return tuple(field.to(image) for field in fields)


def samples_of(
    network: StochasticNetwork, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] = ()
) -> ExpertSamples:
    """Call ``samples_from``, with fields where the network has some."""
    if not noise_fields(network):
        return network.samples_from(image, deviates)
    with_fields: Any = network
    found: ExpertSamples = with_fields.samples_from(image, deviates, fields or None)
    return found
