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

from mose_med.io.nifti import gzip_writer
from mose_med.io.nifti.gzip_writer import GzipWriter


def written(pieces: list[np.ndarray | int]) -> bytes:
    stream = io.BytesIO()
    with GzipWriter(stream) as writer:
        for piece in pieces:
            if isinstance(piece, int):
                writer.write_zeros(piece)
            else:
                writer.write(piece)
    return stream.getvalue()


PIECES = st.lists(
    st.one_of(st.integers(0, 3000), st.binary(max_size=3000).map(lambda b: np.frombuffer(b, np.uint8))), max_size=6
)


@given(PIECES)
def test_content_comes_back(pieces: list[np.ndarray | int]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip_writer, "_CHUNK", 1000)
        file = written(pieces)
    expected = b"".join(bytes(p) if isinstance(p, int) else p.tobytes() for p in pieces)
    assert gzip.decompress(file) == expected
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(file) == expected
    assert reader.eof
    assert reader.unused_data == b""


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
