from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from mose_med.errors import ConfigError, MissingDependencyError
from mose_med.report.niivue import niivue_module


def test_the_installed_package_holds_niivue_as_a_module():
    module = niivue_module()
    exports = module.source[module.source.rindex("export{") :]
    for name in ("Niivue", "NVImage", "SLICE_TYPE", "DRAG_MODE", "SHOW_RENDER", "COLORMAP_TYPE"):
        assert name in exports
    assert module.package.startswith("ipyniivue ")
    assert "Redistributions in binary form must reproduce" in module.licence


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r"ipyniivue is not installed: run `pip install 'mose-med\[report\]'`"
    ):
        niivue_module()


def test_a_release_that_holds_it_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "widget.js").write_text("export default {};")
    spec = ModuleSpec("ipyniivue", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ConfigError, match=r"ipyniivue must hold NiiVue, .* does not: install ipyniivue 2\.4"):
        niivue_module()
