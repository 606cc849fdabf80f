"""Killed runs, wherever it happens: nothing passes for a result, and the same command ends as if undisturbed."""

from __future__ import annotations

import hashlib
import shutil
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
LAST_STEP = ("pathlib", "Path", "rename", "2")  # the first is the lock's
BETWEEN_OLD_AND_NEW = ("pathlib", "Path", "rename", "3")


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "input_files.json"]  # tells times
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def killed(command: list[str], moment: tuple[str, ...]) -> None:
    process = subprocess.run([sys.executable, "-c", DYING, *moment, *command], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr


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
        killed(command_of(source, output), moment)
        assert not (output / "dataset.json").exists()
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


@pytest.fixture
def phantom(tmp_path: Path) -> Callable[..., list[str]]:
    """Function that gives a command into ``results/out`` that is soon done."""
    output = str(tmp_path / "results" / "out")
    known = ["prepare", "phantom", "--kind", "datalist", "--patients", "5", "--quiet"]
    return lambda *more: [*known, "--output-dir", output, *more]


@pytest.mark.parametrize(
    ("moment", "again"),
    [(LATER_VOLUME, []), (LATER_VOLUME, ["--overwrite"]), (LAST_STEP, []), (BETWEEN_OLD_AND_NEW, [])],
)
def test_an_overwriting_that_was_killed_is_gone_on_with_or_repeated(
    moment: tuple[str, ...], again: list[str], phantom, tmp_path: Path
):
    output, other = tmp_path / "results" / "out", ("--seed", "1")
    assert invoke(phantom()) == ExitCode.DONE
    before = digests(output)
    killed(phantom(*other, "--overwrite"), moment)
    there = output.with_name(".out.replaced") if moment is BETWEEN_OLD_AND_NEW else output
    assert digests(there) == before
    assert invoke(phantom(*other, *again)) == ExitCode.DONE
    after = digests(output)
    assert [path.name for path in output.parent.iterdir()] == ["out"]
    shutil.rmtree(output)
    assert invoke(phantom(*other)) == ExitCode.DONE
    assert digests(output) == after != before


def test_an_overwriting_with_the_same_options_that_was_killed_is_gone_on_with(phantom, tmp_path: Path):
    output = tmp_path / "results" / "out"
    assert invoke(phantom()) == ExitCode.DONE
    (output / "dataset.json").write_text("damaged")
    killed(phantom("--overwrite"), LATER_VOLUME)
    assert invoke(phantom()) == ExitCode.DONE
    assert (output / "dataset.json").read_text() != "damaged"
    assert [path.name for path in output.parent.iterdir()] == ["out"]


def test_another_command_ends_what_an_overwriting_that_was_killed_has_begun(
    phantom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "results" / "out"
    assert invoke(phantom()) == ExitCode.DONE
    before = digests(output)
    killed(phantom("--seed", "1", "--overwrite"), LATER_VOLUME)
    assert invoke(phantom()) == ExitCode.DONE
    assert digests(output) == before
    assert invoke(phantom("--seed", "1")) == ExitCode.BAD_INPUT
    assert "was made with seed=0, not 1: name another or add --overwrite, which replaces it" in capsys.readouterr().err
    assert [path.name for path in output.parent.iterdir()] == ["out"]
