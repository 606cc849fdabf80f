from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mose_med.data import EpochSampler, MultiRaterBatch
from mose_med.errors import ConfigError


def indices(number: int, rank: int, processes: int, *, shuffle: bool) -> list[int]:
    sampler = EpochSampler(range(number), seed=1, shuffle=shuffle, rank=rank, num_replicas=processes)
    found = [place.index for place in sampler]
    assert len(found) == len(sampler)
    return found


@given(processes=st.integers(1, 4), number=st.integers(4, 30))
def test_processes_share_an_epoch_without_meeting(processes: int, number: int):
    parts = [indices(number, rank, processes, shuffle=True) for rank in range(processes)]
    assert {len(part) for part in parts} == {number // processes}
    assert len({index for part in parts for index in part}) == number // processes * processes


@given(processes=st.integers(1, 4), number=st.integers(4, 30))
def test_a_validation_misses_no_slice(processes: int, number: int):
    parts = [indices(number, rank, processes, shuffle=False) for rank in range(processes)]
    assert sorted(index for part in parts for index in part) == list(range(number))


def test_fewer_slices_than_processes_are_refused():
    with pytest.raises(ConfigError, match="num_replicas must be <= the 2 slices of a part, got 3"):
        EpochSampler(range(2), rank=0, num_replicas=3)


def test_every_process_draws_codes_of_its_own():
    draws = [MultiRaterBatch(seed=1, rank=rank)._generator.initial_seed() for rank in (0, 1, 2)]
    assert len(set(draws)) == 3
