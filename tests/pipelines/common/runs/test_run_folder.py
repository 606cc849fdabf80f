from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.common.runs import run_folder
from pipelines.common.runs.run_folder import claim_folder


def test_same_options_resume(tmp_path: Path):
    assert not claim_folder(tmp_path / "run", {"seed": 1, "path": Path("a")})
    assert claim_folder(tmp_path / "run", {"seed": 1, "path": Path("a")})


def test_other_options_are_refused_by_name(tmp_path: Path):
    claim_folder(tmp_path / "run", {"seed": 1})
    with pytest.raises(ConfigError, match="was made with seed=1, not 2: name another or add --overwrite"):
        claim_folder(tmp_path / "run", {"seed": 2})


def test_overwrite_empties_a_run_of_ours(tmp_path: Path):
    claim_folder(tmp_path / "run", {"seed": 1})
    (tmp_path / "run" / "old.txt").touch()
    assert not claim_folder(tmp_path / "run", {"seed": 2}, overwrite=True)
    assert not (tmp_path / "run" / "old.txt").exists()


def test_overwrite_with_the_same_options_begins_anew(tmp_path: Path):
    claim_folder(tmp_path / "run", {"seed": 1})
    (tmp_path / "run" / "old.txt").touch()
    assert not claim_folder(tmp_path / "run", {"seed": 1}, overwrite=True)
    assert not (tmp_path / "run" / "old.txt").exists()
    assert claim_folder(tmp_path / "run", {"seed": 1})  # without it, an interrupted run goes on


def test_a_folder_of_the_same_options_stays_where_only_others_are_replaced(tmp_path: Path):
    claim_folder(tmp_path / "run", {"seed": 1})
    (tmp_path / "run" / "old.txt").touch()
    assert claim_folder(tmp_path / "run", {"seed": 1}, replace_other=True)
    assert (tmp_path / "run" / "old.txt").exists()
    assert not claim_folder(tmp_path / "run", {"seed": 2}, replace_other=True)


KILLED_WHILE_EMPTYING = """
import os, pathlib, signal, sys
from pipelines.common.runs import run_folder

folder, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
def die_after(function):
    def counted(*arguments, **named):
        global steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return counted
os.unlink, os.rmdir = die_after(os.unlink), die_after(os.rmdir)
run_folder.claim_folder(folder, {"seed": 2}, overwrite=True)
"""


