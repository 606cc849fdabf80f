"""The marginal distribution as one tensor, for tools that know nothing of samples.

MONAI bundles, TorchScript and ONNX want a network that maps an image to class probabilities. This one has the
parameters and state-dict names of :class:`~mose_med.networks.MoSE`; its normal deviates are drawn once and kept
beside the state dict, so that the same weights give the same output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mose_med.networks.mose.network import MoSE
from mose_med.networks.protocol import StochasticNetwork, default_samples, draw_fields, samples_of, standard_deviates
from mose_med.networks.registry import DEFAULT_NETWORK, build
from mose_med.samples import ExpertSamples

__all__ = ["MarginalMoSE", "MarginalNetwork", "marginal_network"]


class MarginalMoSE(MoSE):
    """MoSE whose output is the expert- and sample-averaged class probability.

    Args:
        seed: of the normal deviates behind the latent codes.
        settings: as :class:`~mose_med.networks.MoSE` takes them.

    Example:
        >>> network = MarginalMoSE(channels=(8, 16), out_channels=3).eval()
        >>> network(torch.zeros(1, 1, 8, 8)).sum(dim=1).allclose(torch.ones(1, 8, 8))
        True
    """

    def __init__(self, seed: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        shape = (self.num_experts, self.samples_per_expert, self.latent_dim)
        deviates = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        self.deviates: Tensor
        self.register_buffer("deviates", deviates, persistent=False)
        self.scripts_samples = True  # TorchScript has ``samples_from``, too

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        r"""(B, in_channels, \*spatial) -> probabilities (B, C, \*spatial)."""
        samples = self.samples_from(image, self.deviates)
        of_experts = torch.softmax(samples.logits.float(), dim=3).mean(dim=2)
        weighted = of_experts.flatten(2) * samples.expert_probs.unsqueeze(2)
        return weighted.sum(dim=1).view(of_experts.shape[:1] + of_experts.shape[2:])

    def samples_from(self, image: Tensor, deviates: Tensor) -> ExpertSamples:
        r"""Samples of an image (B, in_channels, \*spatial) at standard normal numbers (K, S, L) or (B, K, S, L)."""
        codes = self.priors.mean.unsqueeze(1) + self.priors.std().unsqueeze(1) * deviates
        if codes.dim() == 3:
            codes = codes.unsqueeze(0)
        return self.expert_samples(image, codes.expand(image.shape[0], -1, -1, -1))

    @torch.jit.unused
    def to_torchscript(self, image: Tensor) -> torch.jit.ScriptModule:
        """The network as TorchScript, for images of any size; ``image`` is not looked at."""
        scripted: torch.jit.ScriptModule = torch.jit.script(self)
        return scripted


class MarginalNetwork(nn.Module):
    """The same of any other network: its names in the state dict are the network's own.

    Args:
        network: of the protocol.
        seed: of the deviates and fields.
    """

    def __init__(self, network: StochasticNetwork, seed: int = 0) -> None:
        super().__init__()
        self.network = network
        self.in_channels, self.num_experts, self.noise_dim = network.in_channels, network.num_experts, network.noise_dim
        self.scripts_samples = False
        samples, generator = default_samples(network), torch.Generator().manual_seed(seed)
        self.deviates: Tensor
        self.register_buffer("deviates", standard_deviates(network, samples, 1, generator)[0], persistent=False)
        self._seed = seed

    def forward(self, image: Tensor) -> Tensor:
        r"""(B, in_channels, \*spatial) -> probabilities (B, C, \*spatial)."""
        generator = torch.Generator().manual_seed(self._seed)
        fields = draw_fields(self.network, image[:1], self.deviates.shape[1], generator)
        fields = tuple(field.expand(len(image), *field.shape[1:]) for field in fields)
        samples = samples_of(self.network, image, self.deviates, fields)
        of_experts = torch.softmax(samples.logits.float(), dim=3).mean(dim=2)
        weights = samples.expert_probs.view(*of_experts.shape[:2], *[1] * (of_experts.ndim - 2))
        return (of_experts * weights).sum(dim=1)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """That of the network."""
        inner: Any = self.network
        found: dict[str, Any] = inner.state_dict(*args, **kwargs)
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """That of the network."""
        inner: Any = self.network
        return inner.load_state_dict(state_dict, *args, **kwargs)

    def to_torchscript(self, image: Tensor) -> torch.jit.ScriptModule:
        """The network as TorchScript, traced with an image: for images of its size."""
        traced: torch.jit.ScriptModule = torch.jit.trace(self, image, check_trace=False)  # type: ignore[no-untyped-call]
        return traced


def marginal_network(settings: Mapping[str, Any]) -> MarginalMoSE | MarginalNetwork:
    """The network that settings name, as one whose output is class probabilities.

    Raises:
        ConfigError: as :func:`~mose_med.networks.registry.build`.
    """
    arguments = dict(settings)
    if arguments.pop("name", DEFAULT_NETWORK) == DEFAULT_NETWORK:
        return MarginalMoSE(**arguments)
    return MarginalNetwork(build(settings))
