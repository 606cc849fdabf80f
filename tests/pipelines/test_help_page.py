"""Help pages that a narrow terminal shows whole, and what the user reads who typed something wrong."""

from __future__ import annotations

import re

import pytest

from pipelines.cli import app, invoke
from pipelines.info.run import describe
from tests.pipelines.test_help_limits import commands

COMMANDS = [path for path, _ in commands(app)]


@pytest.fixture(scope="module")
def described() -> dict[str, dict[str, object]]:
    return describe()["commands"]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_shown_whole_in_80_columns(
    path: str, described, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "80")
    assert invoke([*path.split(), "--help"]) == 0
    page = capsys.readouterr().out
    names = {each["name"] for each in described[path]["options"] if each["name"].startswith("--")}
    assert {name for name in names if not re.search(rf"^  {name}(?![\w-])", page, flags=re.MULTILINE)} == set()
    assert "\N{HORIZONTAL ELLIPSIS}" not in page
    assert not re.search(r"<(int|str|path|float|list)\b", page)
    told, _, examples = page.partition("\nExamples:\n")
    assert max(map(len, told.splitlines())) <= 80
    assert len(examples.splitlines()) >= 2


def test_a_narrow_page_shows_the_other_form_of_a_switch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "80")
    invoke(["infer", "--help"])
    assert "--dicom-seg / --no-dicom-seg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("train --datalst x", "mose-med train has no option --datalst: did you mean --datalist?"),
        ("train --xyz", "mose-med train has no option --xyz: see mose-med train --help"),
        ("lissten", "mose-med has no command lissten: did you mean listen?"),
        ("prepare nothing", "mose-med prepare has no command nothing: see mose-med prepare --help"),
        ("train", "Missing option '--datalist': see mose-med train --help"),
        ("report", "Missing argument 'case_dir': see mose-med report --help"),
        ("infer s --samples 0", "Invalid value for '--samples': 0 is not in the range 1<=x."),
        ("infer s --samples=x", "Invalid value for '--samples': x is not a whole number"),
        ("infer s --samples 1.5", "Invalid value for '--samples': 1.5 is not a whole number"),
        ("infer s --overlap x", "Invalid value for '--overlap': x is not a number"),
        ("infer s --overlap 2", "Invalid value for '--overlap': 2 is not in the range 0<=x<1."),
        ("infer s --maps x", "Invalid value for '--maps': 'x' is not one of 'scaled', 'full'."),
        ("prepare lidc --window a b", "Invalid value for '--window': a, b is not a number"),
        ("prepare lidc --window 3", "Option '--window' requires 2 arguments: see mose-med prepare lidc --help"),
        ("infer s --samples", "Option '--samples' requires an argument: see mose-med infer --help"),
        ("doctor more", "Got unexpected extra argument(s) (more): see mose-med doctor --help"),
    ],
)
def test_what_is_typed_wrong_is_told_in_one_line(typed: str, line: str, capsys: pytest.CaptureFixture[str]):
    assert invoke(typed.split()) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"mose-med: {line}\n")


@pytest.mark.parametrize("typed", [[], ["prepare"]])
def test_without_a_command_there_is_the_help(typed: list[str], capsys: pytest.CaptureFixture[str]):
    assert invoke(typed) == 2
    said = capsys.readouterr()
    assert "Usage: mose-med" in said.out + said.err
    assert "no command" not in said.err
