from __future__ import annotations

import pytest
import torch

from mose_med.baselines.parts.likelihood import drawn_rater, log_likelihoods
from mose_med.samples import RaterMasks
from tests.mose_med.baselines.toy import seeded


def by_hand(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """One pair after the other, in double precision."""
    log_probs = logits.double().log_softmax(dim=2)
    rows = [
        [[log_probs[b, n].gather(0, masks[b, r].unsqueeze(0)).sum() for r in range(masks.shape[1])] for n in range(2)]
        for b in range(len(masks))
    ]
    return torch.tensor(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_log_likelihoods_of_16384_voxels_are_summed_in_single_precision(dtype: torch.dtype):
    logits = (5 * torch.randn(1, 2, 3, 128, 128, generator=seeded())).to(dtype)
    masks = torch.randint(0, 3, (1, 2, 128, 128), generator=seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16 if dtype == torch.float32 else dtype):
        found = log_likelihoods(logits, masks)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), by_hand(logits, masks).double(), rtol=1e-5, atol=0.0)


def test_ignored_voxels_do_not_count():
    logits = torch.randn(1, 2, 2, 4, 4, generator=seeded())
    masks = torch.ones(1, 1, 4, 4, dtype=torch.long)
    masks[..., 2:] = 255
    expected = log_likelihoods(logits[..., :2], masks[..., :2])
    torch.testing.assert_close(log_likelihoods(logits, masks, ignore_index=255), expected)


def test_raters_are_drawn_by_weight_and_a_missing_one_never():
    weights = torch.tensor([0.25, 0.0, 0.75, 0.0]).expand(4000, 4)
    raters = RaterMasks(torch.zeros(4000, 4, 1, 1, dtype=torch.long), weights)
    shares = drawn_rater(raters, seeded()).bincount(minlength=4) / 4000
    torch.testing.assert_close(shares, weights[0], rtol=0.0, atol=0.03)
    assert shares[[1, 3]].sum() == 0
