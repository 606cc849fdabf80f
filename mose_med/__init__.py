"""Distributions of segmentations for medical imaging, learnt by a mixture of stochastic experts (MoSE).

``load_model`` gives a model, ``Model.infer`` the distribution of a study, a ``Case``, and ``open_case`` one from disk.
They are imported when they are used: ``import mose_med`` alone is light.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mose_med.api.case import Case, open_case
    from mose_med.api.model import Model, load_model

__all__ = ["Case", "Model", "__version__", "load_model", "open_case"]

_MODULES = {"Case": "case", "Model": "model", "load_model": "model", "open_case": "case"}

try:
    __version__ = version("mose-med")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.api.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
