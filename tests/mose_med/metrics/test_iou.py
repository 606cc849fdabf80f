from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mose_med.errors import ConfigError, ShapeError
from mose_med.metrics import pairwise_iou


def random_masks(seed: int, *shape: int, classes: int = 2) -> torch.Tensor:
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))


def iou_oracle(a: np.ndarray, b: np.ndarray, classes: tuple[int, ...]) -> float:
    values = []
    for label in classes:
        union = ((a == label) | (b == label)).sum()
        if union:
            values.append(((a == label) & (b == label)).sum() / union)
        elif len(classes) == 1:
            values.append(1.0)
    return float(np.mean(values)) if values else float("nan")


@pytest.mark.parametrize("spatial", [(7,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("classes", [(1,), (1, 2), (0, 3, 2)])
def test_equals_a_loop_over_pairs(spatial: tuple[int, ...], classes: tuple[int, ...]):
    a, b = random_masks(0, 2, 3, *spatial, classes=4), random_masks(1, 2, 4, *spatial, classes=4)
    expected = [[[iou_oracle(x.numpy(), y.numpy(), classes) for y in b[i]] for x in a[i]] for i in range(2)]
    torch.testing.assert_close(pairwise_iou(a, b, classes), torch.tensor(expected), equal_nan=True)


def test_two_empty_masks_agree_where_one_class_counts():
    empty, full = torch.zeros(1, 1, 4, dtype=torch.int64), torch.ones(1, 1, 4, dtype=torch.int64)
    assert pairwise_iou(empty, empty).item() == 1.0
    assert pairwise_iou(empty, full).item() == 0.0


def test_a_class_absent_in_both_is_left_out_of_the_mean():
    a, b = torch.tensor([[[1, 1, 0, 0]]]), torch.tensor([[[1, 0, 0, 0]]])
    assert pairwise_iou(a, b, (1, 2)).item() == 0.5
    assert pairwise_iou(a, b, (2, 3)).isnan().all()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), flip=st.booleans())
def test_is_symmetric_bounded_and_blind_to_flips(seed: int, flip: bool):
    a, b = random_masks(seed, 2, 3, 4, 5), random_masks(seed + 1, 2, 2, 4, 5)
    iou = pairwise_iou(a, b)
    assert ((iou >= 0) & (iou <= 1)).all()
    torch.testing.assert_close(pairwise_iou(b, a).transpose(1, 2), iou)
    if flip:
        torch.testing.assert_close(pairwise_iou(a.flip(-1), b.flip(-1)), iou)


def test_a_mask_has_iou_one_with_itself():
    a = random_masks(3, 2, 4, 6, 6)
    torch.testing.assert_close(pairwise_iou(a, a).diagonal(dim1=1, dim2=2), torch.ones(2, 4))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (
            torch.ones(1, 2, 4),
            torch.ones(1, 2, 4).long(),
            "a must be integer class maps, got torch.float32: take the argmax",
        ),
        (torch.ones(1, 2, 4).long(), torch.ones(1, 2, 5).long(), r"b must fit a of shape \(1, 2, 4\), got \(1, 2, 5\)"),
        (
            torch.ones(1, 2).long(),
            torch.ones(1, 2).long(),
            r"a must have shape \(B, N, \*spatial\) with N >= 1, got \(1, 2\)",
        ),
        (torch.ones(1, 0, 4).long(), torch.ones(1, 2, 4).long(), r"with N >= 1, got \(1, 0, 4\)"),
    ],
)
def test_wrong_masks_are_named(a: torch.Tensor, b: torch.Tensor, message: str):
    with pytest.raises(ShapeError, match=message):
        pairwise_iou(a, b)


def test_a_negative_id_in_a_mask_is_named():
    with pytest.raises(ShapeError, match="b must hold class ids >= 0, got -3"):
        pairwise_iou(torch.ones(1, 1, 2).long(), torch.tensor([[[1, -3]]]))


@pytest.mark.parametrize(("dtype", "largest"), [(torch.uint8, 255), (torch.bool, 1), (torch.int8, 127)])
def test_a_class_that_the_type_cannot_hold_is_named(dtype: torch.dtype, largest: int):
    masks = torch.ones(1, 1, 2, dtype=dtype)
    with pytest.raises(ConfigError, match=f"classes must be ids that a of {dtype} can hold, got 300 > {largest}"):
        pairwise_iou(masks, masks, (1, 300))


@pytest.mark.parametrize("classes", [(), (-1,), (1, 1)])
def test_wrong_classes_are_named(classes: tuple[int, ...]):
    with pytest.raises(ConfigError, match="classes must be different ids >= 0, at least one"):
        pairwise_iou(torch.ones(1, 1, 2).long(), torch.ones(1, 1, 2).long(), classes)
