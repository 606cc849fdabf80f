"""Where to look: positions of nodules, from the files that name them."""

from mose_med.io.nodules.reading import Nodule, read_nodules, require_own_series

__all__ = ["Nodule", "read_nodules", "require_own_series"]
