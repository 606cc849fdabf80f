from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mose_med.errors import DataError
from mose_med.inferers.storage import Storage


@pytest.mark.parametrize("in_memory", [0, 1 << 30])
def test_arrays_share_nothing_and_keep_their_values_when_pages_go(tmp_path: Path, in_memory: int):
    shapes = [(5, 4, 3), (7,), (300, 20)]
    storage = Storage(sum(Storage.room(shape, np.float16) for shape in shapes), tmp_path, in_memory=in_memory)
    arrays = [storage.zeros(shape, np.float16) for shape in shapes]
    for n, array in enumerate(arrays):
        assert not array.any()
        array[...] = n + 1
        storage.release()
    assert [set(np.unique(array).tolist()) for array in arrays] == [{1.0}, {2.0}, {3.0}]
    assert storage.in_file == (in_memory == 0)
    assert arrays[0].flags.f_contiguous


def test_nothing_is_left_in_the_folder(tmp_path: Path):
    storage = Storage(1 << 16, tmp_path, in_memory=0)
    storage.zeros((100,), np.uint8)[:] = 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_take_the_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere must take 3\.0 GB during the run, got 'No such file"):
        Storage(3_000_000_000, tmp_path / "nowhere", in_memory=0)
