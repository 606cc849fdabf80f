"""Files of tensors, read without running anything that they say."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from mose_med.errors import ConfigError, DataError, MoseError, no_file
from mose_med.runtime.memory_errors import ran_out_of_memory

__all__ = ["load_tensors"]


def load_tensors(path: Path, what: str, map_location: str | torch.device = "cpu") -> Any:
    """Content of a file that ``torch.save`` wrote.

    Args:
        path: of the file.
        what: it is, for messages.
        map_location: device of the tensors.

    Raises:
        ConfigError: if there is no such file.
        DataError: if it is damaged or of another kind.
        MoseError: if memory runs out.
    """
    if not path.is_file():
        raise ConfigError(f"{what} {no_file(path)}")
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # any: PyTorch's unpickler lets out whatever the bytes of a stranger's file lead to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if ran_out_of_memory(error):
            raise MoseError(f"memory ran out while {what} {path} was read ({reason}): free some") from error
        # PyTorch's advice on other pickles, to load them unsafely, is not repeated.
        why = "" if isinstance(error, pickle.UnpicklingError) else f" ({reason})"
        raise DataError(f"{what} {path} cannot be read{why}: it is damaged or not a checkpoint") from error
