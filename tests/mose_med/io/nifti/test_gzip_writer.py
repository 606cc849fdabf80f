from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mose_med.io.nifti import gzip_writer
from mose_med.io.nifti.gzip_writer import GzipWriter


def written(pieces: list[np.ndarray | int], dtype: str = "uint8") -> bytes:
    stream = io.BytesIO()
    with GzipWriter(stream, dtype) as writer:
        for piece in pieces:
            if isinstance(piece, int):
                writer.write_zeros(piece)
            else:
                writer.write(piece)
    return stream.getvalue()


PIECES = st.lists(
    st.one_of(st.integers(0, 3000), st.binary(max_size=3000).map(lambda b: np.frombuffer(b, np.uint8))), max_size=6
)


@given(PIECES, st.sampled_from(["uint8", "int16", "float32"]))
def test_content_comes_back(pieces: list[np.ndarray | int], dtype: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip_writer, "_CHUNK", 1000)
        file = written(pieces, dtype)
    expected = b"".join(bytes(p) if isinstance(p, int) else p.tobytes() for p in pieces)
    assert gzip.decompress(file) == expected
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(file) == expected
    assert reader.eof
    assert reader.unused_data == b""


@pytest.mark.parametrize(("dtype", "share"), [("uint8", 0.75), ("int16", 0.95)])
def test_masks_and_steps_are_smaller_than_a_quick_search_makes_them(dtype: str, share: float):
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((12, 512, 512)), (0, 9, 9))
    values = np.maximum((smooth - 0.5) * 3000, 0) if dtype == "int16" else smooth > 0.51
    content = values.astype(dtype).ravel().view(np.uint8)
    assert len(written([content], dtype)) < share * len(zlib.compress(content, level=1))


def test_zeros_by_number_and_zeros_in_an_array_are_the_same_bytes():
    assert written([700_000]) == written([np.zeros(700_000, dtype=np.uint8)])
    assert len(written([50_000_000])) < 100_000


def test_the_gzip_program_takes_it(tmp_path: Path):
    if shutil.which("gzip") is None:
        pytest.skip("gzip is not installed")
    (tmp_path / "a.gz").write_bytes(written([np.arange(256, dtype=np.uint8), 600_000]))
    subprocess.run(["gzip", "--test", str(tmp_path / "a.gz")], check=True)


def test_after_an_error_the_file_has_no_end():
    stream = io.BytesIO()

    def fail() -> None:
        with GzipWriter(stream) as writer:
            writer.write_zeros(10)
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    with pytest.raises(EOFError, match="ended before the end-of-stream marker"):
        gzip.decompress(stream.getvalue())
