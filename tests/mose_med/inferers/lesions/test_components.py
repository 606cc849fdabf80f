from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mose_med.inferers.boxes import Box, BoxMask
from mose_med.inferers.lesions import components, measuring
from mose_med.inferers.lesions.components import Touching, touching_components
from mose_med.inferers.lesions.measuring import LesionSource
from mose_med.inferers.regions import Region, pack
from mose_med.inferers.storage import Storage

WITHIN = Box((3, 0, 2), (23, 18, 14))


def slow_touching(mask: np.ndarray, place: BoxMask) -> Touching:
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    support = np.zeros(mask.shape, dtype=bool)
    support[place.box.slices_in(WITHIN)] = place.mask
    touching = np.isin(labels, np.setdiff1d(labels[support], [0]))
    if not touching.any():
        return Touching(0, None)
    where = np.argwhere(touching) + WITHIN.start
    return Touching(len(where), Box(tuple(where.min(axis=0).tolist()), tuple((where.max(axis=0) + 1).tolist())))


@given(st.integers(0, 1000), st.floats(0.02, 0.2))
def test_counts_are_those_of_labelling_the_whole_mask(seed: int, share: float):
    rng = np.random.default_rng(seed)
    mask = rng.random(WITHIN.shape) < share
    start = tuple(int(rng.integers(low, high - 3)) for low, high in zip(*WITHIN, strict=True))
    place = BoxMask(Box(start, tuple(n + 3 for n in start)), rng.random((3, 3, 3)) < 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "_MARGIN", 2)
        (found,) = touching_components(lambda box: mask[box.slices_in(WITHIN)], [place], WITHIN)
    assert found == slow_touching(mask, place)


@given(st.integers(0, 1000), st.floats(0.005, 0.05))
def test_the_box_of_all_samples_is_enough(seed: int, share: float):
    rng = np.random.default_rng(seed)
    masks = rng.random((*WITHIN.shape, 3)) < share
    masks[:, : rng.integers(0, 16), :] = False
    start = tuple(int(rng.integers(low, high - 3)) for low, high in zip(*WITHIN, strict=True))
    place = BoxMask(Box(start, tuple(n + 3 for n in start)), rng.random((3, 3, 3)) < 0.5)
    nothing = np.zeros((*WITHIN.shape, 1), dtype=np.float16)
    region = Region(WITHIN, pack(masks), nothing, nothing, np.zeros((*WITHIN.shape, 0), np.uint8))
    source = LesionSource(region, np.eye(4), (30, 30, 30), (1, 3), Storage(0))
    (found,) = measuring._in_samples(source, [place])
    assert found == [slow_touching(masks[..., n], place) for n in range(3)]
    assert measuring._in_samples(source, []) == []


def test_places_that_are_as_large_as_the_mask_take_one_cut():
    asked = []

    def crop(box: Box) -> np.ndarray:
        asked.append(box)
        return np.ones(box.shape, dtype=bool)

    place = BoxMask(Box((5, 5, 5), (6, 6, 6)), np.ones((1, 1, 1), dtype=bool))
    assert touching_components(crop, [place, place], WITHIN) == [Touching(int(np.prod(WITHIN.shape)), WITHIN)] * 2
    assert asked == [WITHIN]
