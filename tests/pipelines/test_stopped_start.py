"""Commands that are told to end before they have begun: one line, one object, and the exit code of any other end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from pipelines.common import command_result
from pipelines.common.command_result import SCHEMA_NAME

WORDS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
#: Ends the process when a module is looked for, or when the command line is parsed.
STOPPED_AT = """
import os, sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Stop())
if {module!r} == "parsing":
    import pipelines.common.command_line.command as command
    command._with_present_names = lambda *_: os.kill(os.getpid(), {number})
from pipelines.start import main
main()
"""


def stopped(number: int, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The console script, ended while it loads a module."""
    code = STOPPED_AT.format(module=module, number=int(number))
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["pipelines.cli", "typer", "rich", "pipelines.train.command", "parsing"])
@pytest.mark.parametrize("number", WORDS)
def test_a_start_that_is_stopped_says_so_in_one_line(number: signal.Signals, module: str):
    code, word = WORDS[number]
    done = stopped(number, module, "infer", "ct.nii.gz")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"mose-med: {word} before it began: run the same command again\n"


@pytest.mark.parametrize("number", WORDS)
def test_a_start_that_is_stopped_prints_the_object(number: signal.Signals):
    code, word = WORDS[number]
    done = stopped(number, "typer", "infer", "ct.nii.gz", "--json")
    (line,) = done.stdout.splitlines()
    schema = json.loads(Path(command_result.__file__).with_name(SCHEMA_NAME).read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(line), schema)
    told = json.loads(line)
    assert (done.returncode, told["exit_code"], told["command"], told["result"]) == (code, code, "infer", None)
    assert (told["error"], told["advice"]) == (done.stderr[10:-1], "run the same command again")
    assert told["error"].startswith(word)


def test_a_start_that_is_left_alone_is_that_of_the_command_line():
    code = "from pipelines.start import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
