from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from mose_med.errors import ConfigError
from mose_med.losses.costs import COSTS, cross_entropy_cost, dice_cost, focal_cost, iou_cost

VOID = 255


def random_pairs(classes: int = 3, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(2, 3, classes, 4, 5, generator=generator, dtype=dtype)
    return logits, torch.randint(0, classes, (2, 4, 4, 5), generator=generator)


def overlap_oracle(kind: str, logits: torch.Tensor, mask: torch.Tensor, classes: list[int]) -> torch.Tensor:
    """One sample (C, *spatial) and one mask, straight from the equation."""
    probs, scores = logits.softmax(0), []
    valid = mask != VOID
    for label in classes:
        s, y = probs[label][valid], (mask == label)[valid].double()
        i = (s * y).sum()
        total = s.sum() + y.sum()
        scores.append((i + 1) / (total - i + 1) if kind == "iou" else (2 * i + 1) / (total + 1))
    return 1 - torch.stack(scores).mean()


def by_pair(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], logits: torch.Tensor, masks: torch.Tensor
) -> torch.Tensor:
    return torch.stack(
        [torch.stack([torch.stack([function(s, y) for y in m]) for s in x]) for x, m in zip(logits, masks, strict=True)]
    )


@pytest.mark.parametrize("kind", ["iou", "dice"])
@pytest.mark.parametrize(("classes", "used"), [(None, [1, 2]), ((1,), [1]), ((0, 2), [0, 2])])
@pytest.mark.parametrize("void", [False, True])
def test_overlap_costs_equal_the_equation(kind: str, classes: tuple[int, ...] | None, used: list[int], void: bool):
    logits, masks = random_pairs()
    if void:
        masks[:, :2, 0] = VOID
    expected = by_pair(lambda s, y: overlap_oracle(kind, s, y, used), logits, masks)
    torch.testing.assert_close(COSTS[kind](logits, masks, classes, VOID if void else None), expected)


@pytest.mark.parametrize("void", [None, VOID, 1])
def test_cross_entropy_equals_pytorch(void: int | None):
    logits, masks = random_pairs()
    if void == VOID:
        masks[:, :2, 0] = VOID
    ignored = -100 if void is None else void
    expected = by_pair(lambda s, y: F.cross_entropy(s[None], y[None], ignore_index=ignored), logits, masks)
    torch.testing.assert_close(cross_entropy_cost(logits, masks, ignore_index=void), expected)


def test_cross_entropy_of_a_class_subset_is_the_mean_over_its_voxels():
    logits, masks = random_pairs()
    expected = by_pair(lambda s, y: F.cross_entropy(s[None], y[None].where(y != 0, -100)), logits, masks)
    torch.testing.assert_close(cross_entropy_cost(logits, masks, classes=(1, 2)), expected)


def test_focal_cost_equals_the_equation():
    logits, masks = random_pairs()

    def oracle(s: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        log_p = s.log_softmax(0).gather(0, y[None])[0]
        return -((1 - log_p.exp()) ** 1.5 * log_p).mean()

    torch.testing.assert_close(focal_cost(logits, masks, focusing=1.5), by_pair(oracle, logits, masks))


def test_focal_cost_without_focusing_is_cross_entropy():
    logits, masks = random_pairs()
    torch.testing.assert_close(focal_cost(logits, masks, focusing=0.0), cross_entropy_cost(logits, masks))


@pytest.mark.parametrize("name", sorted(COSTS))
def test_gradient_equals_finite_differences(name: str):
    logits, masks = (tensor[..., :2, :2].contiguous() for tensor in random_pairs())
    masks[0, 0, 0] = VOID
    torch.autograd.gradcheck(lambda x: COSTS[name](x, masks, ignore_index=VOID), logits.requires_grad_())


@pytest.mark.parametrize("name", sorted(COSTS))
@pytest.mark.parametrize("fill", [0, VOID])
def test_masks_that_are_empty_or_void_have_finite_gradients(name: str, fill: int):
    logits = torch.full((1, 2, 2, 3, 3), -200.0)
    logits[:, :, 0] = 200.0
    logits.requires_grad_()
    cost = COSTS[name](logits, torch.full((1, 1, 3, 3), fill), ignore_index=VOID)
    cost.sum().backward()
    torch.testing.assert_close(cost.detach(), torch.zeros(1, 2, 1))
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("cost", [iou_cost, dice_cost])
def test_two_equal_hard_masks_cost_nothing(cost: Callable[..., torch.Tensor]):
    mask = torch.tensor([[[[0, 1], [1, 0]]]])
    logits = (F.one_hot(mask, 2).movedim(-1, 2) * 400.0) - 200.0
    torch.testing.assert_close(cost(logits, mask), torch.zeros(1, 1, 1))


@pytest.mark.parametrize("name", sorted(COSTS))
def test_half_precision_logits_are_summed_in_single(name: str):
    logits, masks = random_pairs(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
        expected = COSTS[name](logits.bfloat16().float(), masks)
        torch.testing.assert_close(COSTS[name](logits.bfloat16(), masks), expected)


def test_a_class_the_samples_lack_is_named():
    logits, masks = random_pairs()
    with pytest.raises(ConfigError, match="classes must be below the 3 classes of the samples, got 7"):
        iou_cost(logits, masks, classes=(1, 7))


def test_ignoring_the_only_class_is_refused():
    logits, masks = random_pairs(classes=2)
    with pytest.raises(ConfigError, match=r"classes must keep one other than ignore_index=1, got \(1,\)"):
        iou_cost(logits, masks, ignore_index=1)
