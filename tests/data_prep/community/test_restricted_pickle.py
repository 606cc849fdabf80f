from __future__ import annotations

import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import UID

from data_prep.community.restricted_pickle import read_pickle
from mose_med.errors import DataError


class Calls:
    """Pickles as a call of a function, whatever it is."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("old_numpy", [False, True])
@pytest.mark.parametrize("dtype", ["f8", ">f4", "u1", "?", "i8"])
def test_arrays_come_back(protocol: int, old_numpy: bool, dtype: str, write_pickle):
    arrays = [np.arange(4000).reshape(2, 50, 40).astype(dtype), np.asfortranarray(np.eye(3, 5)).astype(dtype)]
    path = write_pickle({"a": arrays, "n": np.float32(0.5)}, protocol, old_numpy=old_numpy)
    assert (b"numpy._core" in path.read_bytes()) != old_numpy
    content = read_pickle(path)
    assert content["n"] == 0.5
    for stored, array in zip(content["a"], arrays, strict=True):
        np.testing.assert_array_equal(stored.read(), array)
        assert stored.read().dtype == array.dtype


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pydicom_values_are_inert(protocol: int, community_slices, write_pickle):
    first = next(iter(read_pickle(write_pickle(community_slices, protocol)).values()))
    assert first["series_uid"] == "1.2.0"
    assert first["pixel_spacing"].values == [0.5, 0.75]
    assert not {type(first["series_uid"]).__module__, type(first["pixel_spacing"]).__module__} & {"pydicom"}


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_any_other_name_is_refused_and_has_no_effect(protocol: int, write_pickle, tmp_path: Path):
    mark = tmp_path / "mark"
    path = write_pickle({"a_slice1": Calls(os.mkdir, str(mark))}, protocol)
    with pytest.raises(DataError, match=r"is refused: it names posix\.mkdir, which is neither an array nor a pydicom"):
        read_pickle(path)
    assert not mark.exists()


@pytest.mark.parametrize("function", [eval, getattr, np.load, pickle.loads, np.ctypeslib.as_array])
def test_names_of_known_modules_are_refused_too(function: Callable[..., Any], write_pickle):
    with pytest.raises(DataError, match=rf"it names [\w.]+\.{function.__name__},"):
        read_pickle(write_pickle(Calls(function, "x")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.array([Calls(os.getcwd)], dtype=object), "array of type 'O8', not of numbers"),
        (np.zeros(2, dtype=[("a", "f8")]), "array of type 'V8', not of numbers"),
        (Calls(np.ndarray, (2, 2)), "it builds a numpy.ndarray in a way that no array is stored"),
        (Calls(np.dtype, "f8"), None),
    ],
)
def test_arrays_hold_numbers_alone(content: Any, reason: str | None, write_pickle):
    path = write_pickle(content)
    if reason is None:
        read_pickle(path)
        return
    with pytest.raises(DataError, match=reason):
        read_pickle(path)


def test_stand_ins_cannot_be_changed(write_pickle, tmp_path: Path):
    path = tmp_path / "data_lidc.pickle"
    path.write_bytes(b"\x80\x02cpydicom.uid\nUID\n}X\x01\x00\x00\x00aK\x01sb.")
    with pytest.raises(DataError, match="cannot be read as a pickle"):
        read_pickle(path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x04\x95", b"\x80\x04Pid\n.", b"\x80\x02\x82\x01."])
def test_damaged_files_are_named(content: bytes, tmp_path: Path):
    path = tmp_path / "data_lidc.pickle"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data_lidc.pickle (cannot be read as a pickle|is refused)"):
        read_pickle(path)


@pytest.mark.parametrize("opcode", [pickle.FRAME, pickle.BINBYTES8, pickle.BYTEARRAY8, pickle.BINUNICODE8])
def test_length_beyond_the_file_is_not_believed(opcode: bytes, tmp_path: Path):
    path = tmp_path / "data_lidc.pickle"
    path.write_bytes(b"\x80\x05" + opcode + (2**40).to_bytes(8, "little") + b"]." + b"\0" * 20)
    with pytest.raises(DataError, match="cannot be read as a pickle"):
        read_pickle(path)


def test_truncated_file_is_named(community_slices, write_pickle):
    path = write_pickle(community_slices)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match="cannot be read as a pickle"):
        read_pickle(path)


@pytest.mark.parametrize("protocol", [4, 5])
def test_memory_is_that_of_the_file(protocol: int, write_pickle):
    path = write_pickle([np.full((256, 256), n, dtype=np.float64) for n in range(40)], protocol)
    tracemalloc.start()
    content = read_pickle(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(content) == 40
    assert peak < 1.2 * path.stat().st_size


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_flipped_bytes_are_never_more_than_a_data_error(protocol: int, write_pickle):
    path = write_pickle({"a_slice1": {"image": np.eye(3), "series_uid": UID("1.2")}}, protocol)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_pickle(path)
        except DataError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("name", [b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"cnumpy._core.numeric\n_frombuffer\n"])
def test_functions_cannot_be_changed(name: bytes, tmp_path: Path):
    path = tmp_path / "data_lidc.pickle"
    path.write_bytes(b"\x80\x02" + name + b"N}X\x0c\x00\x00\x00__defaults__K\x01s\x86b.")
    with pytest.raises(DataError, match=r"it gives a state to [\w.]+, which has none"):
        read_pickle(path)
