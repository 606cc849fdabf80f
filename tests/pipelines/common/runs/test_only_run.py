"""Commands that are the only one in their output folder: a second one at once is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.cli import invoke
from pipelines.prepare.sources.known_phantom import PrepareKnownPhantomOptions, prepare_known_phantom

Command = tuple[list[str], list[str], str]


@pytest.fixture
def command_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Command]:
    """Function that gives a command into ``out``, options that make it another, and a moment in the middle of it."""

    def fixture(name: str) -> str:
        return str(request.getfixturevalue(name))

    def prepare() -> Command:
        split, parts = tmp_path / "split.csv", ("validation", *["training"] * 5)
        split.write_text("patient_id,part\n" + "".join(f"case-{n},{part}\n" for n, part in enumerate(parts)))
        command = ["prepare", "rater-masks", fixture("rater_masks_root"), "--split", str(split)]
        return command, ["--crop", "64"], "pipelines.prepare.sources.rater_masks:load_case"

    def train() -> Command:
        command = ["train", "--datalist", fixture("tiny_datalist"), "--config", fixture("tiny_overlay")]
        return [*command, "--max-epochs", "1", "--device", "cpu"], ["--seed", "1"], "mose_med.checkpoint:torch.save"

    def evaluate() -> Command:
        command = ["evaluate", "--datalist", fixture("tiny_datalist"), "--checkpoint", fixture("tiny_checkpoint")]
        return [*command, "--device", "cpu"], ["--seed", "1"], "pipelines.evaluate.run:_Run.evaluate"

    def nnunet() -> Command:
        command = ["export", "nnunet", "--datalist", fixture("tiny_datalist")]
        return command, ["--channel", "other"], "pipelines.export.nnunet:_write_case"

    commands = {"prepare": prepare, "train": train, "evaluate": evaluate, "export": nnunet}
    return lambda name: commands[name]()


@pytest.mark.parametrize("name", ["prepare", "train", "evaluate", "export"])
def test_a_second_run_into_the_folder_is_refused_and_the_first_ends_well(
    name: str, command_of, hold, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command, other, moment = command_of(name)
    command += ["--output-dir", str(tmp_path / "out"), "--quiet"]
    program = hold(command, moment)
    for second in (command, [*command, *other, "--overwrite"]):
        assert invoke(second) == 2
        assert "out is in use by a run on " in capsys.readouterr().err
    assert program.end() == 0, program.said()
    assert not list(tmp_path.rglob(".*"))
    assert invoke(command) == 0


def test_what_others_put_into_a_folder_that_is_prepared_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = PrepareKnownPhantomOptions(tmp_path / "out", patients=5, quiet=True)

    def strange(*_: object) -> None:
        (tmp_path / "out" / "notes.txt").touch()

    monkeypatch.setattr("pipelines.prepare.sources.known_phantom._write_truth", strange)
    with pytest.raises(ConfigError, match=r"out holds notes.txt, which this command did not put there: move it"):
        prepare_known_phantom(options)
    assert (tmp_path / "out" / "notes.txt").exists()


@pytest.mark.parametrize("name", ["prepare", "export"])
def test_a_mount_point_is_refused_before_any_work_where_a_whole_folder_takes_its_place(
    name: str, command_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    command, _, _ = command_of(name)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "out")
    assert invoke([*command, "--output-dir", str(tmp_path / "out"), "--overwrite", "--quiet"]) == 2
    assert "cannot be replaced by a finished folder: name a folder inside it" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir()) + list(tmp_path.glob(".*"))
