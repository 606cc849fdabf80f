"""NiiVue, the slice viewer of the review page, out of the package ``ipyniivue``.

``ipyniivue`` bundles its viewer for notebooks in ``static/widget.js``, and in it, as one percent-encoded string, the
whole of NiiVue as an ES module: the text that its ``save_html`` puts into pages of its own. The review page takes the
same text. NiiVue is BSD-2-Clause; its notice goes wherever the text goes.
"""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from mose_med.errors import ConfigError, MissingDependencyError

__all__ = ["NiivueModule", "niivue_module", "require_niivue"]

_PACKAGE = "ipyniivue"
#: A string that ends as NiiVue's list of exports does, percent-encoded: ``... ColorTables as colortables};``.
_ENCODED_MODULE = re.compile(r'"([^"\\\n]{100000,}as%20colortables%7D%3B)"')


class NiivueModule(NamedTuple):
    """Source text of NiiVue as an ES module, the package it is from, and the licence of both."""

    source: str
    package: str
    licence: str


def require_niivue() -> Path:
    """Folder of the installed package.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    found = importlib.util.find_spec(_PACKAGE)  # importing it would load Jupyter's widgets
    if found is None or found.origin is None:
        raise MissingDependencyError(_PACKAGE, "report")
    return Path(found.origin).parent


def niivue_module() -> NiivueModule:
    """Take NiiVue out of the installed package.

    Raises:
        MissingDependencyError: if the package is not installed.
        ConfigError: if its release does not hold NiiVue where this one knows it.
    """
    widget = require_niivue() / "static" / "widget.js"
    installed = distribution(_PACKAGE)
    encoded = _ENCODED_MODULE.search(widget.read_text(encoding="utf-8")) if widget.is_file() else None
    if encoded is None:
        raise ConfigError(f"{_PACKAGE} must hold NiiVue, {installed.version} does not: install {_PACKAGE} 2.4")
    licence = next(file.read_text() for file in installed.files or () if file.name == "LICENSE")
    return NiivueModule(unquote(encoded[1]), f"{_PACKAGE} {installed.version}", licence)
