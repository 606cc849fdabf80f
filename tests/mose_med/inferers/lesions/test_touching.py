from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mose_med.inferers.boxes import Box, BoxMask
from mose_med.inferers.lesions import touching
from mose_med.inferers.lesions.touching import Touching, touching_components
from mose_med.inferers.regions import pack

WITHIN = Box((3, 0, 2), (23, 18, 14))
VOXEL = np.ones((1, 1, 1), dtype=bool)


def labelled_touching(mask: np.ndarray, support: BoxMask) -> Touching:
    """By labelling the whole mask."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    of_support = labels[support.box.slices_in(WITHIN)][support.mask]
    where = np.argwhere(np.isin(labels, np.setdiff1d(of_support, [0]))) + WITHIN.start
    if not len(where):
        return Touching(0, None)
    return Touching(len(where), Box(tuple(where.min(axis=0).tolist()), tuple((where.max(axis=0) + 1).tolist())))


@pytest.mark.parametrize("at_once", [1, 10_000, 1 << 26])
@pytest.mark.parametrize("margin", [1, 16])
@given(seed=st.integers(0, 1000), number=st.integers(1, 20), share=st.floats(0.02, 0.2))
def test_what_touches_is_that_of_labelling_each_mask(margin: int, at_once: int, seed: int, number: int, share: float):
    rng = np.random.default_rng(seed)
    masks = rng.random((*WITHIN.shape, number)) < share
    start = tuple(int(rng.integers(low, high - 3)) for low, high in zip(*WITHIN, strict=True))
    support = BoxMask(Box(start, tuple(n + 3 for n in start)), rng.random((3, 3, 3)) < 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(touching, "_MARGIN", margin)
        patch.setattr(touching, "_AT_ONCE", at_once)
        found = touching_components(pack(masks), WITHIN, support, number)
    assert found == [labelled_touching(masks[..., n], support) for n in range(number)]


def test_a_path_that_turns_again_and_again_is_followed_to_its_end():
    mask = np.zeros(WITHIN.shape, dtype=bool)
    mask[::2, :, 5] = True
    mask[1::4, -1, 5] = mask[3::4, 0, 5] = True
    support = BoxMask(Box((3, 0, 7), (4, 1, 8)), VOXEL)
    assert touching_components(pack(mask[..., None]), WITHIN, support, 1) == [labelled_touching(mask, support)]
    assert labelled_touching(mask, support).voxels == mask.sum() == 10 * 18 + 10


def test_corners_that_meet_are_connected():
    mask = np.zeros(WITHIN.shape, dtype=bool)
    mask[range(9), range(9), range(9)] = True
    support = BoxMask(Box((7, 4, 6), (8, 5, 7)), VOXEL)
    assert touching_components(pack(mask[..., None]), WITHIN, support, 1) == [Touching(9, Box((3, 0, 2), (12, 9, 11)))]
