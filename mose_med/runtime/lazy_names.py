"""Names of a package that are imported from its modules on first use.

Importing the package then loads none of what its modules need: reading a NIfTI file loads no DICOM library, and
preparing a data set no MONAI, which takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["names_from"]


def names_from(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """The ``__getattr__`` of a package.

    Args:
        package: its ``__name__``.
        modules: the names of each of its modules, by module, separated by blanks.

    Example:
        >>> names_from("mose_med.metrics", {"iou": "pairwise_iou"})("pairwise_iou").__module__
        'mose_med.metrics.iou'
    """
    owners = {name: module for module, names in modules.items() for name in names.split()}

    def __getattr__(name: str) -> object:  # noqa: N807  # it is the package's own
        if name not in owners:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{owners[name]}"), name)

    return __getattr__
