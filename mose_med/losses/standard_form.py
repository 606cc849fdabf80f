"""Training on the standard form: every sample is drawn from one expert, differentiably (appendix A.1).

The other way to train MoSE: instead of weighting all experts' samples, draw the expert of each sample by a
Gumbel-Softmax over the expert probabilities. The hard draw goes forward; the gradient of the soft one comes back, to
the gating too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mose_med.errors import ConfigError
from mose_med.losses.optimal_transport import OptimalTransportLoss
from mose_med.runtime.seeds import stream_seed
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples

__all__ = ["StandardFormLoss", "gumbel_standard_form"]

#: Keeps the logarithm of an expert that has no probability left.
_EPSILON = 1e-8


def gumbel_standard_form(
    samples: ExpertSamples, temperature: float, generator: torch.Generator | None = None
) -> WeightedSamples:
    r"""Draw S samples, each from one expert, with straight-through gradients.

    .. math:: g_{sk} = \mathrm{softmax}_k\big((\log \pi_k + G_{sk}) / \tau\big), \qquad G_{sk} \sim \mathrm{Gumbel}(0,
    1)

    Sample s is sample s of the expert with the largest :math:`g_{sk}`; backwards it is the mixture of all experts'
    samples s.

    Args:
        samples: the compact form, logits ``(B, K, S, C, *spatial)``.
        temperature: tau > 0; lower is closer to the hard draw and noisier.
        generator: CPU generator of the Gumbel noise.

    Returns:
        S equally weighted samples.

    Raises:
        ConfigError: if the temperature is not positive.

    Example:
        >>> compact = ExpertSamples(torch.zeros(1, 2, 5, 2, 4, 4), torch.tensor([[0.25, 0.75]]))
        >>> gumbel_standard_form(compact, 1.0).logits.shape
        torch.Size([1, 5, 2, 4, 4])
    """
    if not temperature > 0.0:
        raise ConfigError(f"temperature must be > 0, got {temperature}")
    logits, probs = samples
    uniform = torch.rand(*logits.shape[:3], generator=generator).clamp_(1e-7, 1.0 - 1e-7)
    scores = (probs + _EPSILON).log().unsqueeze(2) - (-uniform.log()).log().to(probs)
    soft = (scores / temperature).softmax(dim=1)
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    choice = (hard - soft.detach() + soft).to(logits.dtype)
    drawn = (choice[(...,) + (None,) * (logits.ndim - 3)] * logits).sum(dim=1)
    return WeightedSamples(drawn, torch.full_like(probs[:, :1], 1.0 / logits.shape[2]).expand(-1, logits.shape[2]))


class StandardFormLoss(nn.Module):
    """A loss of the standard form that the compact one is drawn from.

    Args:
        loss: of the S drawn samples; its gamma must be at least 1/S.
        temperature: of the draw, a plain attribute that a schedule may lower between calls.
        seed: of the draw.
        rank: of this process, if there are several: each makes draws of its own.

    Raises:
        ConfigError: if the temperature is not positive.
    """

    def __init__(self, loss: OptimalTransportLoss, temperature: float = 1.0, seed: int = 0, rank: int = 0) -> None:
        super().__init__()
        if not temperature > 0.0:
            raise ConfigError(f"temperature must be > 0, got {temperature}")
        self.loss = loss
        self.temperature = temperature
        self.seed = seed
        self.rank = rank
        self._generator = torch.Generator()
        self.set_epoch(0)

    @property
    def components(self) -> dict[str, Tensor]:
        """Those of the inner loss."""
        return self.loss.components

    def set_epoch(self, epoch: int) -> None:
        """Seed the draws of an epoch from (seed, epoch, rank), so that a resumed training draws the same."""
        self._generator.manual_seed(stream_seed("standard form", self.seed, epoch, self.rank))

    def forward(
        self, samples: ExpertSamples, rater_masks: Tensor | RaterMasks, rater_weights: Tensor | None = None
    ) -> Tensor:
        """Loss of a batch; arguments are those of :class:`~mose_med.losses.OptimalTransportLoss`."""
        drawn = gumbel_standard_form(samples, self.temperature, self._generator)
        loss: Tensor = self.loss(drawn, rater_masks, rater_weights)
        return loss
