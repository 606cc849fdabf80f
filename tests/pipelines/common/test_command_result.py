from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipelines.cli import app, invoke
from pipelines.common import command_result
from pipelines.common.command_result import SCHEMA_NAME, advice_in
from tests.pipelines.test_help_limits import commands

COMMANDS = [path for path, _ in commands(app)]


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and the object on standard output, which follows the schema."""
    code = invoke([*arguments, "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    schema = json.loads(Path(command_result.__file__).with_name(SCHEMA_NAME).read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(line), schema)
    return code, json.loads(line)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_a_usage_error_as_json(name: str, capsys: pytest.CaptureFixture[str]):
    code, told = said([*name.split(), "--no-such-option"], capsys)
    assert (code, told["exit_code"], told["command"]) == (2, 2, name)
    assert "--no-such-option" in told["error"]


def test_a_refusal_has_its_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, told = said(["infer", str(tmp_path)], capsys)
    assert (code, told["result"]) == (2, None)
    assert told["advice"] == "pass --output-dir DIR"


@pytest.mark.parametrize("arguments", [["config", "list"], ["config", "--nothing"]])
def test_of_several_processes_the_first_alone_prints(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    lines = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        invoke([*arguments, "--json"])
        lines.append(len(capsys.readouterr().out.splitlines()))
    assert lines == [1, 0]


def test_a_result_is_one_object_and_text_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "known"
    arguments = ["prepare", "phantom", "--kind", "datalist", "--patients", "5", "--output-dir", str(out)]
    code, told = said(arguments, capsys)
    assert (code, told["error"], told["output"]) == (0, None, str(out))
    assert told["result"]["datalist"] == str(out / "dataset.json")


def test_what_nobody_expected_is_told_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    monkeypatch.setattr("pipelines.report.run.report", lambda options: 1 / 0)
    code, told = said(["report", str(tmp_path), "--image", "ct.nii"], capsys)
    assert (code, told["exit_code"]) == (3, 3)
    assert told["error"].startswith("internal error: ZeroDivisionError")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("no cases in studies: name a folder with CT studies", "name a folder with CT studies"),
        ("mlflow is not installed: run `pip install 'mose-med[mlflow]'`", "run `pip install 'mose-med[mlflow]'`"),
        ("config sets 'netwrk', which train.yaml does not have: did you mean 'network'?", "did you mean 'network'?"),
        ("a.nii: No such file or directory", None),
    ],
)
def test_advice_is_the_end_of_a_message(error: str, advice: str | None):
    assert advice_in(error) == advice
