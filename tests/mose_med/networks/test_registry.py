"""Networks by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from mose_med.errors import ConfigError
from mose_med.networks import MoSE, network_class, register, registered_name, registered_networks, registry
from mose_med.networks.registry import build


class Stand:
    def __init__(self, width: int = 1) -> None:
        self.width = width


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


def declare(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """An installed package that declares a network ``stand``."""
    found = EntryPoint(name="stand", value=value, group=registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [found] if group == found.group else [])


def test_mose_has_a_name():
    assert network_class("mose") is MoSE
    assert registered_name(MoSE(channels=(4, 8))) == "mose"


def test_settings_that_name_no_network_are_those_of_mose():
    assert isinstance(build({"channels": [4, 8]}), MoSE)
    assert isinstance(build({"name": "mose", "channels": [4, 8]}), MoSE)


def test_a_registered_class_is_found_by_its_name():
    register("stand")(Stand)
    assert build({"name": "stand", "width": 3}).width == 3
    assert registered_name(Stand()) == "stand"


def test_a_name_that_no_network_has_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"network must be one of .*mose.*, got 'stand': is the package"):
        network_class("stand")


def test_a_module_path_is_no_name():
    with pytest.raises(ConfigError, match="got 'os:system'"):
        network_class("os:system")


def test_a_name_belongs_to_one_class():
    with pytest.raises(ConfigError, match=r"'mose' belongs to mose_med.networks.mose.network.MoSE, got .*Stand"):
        register("mose")(Stand)


def test_a_class_without_a_name_is_refused():
    with pytest.raises(ConfigError, match=r"network .*Stand is not registered: decorate it with"):
        registered_name(Stand())


def test_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"network 'mose' cannot be built from its settings \['depth'\]"):
        build({"depth": 3})


def test_another_package_declares_a_network(monkeypatch: pytest.MonkeyPatch):
    declare(monkeypatch, f"{__name__}:Stand")
    assert "stand" in registered_networks()
    assert build({"name": "stand"}).width == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [("nowhere_at_all:Stand", "cannot be imported"), (f"{__name__}:declare", "must be a class")],
)
def test_a_declaration_that_leads_nowhere_is_named(monkeypatch: pytest.MonkeyPatch, value: str, message: str):
    declare(monkeypatch, value)
    with pytest.raises(ConfigError, match=rf"network 'stand': {value}.* {message}"):
        network_class("stand")
