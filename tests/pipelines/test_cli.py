from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode, run_command

LOADED = "import sys; sys.argv = ['mose-med', '--help']; from pipelines.cli import invoke; invoke(['--help']); "


def test_help_loads_nothing_heavy():
    code = LOADED + "print(sorted({'torch', 'monai', 'mlflow', 'numpy', 'matplotlib'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_file_name_that_is_not_utf8_is_printed(tmp_path: Path):
    folder = os.fsencode(tmp_path) + b"/M\xfcller"
    os.mkdir(folder)  # noqa: PTH102
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "doctor", "--data", folder]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}  # as where the locale is UTF-8
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == ExitCode.BAD_INPUT
    assert b"/M\xfcller: 2 wrong, " in done.stdout


@pytest.mark.parametrize("command", ["demo", "prepare", "train", "calibrate", "evaluate", "infer", "export"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]):
    assert invoke([command, "--help"]) == ExitCode.DONE
    assert "Usage: mose-med" in capsys.readouterr().out


def test_unknown_option_is_bad_usage(capsys: pytest.CaptureFixture[str]):
    assert invoke(["train", "--datalst", "x"]) == ExitCode.BAD_INPUT
    assert "--datalst" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["infer", "study", "--output-dir", "out", "--nodules", ""], "--nodules"),
        (["infer", "study", "--output-dir", "out", "--nodules="], "--nodules"),
        (["infer", "", "--output-dir", "out"], "an argument"),
        (["models", "list", "--tracking-uri", ""], "--tracking-uri"),
    ],
)
def test_an_empty_path_is_not_the_current_folder(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]):
    assert invoke(arguments) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.startswith(
        f"mose-med: {named} is empty (a variable of the shell that is not set?): "
    )


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("samples must be >= 1, got 0"), ExitCode.BAD_INPUT, "mose-med: samples must be >= 1, got 0"),
        (FileNotFoundError(2, "No such file or directory", "a.nii"), ExitCode.BAD_INPUT, "a.nii: No such file"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "run the same command again to continue"),
        (ZeroDivisionError("division by zero"), ExitCode.INTERNAL_ERROR, "internal error: ZeroDivisionError"),
    ],
)
def test_errors_are_one_line(error: BaseException, code: ExitCode, message: str, capsys: pytest.CaptureFixture[str]):
    def command() -> None:
        raise error

    assert run_command(command) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_what_was_to_be_overwritten_goes_on_without_it(capsys: pytest.CaptureFixture[str]):
    def command() -> None:
        raise KeyboardInterrupt

    assert run_command(command, overwrite=True) == ExitCode.INTERRUPTED
    assert "run the same command again, without --overwrite, to continue" in capsys.readouterr().err


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]):
    def command() -> None:
        raise ConfigError("no")

    run_command(command, debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_missing_lidc_root_exits_2_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = tmp_path / "nowhere"
    code = invoke(["prepare", "lidc", "--lidc-root", str(root), "--output-dir", str(tmp_path / "out")])
    assert code == ExitCode.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mose-med: lidc_root {root} is not a folder: name the one that holds LIDC-IDRI-0001")
    assert not (tmp_path / "out").exists()