@pytest.mark.parametrize("steps", range(6))
def test_a_run_that_was_killed_while_it_emptied_a_folder_can_go_on(tmp_path: Path, steps: int):
    folder = tmp_path / "run"
    claim_folder(folder, {"seed": 1})
    for case in ("a", "b"):
        (folder / case).mkdir()
        (folder / case / "maps.nii.gz").touch()
    (folder / "summary.csv").touch()
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_EMPTYING, folder, str(steps)], check=False)
    assert killed.returncode == (-signal.SIGKILL if steps < 5 else 0)
    if steps < 5:
        with pytest.raises(ConfigError, match="was being emptied when a run was stopped: name another or add"):
            claim_folder(folder, {"seed": 1})
    claim_folder(folder, {"seed": 2}, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["options.json"]
    assert claim_folder(folder, {"seed": 2})


def test_a_strangers_folder_is_never_emptied(tmp_path: Path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match=r"is not empty and has no options.json: name another"):
        claim_folder(tmp_path, {"seed": 2}, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "run").touch()
    with pytest.raises(ConfigError, match="is a file: name another"):
        claim_folder(tmp_path / "run", {})


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Function that makes this another version of the project."""
    return lambda number: monkeypatch.setattr(run_folder, "__version__", number)


def test_a_folder_of_another_version_is_told_by_name(tmp_path: Path, version):
    version("0.2.0")
    claim_folder(tmp_path / "run", {"seed": 1})
    version("0.3.0")
    with pytest.raises(
        ConfigError, match=r"was made by version 0\.2\.0, this is 0\.3\.0: name another or add --overwrite"
    ):
        claim_folder(tmp_path / "run", {"seed": 1})
    with pytest.raises(
        ConfigError, match="name another, or add --accept-version to continue or --overwrite to empty it"
    ):
        claim_folder(tmp_path / "run", {"seed": 1}, accept_version=False)
    assert claim_folder(tmp_path / "run", {"seed": 1}, accept_version=True)


def test_a_folder_of_the_first_version_goes_on_where_it_is_accepted(tmp_path: Path, version):
    (tmp_path / "options.json").write_text('{"seed": 1, "gone": 0}')
    version("0.2.0")
    with pytest.raises(ConfigError, match=r"was made by version 0\.1\.0, this is 0\.2\.0"):
        claim_folder(tmp_path, {"seed": 1, "new": 0})
    assert claim_folder(tmp_path, {"seed": 1, "new": 0}, accept_version=True)
    with pytest.raises(ConfigError, match="was made with seed=1, not 2"):
        claim_folder(tmp_path, {"seed": 2, "new": 0}, accept_version=True)


def test_a_setting_within_an_option_is_compared_by_itself(tmp_path: Path, version):
    version("0.2.0")
    claim_folder(tmp_path, {"network": {"channels": [4, 8], "gone": 1}})
    version("0.3.0")
    new = {"network": {"channels": [4, 8], "new": 2}}
    assert claim_folder(tmp_path, new, accept_version=True)
    with pytest.raises(ConfigError, match=r"was made with network::channels=\[4, 8\], not \[4\]"):
        claim_folder(tmp_path, {"network": {"channels": [4]}}, accept_version=True)


def test_within_a_version_an_option_that_one_side_lacks_differs(tmp_path: Path):
    claim_folder(tmp_path, {"network": {"channels": [4, 8]}})
    with pytest.raises(ConfigError, match="was made with network::rank=None, not 2"):
        claim_folder(tmp_path, {"network": {"channels": [4, 8], "rank": 2}})


def test_a_folder_of_another_command_is_refused_by_name_and_stays(tmp_path: Path):
    claim_folder(tmp_path, {"command": "train", "seed": 1})
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"was made by mose-med train, not by mose-med evaluate: name another$"):
            claim_folder(tmp_path, {"command": "evaluate", "seed": 1}, overwrite=overwrite)
    assert claim_folder(tmp_path, {"command": "train", "seed": 1})


@pytest.mark.parametrize(
    ("older", "command"),
    [
        ('{"source": "rater-masks"}', "prepare rater-masks"),
        ('{"source": "known phantom"}', "prepare phantom"),
        ('{"bundle": "lidc"}', "train"),
        ('{"bundle": "lidc", "promote": "better"}', "retrain"),
        ('{"predictions": "p", "references": "r"}', "evaluate"),
        ('{"checkpoint_sha256": "0"}', "evaluate"),
        ('{"consensus": "majority"}', "export nnunet"),
    ],
)
def test_the_command_of_an_older_record_is_known_by_its_options(tmp_path: Path, older: str, command: str):
    (tmp_path / "options.json").write_text(older)
    with pytest.raises(ConfigError, match=f"was made by mose-med {command}, not by mose-med infer: name another"):
        claim_folder(tmp_path, {"command": "infer"}, overwrite=True)


def test_an_older_record_of_the_same_command_resumes(tmp_path: Path, version):
    version("0.1.0")
    (tmp_path / "options.json").write_text('{"bundle": "lidc"}')
    assert claim_folder(tmp_path, {"command": "train", "bundle": "lidc"})


def test_a_folder_that_another_command_was_emptying_is_refused(tmp_path: Path):
    (tmp_path / "options.json").write_text('{"emptying": true, "command": "train"}')
    with pytest.raises(ConfigError, match="was made by mose-med train, not by mose-med evaluate"):
        claim_folder(tmp_path, {"command": "evaluate"}, overwrite=True)


@pytest.mark.parametrize("name", ["notes.txt", "cases/notes.txt", "training/best.pt"])
def test_a_folder_with_a_file_that_the_command_does_not_write_is_not_emptied(tmp_path: Path, name: str):
    claim_folder(tmp_path, {"seed": 1})
    for written in ("scores.csv", "cases/a.nii", "cases/.DS_Store", ".DS_Store", name):
        (tmp_path / written).parent.mkdir(exist_ok=True)
        (tmp_path / written).touch()
    with pytest.raises(ConfigError, match=rf"holds {name}, which this command did not put there: move it"):
        claim_folder(tmp_path, {"seed": 2}, overwrite=True, own=("scores.csv", "cases/*.nii"))
    assert (tmp_path / "scores.csv").exists()
    (tmp_path / name).unlink()
    assert not claim_folder(tmp_path, {"seed": 2}, overwrite=True, own=("scores.csv", "cases/*.nii"))
    assert not (tmp_path / "scores.csv").exists()
