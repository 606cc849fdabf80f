from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mose_med.case_contents.maps import OUTPUTS
from pipelines.cli import app, commands_in_order, invoke
from pipelines.info.run import describe
from tests.pipelines.test_help_limits import commands


def test_info_describes_every_command_by_its_declaration(capsys: pytest.CaptureFixture[str]):
    assert invoke(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert set(found["commands"]) == {path for path, _ in commands(app)}
    (samples,) = [each for each in found["commands"]["calibrate"]["options"] if each["name"] == "--num-samples"]
    assert (samples["field"], samples["limits"], samples["default"]) == ("num_samples", "1<=x", 16)
    assert found["devices"][0]["name"] == "cpu"


def test_info_tells_the_type_of_each_value_and_whether_there_are_several():
    found = {
        command: {each["name"]: each for each in text["options"]} for command, text in describe()["commands"].items()
    }
    told = [
        found["train"]["--set"],
        found["evaluate"]["--num-samples"],
        found["train"]["--precision"],
        found["train"]["--seed"],
    ]
    assert [(each["type"], each["several"]) for each in told] == [
        ("str", True),
        ("int", True),
        ("str", False),
        ("int", False),
    ]
    assert found["train"]["--precision"]["choices"] == ["auto", "fp32", "bf16", "fp16"]


def test_info_names_the_commands_in_the_order_of_the_work():
    words = [name.partition(" ")[0] for name in describe()["commands"]]
    assert list(dict.fromkeys(words)) == commands_in_order()


def test_info_tells_the_options_that_all_commands_have():
    for text in describe()["commands"].values():
        assert {"--log-file", "--debug", "--json", "--quiet"} <= {each["name"] for each in text["options"]}


def test_an_option_of_one_name_means_the_same_in_all_commands():
    meanings: dict[str, set[tuple[str, str, str | None, str]]] = {}
    for text in describe()["commands"].values():
        for each in text["options"]:
            kind = "str" if each["type"] == "Path" else each["type"]  # both are what is typed
            if each["name"].startswith("--"):
                choices = ",".join(each["choices"] or ())
                meanings.setdefault(each["name"], set()).add((each["help"], kind, each["limits"], choices))
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_a_former_name_is_taken_and_the_present_one_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = ["--datalist", str(tmp_path / "none.json"), "--output-dir", str(tmp_path / "out"), "--samples", "4", "8"]
    assert invoke(["evaluate", *given, "--samples=0"]) == 2
    told = capsys.readouterr().err
    assert "--samples is now called --num-samples" in told
    assert "Invalid value for '--num-samples': 4, 8, 0 is not in the range 1<=x." in told
    assert invoke(["infer", "--samples", "2"]) == 2
    assert "is called" not in capsys.readouterr().err


@pytest.mark.parametrize("name", OUTPUTS)
def test_help_of_infer_names_every_map_whole(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "140")
    invoke(["infer", "--help"])
    assert re.search(rf"[\s,]{name}[\s,.]", capsys.readouterr().out)


def test_commands_stand_in_the_order_of_the_work(capsys: pytest.CaptureFixture[str]):
    invoke(["--help"])
    shown = re.findall(r"^│ (\S+)", capsys.readouterr().out, flags=re.MULTILINE)
    wanted = ["prepare", "train", "evaluate", "calibrate", "infer", "report", "retrain", "models", "export"]
    assert [name for name in shown if name in wanted] == wanted


@pytest.mark.parametrize("path", [path for path, _ in commands(app)])
def test_every_command_has_two_examples(path: str, capsys: pytest.CaptureFixture[str]):
    invoke([*path.split(), "--help"])
    assert capsys.readouterr().out.count(f"mose-med {path}") >= 2


def test_config_lists_settings_and_shows_what_is_merged(capsys: pytest.CaptureFixture[str]):
    assert invoke(["config", "list"]) == 0
    listed = capsys.readouterr().out
    assert "learning_rate: 0.001" in listed
    assert "network::num_experts: 4" in listed
    assert invoke(["config", "show", "--config", "cosine", "--set", "network::num_experts=8", "--json"]) == 0
    config = json.loads(capsys.readouterr().out)["result"]["config"]
    assert (config["network"]["num_experts"], config["lr_scheduler"]["T_max"]) == (8, "@max_epochs")
