"""Loading modules without Python's collector."""

from __future__ import annotations

import gc
import sys
from types import ModuleType

import pytest

from pipelines.common.imports import loading


@pytest.fixture(autouse=True)
def _unfrozen():
    yield
    gc.unfreeze()


def test_nothing_is_collected_while_modules_are_loaded():
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_loaded_is_not_searched_again(monkeypatch: pytest.MonkeyPatch):
    before = gc.get_freeze_count()
    with loading():
        module = ModuleType("just_loaded")
        monkeypatch.setitem(sys.modules, "just_loaded", module)
    assert gc.get_freeze_count() > before
    assert all(found is not module for found in gc.get_objects())


def test_garbage_is_not_kept_where_all_modules_were_there_already():
    before = gc.get_freeze_count()
    with loading():
        import json  # noqa: F401
    assert gc.get_freeze_count() == before


def test_the_collector_goes_on_after_an_error_and_stays_off_if_it_was_off():
    with pytest.raises(ImportError, match="no module"), loading():
        raise ImportError("no module")
    assert gc.isenabled()
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
