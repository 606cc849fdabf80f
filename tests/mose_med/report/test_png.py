from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mose_med.report.png import png_bytes


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 3), (300, 200, 3)])
def test_another_reader_finds_the_same_pixels(shape: tuple[int, int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    read = Image.open(BytesIO(png_bytes(pixels, 100)))
    np.testing.assert_array_equal(np.asarray(read), pixels)
    assert (read.mode, read.info["dpi"]) == ("RGB", pytest.approx((100, 100), abs=0.01))


def test_a_damaged_file_is_noticed():
    content = bytearray(png_bytes(np.zeros((20, 20, 3), np.uint8), 100))
    content[-20] ^= 1
    with pytest.raises((OSError, SyntaxError)):
        Image.open(BytesIO(bytes(content))).load()
