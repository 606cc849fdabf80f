"""Options of one mode of a command with another mode of it: refused by name, never ignored."""

from __future__ import annotations

import pytest

from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode

UNDO = ["calibrate", "--checkpoint", "w.pt", "--output-file", "v.pt", "--undo"]
AUDIT = ["prepare", "lidc", "--audit"]
SERIES = ["infer", "study", "--list-series"]


@pytest.mark.parametrize(
    ("command", "extra", "mode"),
    [
        (UNDO, ["--folds", "3"], "--undo"),
        (UNDO, ["--part", "test"], "--undo"),
        (UNDO, ["--seed", "7"], "--undo"),
        (AUDIT, ["--window", "5", "1"], "--audit"),
        (AUDIT, ["--labels", "one"], "--audit"),
        (AUDIT, ["--missing-raters", "drop"], "--audit"),
        (AUDIT, ["--output-dir", "out"], "--audit"),
        (SERIES, ["--output-dir", "out"], "--list-series"),
        (SERIES, ["--nodules", "n.csv"], "--list-series"),
        (["doctor", "--data", "data"], ["--folder", "out"], "--data"),
    ],
)
def test_an_option_of_another_mode_is_refused(
    command: list[str], extra: list[str], mode: str, capsys: pytest.CaptureFixture[str]
):
    assert invoke([*command, *extra, "--quiet"]) == ExitCode.BAD_INPUT
    assert f"{extra[0]} cannot be combined with {mode}: leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("command", [AUDIT, ["prepare", "lidc", "--lidc-root", "LIDC", "--output-dir", "out"]])
def test_a_split_file_and_a_salt_are_refused(command: list[str], capsys: pytest.CaptureFixture[str]):
    assert invoke([*command, "--split", "split.csv", "--split-salt", "x"]) == ExitCode.BAD_INPUT
    assert "--split-salt applies only without --split, got both: give one of them" in capsys.readouterr().err
