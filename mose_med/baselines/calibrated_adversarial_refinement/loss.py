"""The losses of the three networks as one scalar, whose gradient gives each network that of its own loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.baselines.calibrated_adversarial_refinement.network import AdversarialOutput
from mose_med.losses.costs import cross_entropy_cost
from mose_med.samples import RaterMasks

__all__ = ["AdversarialRefinementLoss"]

#: Probabilities of the divergence stay away from 0 and 1 by this much.
_EPSILON = 1e-3


class AdversarialRefinementLoss(nn.Module):
    r"""Cross-entropy of the calibration network, and the game of generator and discriminator.

    .. math::
        \ell_F &= \mathrm{CE}(F(x), y) \\
        \ell_G &= -w_a \log D(x, G(x, z)) + w_c\, \mathrm{KL}\Big(\frac{1}{S} \sum_s G(x, z_s) \,\Big\|\, F(x)\Big) \\
        \ell_D &= -\log D(x, y) - \log(1 - D(x, G(x, z))) + w_p \lVert \nabla D(x, y) \rVert^2

    The discriminator learns in the first ``active_steps`` of every ``active_steps + resting_steps`` steps, and only
    while it is right less often than ``accuracy``; else its loss counts nothing. The number of steps is a buffer.

    Departure: the penalty takes the gradient of the logit, as Mescheder et al. (ICML 2018) define it.

    Args:
        adversarial_weight: w_a.
        calibration_weight: w_c.
        penalty_weight: w_p.
        accuracy: share of right answers from which the discriminator waits.
        active_steps: in which the discriminator learns.
        resting_steps: in which it does not.

    Attributes:
        components: losses of the last call by name, without gradient.
    """

    def __init__(
        self,
        adversarial_weight: float = 10.0,
        calibration_weight: float = 5.0,
        penalty_weight: float = 10.0,
        accuracy: float = 0.85,
        active_steps: int = 50,
        resting_steps: int = 200,
    ) -> None:
        super().__init__()
        self.adversarial_weight = adversarial_weight
        self.calibration_weight = calibration_weight
        self.penalty_weight = penalty_weight
        self.accuracy = accuracy
        self.active_steps = active_steps
        self.resting_steps = resting_steps
        self.components: dict[str, Tensor] = {}
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, output: AdversarialOutput, rater_masks: RaterMasks) -> Tensor:
        """Loss of a batch; in training mode it counts as a step.

        Args:
            output: of the network, with the target.
            rater_masks: the target.
        """
        with torch.autocast(output.calibrated.device.type, enabled=False):
            masks = rater_masks.masks[torch.arange(len(output.rater), device=output.rater.device), output.rater]
            calibration = cross_entropy_cost(output.calibrated.unsqueeze(1), masks.unsqueeze(1)).mean()
            divergence = _divergence(output)
            adversarial = F.softplus(-output.fooled).mean()
            discrimination = F.softplus(-output.real).mean() + F.softplus(output.fake).mean()
            penalty = output.gradient_penalty.mean()
            refinement = self.adversarial_weight * adversarial + self.calibration_weight * divergence
            judgement = self._discriminator_is_active(output) * (discrimination + self.penalty_weight * penalty)
            loss = calibration + refinement + judgement
        if self.training:
            self.steps += 1
        parts = (calibration, adversarial, divergence, discrimination, penalty)
        names = ("calibration", "adversarial", "divergence", "discrimination", "gradient_penalty")
        self.components = {name: part.detach() for name, part in zip(names, parts, strict=True)}
        return loss

    def _discriminator_is_active(self, output: AdversarialOutput) -> Tensor:
        """1 in a step in which the discriminator learns, else 0, without waiting for the device."""
        right = torch.cat([output.real > 0, output.fake < 0]).float().mean()
        turn = self.steps % (self.active_steps + self.resting_steps) < self.active_steps
        return (turn.to(right.device) & (right < self.accuracy)).to(right.dtype)


def _divergence(output: AdversarialOutput) -> Tensor:
    """KL divergence of the samples' mean from the calibrated probabilities, mean over the voxels."""
    samples = output.samples.logits[:, 0]
    dtype = torch.promote_types(samples.dtype, torch.float32)
    mean = samples.to(dtype).softmax(dim=2).mean(dim=1).clamp(_EPSILON, 1 - _EPSILON)
    calibrated = output.calibrated.detach().to(dtype).softmax(dim=1).clamp(_EPSILON, 1 - _EPSILON)
    return (mean * (mean.log() - calibrated.log())).sum(dim=1).mean()
