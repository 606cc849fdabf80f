"""Options of the node."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.cli import invoke
from pipelines.listen.options import ListenOptions, PeerAddress

OPTIONS = ListenOptions(Path("out"), allow_ae_title=("SCANNER",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"allow_ae_title": ()}, "say who may send: --allow-ae-title NAME for each node, or --any-ae-title"),
        ({"any_ae_title": True}, "say who may send"),
        ({"ae_title": "seventeen letters"}, "ae_title must be an AE title, 1 to 16 characters of ASCII, got 'seven"),
        ({"allow_ae_title": ("a\\b",)}, "allow_ae_title must be an AE title"),
        ({"port": 65536}, "port must be between 0 and 65535, got 65536"),
        ({"quiet_s": 0.0}, "quiet_s must be > 0, got 0.0"),
        ({"keep_hours": -1.0}, "keep_hours must be >= 0, got -1.0"),
        ({"max_associations": 0}, "max_associations must be >= 1, got 0"),
        ({"ca_bundle": Path("ca.pem")}, "--ca-bundle needs --dicomweb URL, got ca.pem without it"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], message: str):
    OPTIONS.check()
    with pytest.raises(ConfigError, match=message):
        replace(OPTIONS, **changes).check()


@pytest.mark.parametrize("text", ["PACS", "PACS@host", "PACS@host:0", "PACS@host:70000", "@host:104", "A\\B@host:104"])
def test_an_address_of_a_node_is_its_title_host_and_port(text: str):
    with pytest.raises(ConfigError, match="send_to must be"):
        PeerAddress.parse(text)
    assert PeerAddress.parse("PACS@[::1]:104") == PeerAddress("PACS", "::1", 104)


def test_without_the_package_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd):
    monkeypatch.delitem(sys.modules, "pipelines.listen.server", raising=False)
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    assert invoke(["listen", "--output-dir", str(tmp_path / "out"), "--any-ae-title"]) == 2
    assert "pynetdicom is not installed: run `pip install 'mose-med[node]'`" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
