"""What reading a damaged NIfTI file raises, as one line; every reader of NIfTI uses this."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from isal.igzip_lib import IsalError
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError, HeaderTypeError, ImageDataError
from nibabel.wrapstruct import WrapStructError

from mose_med.errors import DataError

__all__ = ["DAMAGED_NIFTI", "named_nifti_errors"]

#: What nibabel, isal and NumPy raise when they meet a damaged file.
DAMAGED_NIFTI: tuple[type[Exception], ...] = (
    ImageFileError,
    ImageDataError,
    HeaderDataError,
    HeaderTypeError,
    WrapStructError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    zlib.error,
    cast("type[Exception]", IsalError),
)


@contextmanager
def named_nifti_errors(fault: str) -> Iterator[None]:
    """Turn what a damaged file raises into one line; the block does nothing but read of it.

    Args:
        fault: which file cannot be read: the beginning of the message.

    Raises:
        DataError: that says why.
    """
    try:
        # What nibabel logs of a header is not to stand before our line.
        with LoggingOutputSuppressor():
            yield
    except DAMAGED_NIFTI as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{fault}: {reason}") from error
