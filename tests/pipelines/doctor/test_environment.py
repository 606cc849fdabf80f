from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.cli import invoke
from pipelines.doctor import environment
from pipelines.doctor.environment import checks

NAMES = {"python", "packages", "torch", "gpu", "codecs", "weights", "mlflow store", "disk", "write access", "locks"}


def test_every_part_of_the_environment_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert invoke(["doctor", "--folder", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]["checks"]
    assert {check["name"] for check in found} >= NAMES | {"extra dicom", "extra mlflow"}
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_has_a_fix_and_exit_code_2(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9/")
    assert invoke(["doctor", "--folder", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("wrong mlflow store")]
    assert lines[place + 1] == "      fix: start the server, or correct MLFLOW_TRACKING_URI"
    assert "secret" not in "".join(lines)


def test_all_that_is_wrong_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "_PYTHONS", ((4, 0), (4, 1)))
    monkeypatch.setattr(environment, "installed_version", lambda name: None)
    monkeypatch.setattr(environment, "_LEAST_BYTES", 1 << 80)
    monkeypatch.setattr(environment, "_GOOD_BYTES", 1 << 80)
    wrong = [check for check in checks(tmp_path) if check.state == "wrong"]
    assert {check.name for check in wrong} >= {"python", "packages", "disk"}
    assert all(check.fix for check in wrong)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    last = list(checks(tmp_path / "nowhere"))[-1]
    assert (last.state, last.fix) == ("wrong", "name one that exists: --folder DIR")
