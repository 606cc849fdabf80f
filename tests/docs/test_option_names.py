"""Options that messages and docs name exist: of this command line, or of the other program that is called there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.info.run import describe

ROOT = Path(__file__).parents[2]
PACKAGES = ("mose_med", "data_prep", "pipelines")
PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Options of programs that our messages name.
OF_OTHERS = {
    "pip": {"--upgrade", "--force-reinstall"},
    "git": {"--porcelain", "--untracked-files"},
    "mlflow": {"--backend-store-uri"},
    "monailabel": {"--conf"},
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]\b")
#: A command of ours in a line of a page, up to the end of the code.
CALL = re.compile(r"(?<!-p )mose-med ((?:[a-z-]+ )?[a-z-]+)((?: [^`\n|#]*)?)")


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """Options by command, with the other form of switches."""
    told = {}
    for command, text in describe()["commands"].items():
        names = {each["name"] for each in text["options"]}
        told[command] = names | {f"--no-{name[2:]}" for name in names} | {"--help"}
    return told


def literals(package: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value


@pytest.mark.parametrize("package", PACKAGES)
def test_every_option_in_a_message_exists(package: str, options):
    known = {"--version", "--no", "--no-name"}.union(*options.values(), *OF_OTHERS.values())
    style = {"--expert"}  # of a page's style sheet
    named = {(path.name, name) for path, text in literals(package) for name in OPTION.findall(text)}
    assert {each for each in named if each[1] not in known | style} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_option_of_a_command_on_a_page_is_one_of_that_command(page: Path, options):
    text = re.sub(r"\\\\\n\s*", " ", page.read_text(encoding="utf-8"))
    wrong = set()
    for words, rest in CALL.findall(text):
        command = words if words in options else words.split()[0]
        if command in options:
            own = rest.partition(" && ")[0].partition(" -m ")[0]
            wrong |= {(command, name) for name in OPTION.findall(own) if name not in options[command]}
    assert wrong == set()
