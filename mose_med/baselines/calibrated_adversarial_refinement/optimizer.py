"""One optimiser of three groups of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import Adam

__all__ = ["AdversarialAdam"]


class AdversarialAdam(Adam):
    """Adam whose groups are calibration network, generator and discriminator.

    A group whose gradients are all zero rests: neither momentum nor weight decay moves it, as if its own optimiser had
    not been called.

    Departure: learning rates follow the schedule of the training, not the published one of several hundred epochs.

    Args:
        network: with the submodules ``calibration``, ``generator`` and ``discriminator``.
        lr: of calibration network and generator.
        discriminator_lr: of the discriminator.
        betas: of all groups.
        weight_decay: L2, of all groups.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float = 2e-4,
        discriminator_lr: float = 1e-5,
        betas: Sequence[float] = (0.5, 0.99),
        weight_decay: float = 5e-4,
    ) -> None:
        network = getattr(network, "module", network)  # several processes wrap it
        rates = {"calibration": lr, "generator": lr, "discriminator": discriminator_lr}
        groups = [
            {"params": list(network.get_submodule(name).parameters()), "lr": rate} for name, rate in rates.items()
        ]
        super().__init__(groups, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the groups that have a gradient."""
        for group in self.param_groups:
            gradients = [value.grad for value in group["params"] if value.grad is not None]
            if not any(bool(gradient.any()) for gradient in gradients):
                for value in group["params"]:
                    value.grad = None
        return super().step(closure)
