"""GECO: an evidence lower bound whose weighing is learnt (Rezende and Viola, "Taming VAEs", arXiv:1810.00597, 2018).

The form for segmentation of Kohl et al. (arXiv:1905.13077, 2019), with the cross-entropy of the hardest voxels.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mose_med.baselines.parts.evidence import VariationalOutput, cross_entropies, mean_divergence, target_masks
from mose_med.errors import require
from mose_med.runtime.seeds import stream_seed
from mose_med.samples import RaterMasks

__all__ = ["GecoLoss"]

#: Keeps the logarithm of a voxel whose cross-entropy is 0.
_TINY = 1e-30


class GecoLoss(nn.Module):
    r"""Divergence of posterior and prior, under the constraint that reconstructions are good enough.

    .. math:: \ell = \lambda \big(\overline{R} - \kappa V\big) + \frac{1}{B} \sum_n KL(q_n \| p_n)

    R is the mean over the images of the cross-entropy summed over V voxels an image, and R with a bar its moving
    average, through whose newest value the gradient flows. The V voxels are a share of those of the whole batch, drawn
    without replacement in proportion to their cross-entropy (Gumbel noise on its logarithm, the largest ones).

    Multiplier and moving average are buffers: a state dict holds them, and a resumed training keeps them.

    Departure: the multiplier climbs by ``rate`` times the constraint per voxel, never below 0. In the published code it
    is a variable of the networks' Adam, which sets the pace by the learning rate and forgets the rate.

    Args:
        kappa: cross-entropy in nats that a drawn voxel may have.
        decay: of the moving average.
        rate: of the multiplier.
        top_share: share of the batch's voxels that is drawn, in (0, 1]; 1 for all.
        ignore_index: label of voxels that do not count.
        seed: of the draw.
        rank: of this process, if there are several: each makes draws of its own.

    Attributes:
        components: "reconstruction" (R), "kl" and "multiplier" of the last call, without gradient.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self,
        kappa: float = 0.05,
        decay: float = 0.99,
        rate: float = 0.01,
        top_share: float = 0.02,
        ignore_index: int | None = None,
        seed: int = 0,
        rank: int = 0,
    ) -> None:
        super().__init__()
        require(kappa >= 0.0, f"kappa must be >= 0, got {kappa}")
        require(0.0 <= decay < 1.0, f"decay must be in [0, 1), got {decay}")
        require(rate >= 0.0, f"rate must be >= 0, got {rate}")
        require(0.0 < top_share <= 1.0, f"top_share must be in (0, 1], got {top_share}")
        self.kappa = kappa
        self.decay = decay
        self.rate = rate
        self.top_share = top_share
        self.ignore_index = ignore_index
        self.seed = seed
        self.rank = rank
        self.components: dict[str, Tensor] = {}
        self.multiplier: Tensor
        self.moving_average: Tensor
        self.register_buffer("multiplier", torch.ones(()))
        self.register_buffer("moving_average", torch.full((), torch.nan))
        self._generator = torch.Generator()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Seed the draws of an epoch from (seed, epoch, rank), so that a resumed training draws the same."""
        self._generator.manual_seed(stream_seed("hard voxels", self.seed, epoch, self.rank))

    def forward(self, output: VariationalOutput, rater_masks: RaterMasks) -> Tensor:
        """Loss of a batch, a scalar; in training mode, average and multiplier are updated.

        Args:
            output: of the network, in training.
            rater_masks: the target that it saw.

        Raises:
            ShapeError: if the masks do not fit the output.
        """
        masks = target_masks(output, rater_masks, self.ignore_index)
        entropies = cross_entropies(output.logits, masks, self.ignore_index)
        drawn = self._drawn(entropies.detach(), masks)
        voxels = drawn.sum(dim=1).mean()
        reconstruction = (drawn * entropies).sum(dim=1).mean()
        divergence = mean_divergence(output)
        multiplier = self.multiplier.to(entropies.device, copy=True)
        constraint = self._averaged(reconstruction) - self.kappa * voxels
        if self.training:
            step = self.rate * constraint.detach() / voxels.clamp_min(1.0)
            self.multiplier = (multiplier + step).clamp_min(0.0)
        self.components = {
            "reconstruction": reconstruction.detach(),
            "kl": divergence.detach(),
            "multiplier": multiplier,
        }
        return multiplier * constraint + divergence

    def _drawn(self, entropies: Tensor, masks: Tensor) -> Tensor:
        """1 for the voxels that are drawn of the whole batch, (B, P)."""
        counts = torch.ones_like(entropies)
        if self.ignore_index is not None:
            counts = (masks != self.ignore_index).flatten(1).to(entropies)
        if self.top_share == 1.0:
            return counts
        uniform = torch.rand(entropies.shape, generator=self._generator).clamp_(_TINY, 1.0 - 1e-7).to(entropies)
        scores = (entropies + _TINY).log() - (-uniform.log()).log()
        scores = scores.masked_fill(counts == 0, -torch.inf).flatten()
        number = max(1, int(self.top_share * scores.numel()))
        chosen = torch.zeros_like(scores).index_fill_(0, scores.topk(number).indices, 1.0)
        return chosen.view_as(counts) * counts

    def _averaged(self, reconstruction: Tensor) -> Tensor:
        """Moving average, with the gradient of its newest value."""
        newest = _mean_over_processes(reconstruction.detach())
        before = self.moving_average.to(newest.device)
        average = torch.where(before.isnan(), newest, self.decay * before + (1.0 - self.decay) * newest)
        if self.training:
            self.moving_average = average
        return average + (reconstruction - reconstruction.detach())


def _mean_over_processes(value: Tensor) -> Tensor:
    """The same in every process of a training, so that their multipliers stay together."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
