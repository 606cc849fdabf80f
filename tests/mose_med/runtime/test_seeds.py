from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mose_med.data import MultiRaterBatch
from mose_med.losses import OptimalTransportLoss, StandardFormLoss
from mose_med.runtime.seeds import numpy_stream, stream_seed

PARTS = st.lists(st.one_of(st.integers(0, 2**64), st.text(max_size=3)), max_size=3)


@given(st.tuples(st.text(max_size=3), PARTS), st.tuples(st.text(max_size=3), PARTS))
def test_another_purpose_or_place_is_another_stream(first: tuple[str, list], second: tuple[str, list]):
    seeds = [stream_seed(purpose, 0, *place) for purpose, place in (first, second)]
    assert (seeds[0] == seeds[1]) == (first == second)


@pytest.mark.parametrize(("first", "second"), [((1,), (1, 0)), ((0, 1), (1, 0)), ((2**32,), (0, 1)), ((1,), ("1",))])
def test_places_that_look_alike_are_told_apart(first: tuple, second: tuple):
    assert numpy_stream("codes", 0, *first).random() != numpy_stream("codes", 0, *second).random()


def test_the_same_stream_begins_anew():
    assert numpy_stream("codes", 3, 1).random() == numpy_stream("codes", 3, np.int64(1)).random()


@pytest.mark.parametrize("bits", [32, 64, 128])
def test_seeds_have_as_many_bits_as_asked_for(bits: int):
    seeds = [stream_seed("codes", seed, bits=bits) for seed in range(100)]
    assert bits - 8 < max(seeds).bit_length() <= bits


def test_codes_of_the_validation_are_not_those_of_the_first_epoch():
    training, validation = MultiRaterBatch(seed=5), MultiRaterBatch(seed=5, fixed=True)
    assert not torch.equal(torch.rand(4, generator=training._generator), torch.rand(4, generator=validation._generator))


def test_the_uses_of_one_seed_draw_different_numbers():
    batch, loss = MultiRaterBatch(seed=5), StandardFormLoss(OptimalTransportLoss(), seed=5)
    draws = [torch.rand(1, generator=used._generator).item() for used in (batch, loss)]
    draws += [numpy_stream(purpose, 5, 0, 0).random() for purpose in ("order", "augmentation", "transform")]
    assert len(set(draws)) == 5
