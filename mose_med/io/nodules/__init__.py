"""Positions of nodules to infer, from the files that list them."""

from mose_med.io.nodules.reading import Nodule, read_nodules, require_own_series

__all__ = ["Nodule", "read_nodules", "require_own_series"]
