"""Killed runs, wherever it happens: nothing passes for a result, and the same command ends as if undisturbed."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode

#: Runs a command that kills itself at the n-th call of a function.
DYING = """
import itertools, operator, os, signal, sys
from importlib import import_module
module, owner, function, number, *command = sys.argv[1:]
owner = operator.attrgetter(owner)(import_module(module)) if owner else import_module(module)
original, calls = getattr(owner, function), itertools.count(1)
def dying(*arguments, **options):
    if next(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
setattr(owner, function, dying)
from pipelines.cli import invoke
invoke(command)
"""
SECOND_VOLUME = ("nibabel", "", "save", "2")
LATER_VOLUME = ("nibabel", "", "save", "7")
CARD = ("pipelines.prepare.description", "", "write_card", "1")
MANIFEST = ("pipelines.prepare.description", "", "write_manifest", "1")
LAST_STEP = ("pathlib", "Path", "rename", "1")


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "input_files.json"]  # tells times
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def killed(command: list[str], moment: tuple[str, ...], output: Path) -> None:
    process = subprocess.run([sys.executable, "-c", DYING, *moment, *command], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not (output / "dataset.json").exists()


@pytest.fixture
def command_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, Path], list[str]]:
    """Function that gives the command that prepares a source into a folder."""

    def lidc() -> list[str]:
        root, split = (request.getfixturevalue(name) for name in ("phantom_lidc_root", "phantom_split_csv"))
        return ["lidc", "--lidc-root", str(root), "--split", str(split), "--negatives", "1", "--spacing", "0.8"]

    def community() -> list[str]:
        path = request.getfixturevalue("write_pickle")(request.getfixturevalue("community_slices"))
        return ["community", str(path)]

    def rater_masks() -> list[str]:
        split = tmp_path / "split.csv"
        split.write_text(
            "patient_id,part\n" + "".join(f"case-{n},{'training' if n else 'validation'}\n" for n in range(6))
        )
        return ["rater-masks", str(request.getfixturevalue("rater_masks_root")), "--keep-ids", "--split", str(split)]

    def cityscapes() -> list[str]:
        return ["cityscapes", "--root", str(request.getfixturevalue("cityscapes_root"))]

    sources = {"lidc": lidc, "community": community, "rater-masks": rater_masks, "cityscapes": cityscapes}
    return lambda source, output: ["prepare", *sources[source](), "--output-dir", str(output), "--quiet"]


def assert_ends_as_if_undisturbed(command_of, source: str, moments: list[tuple[str, ...]], tmp_path: Path) -> None:
    output = tmp_path / "results" / "out"
    for moment in moments:
        killed(command_of(source, output), moment, output)
    assert invoke(command_of(source, output)) == ExitCode.DONE
    assert invoke(command_of(source, tmp_path / "undisturbed")) == ExitCode.DONE
    assert digests(output) == digests(tmp_path / "undisturbed")
    assert [path.name for path in output.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("source", ["community", "rater-masks", "cityscapes"])
def test_killed_between_two_volumes(source: str, command_of, tmp_path: Path):
    assert_ends_as_if_undisturbed(command_of, source, [LATER_VOLUME], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["lidc", "community", "rater-masks", "cityscapes"])
def test_killed_again_and_again(source: str, command_of, tmp_path: Path):
    moments = [SECOND_VOLUME, LATER_VOLUME, CARD, MANIFEST, LAST_STEP]
    assert_ends_as_if_undisturbed(command_of, source, moments, tmp_path)


@pytest.mark.parametrize("again", [[], ["--overwrite"]])
def test_an_overwriting_that_was_killed_is_gone_on_with_or_repeated(again: list[str], command_of, tmp_path: Path):
    output = tmp_path / "results" / "out"
    command = command_of("rater-masks", output)
    assert invoke(command) == ExitCode.DONE
    before = digests(output)
    killed([*command, "--overwrite"], LATER_VOLUME, output)
    assert invoke([*command, *again]) == ExitCode.DONE
    assert digests(output) == before
    assert [path.name for path in output.parent.iterdir()] == ["out"]
