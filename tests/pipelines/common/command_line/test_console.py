"""What reaches the terminal and the log file: our log, warnings of libraries, errors; what does not."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from mose_med.errors import DataError
from mose_med.runtime.device import choose_device
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode, configure_logging, named_log_file, run_command

TOO_OLD = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """The log file of a command that is told to be quiet."""
    configure_logging(quiet=True, log_file=tmp_path / "logs" / "mose.log", debug=False)
    return tmp_path / "logs" / "mose.log"


@pytest.mark.filterwarnings("default")
def test_a_driver_that_is_too_old_is_told_where_auto_falls_to_the_cpu(
    log_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: warnings.warn(TOO_OLD, stacklevel=2))
    assert choose_device("auto") == torch.device("cpu")
    assert f"WARNING  {TOO_OLD} (" in capsys.readouterr().err
    assert TOO_OLD in log_file.read_text()
    assert ", no GPU can be used\n" in log_file.read_text()


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line_and_those_for_developers_are_none(log_file: Path, capsys: pytest.CaptureFixture[str]):
    warnings.warn("odd\n  input", UserWarning, stacklevel=1)
    warnings.warn("old name", FutureWarning, stacklevel=1)
    warnings.warn_explicit("Zyxwvut is no UID", UserWarning, "lib/site-packages/pydicom/valuerep.py", 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("WARNING  odd input (")
    assert "Zyxwvut" not in log_file.read_text()


def test_a_long_line_is_not_broken(capsys: pytest.CaptureFixture[str]):
    configure_logging(quiet=False, log_file=None, debug=False)
    logging.getLogger("pipelines.infer.run").info("results are in %s", "/long" * 60)
    assert capsys.readouterr().err == f"INFO     results are in {'/long' * 60}\n"


def test_the_log_of_libraries_goes_to_the_file_alone(log_file: Path, capsys: pytest.CaptureFixture[str]):
    logging.getLogger("monai.data").warning("a remark")
    assert capsys.readouterr().err == ""
    assert "WARNING monai.data [MainThread]: a remark" in log_file.read_text()


def test_a_file_name_that_is_not_utf8_is_logged(log_file: Path, capsys: pytest.CaptureFixture[str]):
    # Given to the handler itself: pytest cannot pass on such a name in the log that it keeps of a test.
    record = logging.LogRecord("n", logging.INFO, "", 0, "results are in %s", (os.fsdecode(b"M\xfcller"),), None)
    (handler,) = (one for one in logging.getLogger().handlers if getattr(one, "baseFilename", "") == str(log_file))
    handler.handle(record)
    assert capsys.readouterr().err == ""
    assert log_file.read_bytes().endswith(b"results are in M\xfcller\n")


@pytest.mark.parametrize("folder", ["out", "out/", "."])
def test_a_log_file_in_the_output_folder_is_refused_before_it_is_made(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    log_file = f"{folder.rstrip('/')}/logs/a.log"
    assert invoke(["infer", "ct.nii.gz", "--output-dir", folder, "--log-file", log_file]) == ExitCode.BAD_INPUT
    assert f"lies in the output folder {folder}: name " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_log_file_beside_the_output_folder_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["infer", str(tmp_path / "ct.nii.gz"), "--output-dir", str(tmp_path / "out")]
    assert invoke([*arguments, "--log-file", str(tmp_path / "out.log")]) == ExitCode.BAD_INPUT
    assert "ct.nii.gz does not exist" in capsys.readouterr().err
    assert (tmp_path / "out.log").is_file()
    assert not (tmp_path / "out").exists()


def test_a_log_file_on_a_full_disk_is_told_once(capsys: pytest.CaptureFixture[str]):
    configure_logging(quiet=True, log_file=Path("/dev/full"), debug=False)
    for number in range(3):
        logging.getLogger("pipelines.infer.run").info("step %d", number)
    configure_logging(quiet=True, log_file=None, debug=False)
    told = "WARNING  log file /dev/full cannot be written (No space left on device): the log goes on without it\n"
    assert capsys.readouterr().err == told


def test_a_full_disk_names_where_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert run_command(fail, output=Path("out")) == ExitCode.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    places = "output out, or the folder of temporary files"
    assert line == f"mose-med: No space left on device ({places}): free some space, or name another place"


def test_errors_stand_in_the_log_file_ours_with_their_traceback(log_file: Path, capsys: pytest.CaptureFixture[str]):
    def fault() -> None:
        raise DataError("two\nlines")

    def error_of_ours() -> None:
        raise ZeroDivisionError("no")

    assert (run_command(fault), run_command(error_of_ours)) == (ExitCode.BAD_INPUT, ExitCode.INTERNAL_ERROR)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "mose-med: two lines"
    assert second.endswith("ZeroDivisionError: no (the log file shows where; please report it)")
    assert "error_of_ours" in log_file.read_text()
    assert "in fault" not in log_file.read_text()


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "out: Permission denied: get the permission, or name another place"),
        (errno.ENOTDIR, "out: Not a directory: a part of the path is a file, name another place"),
        (errno.EIO, "out: Input/output error"),
    ],
)
def test_an_error_of_the_file_system_says_the_way_out_where_there_is_one(
    number: int, told: str, capsys: pytest.CaptureFixture[str]
):
    def fail() -> None:
        raise OSError(number, os.strerror(number), "out")

    assert run_command(fail) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.strip() == f"mose-med: {told}"


def test_another_log_file_takes_the_place_of_the_first(log_file: Path, tmp_path: Path):
    configure_logging(quiet=True, log_file=tmp_path / "other.log", debug=False)
    logging.getLogger("pipelines.infer.run").info("new")
    assert named_log_file() == tmp_path / "other.log"
    assert log_file.read_text() == ""
    configure_logging(quiet=True, log_file=None, debug=False)
    assert named_log_file() is None


def test_a_library_says_nothing_before_our_line(tmp_path: Path):
    (tmp_path / "predictions").mkdir()
    content = bytearray(b"\x5c\x01\0\0" + bytes(348))  # the size of a NIfTI header, no datatype
    content[40:44], content[344:348] = b"\x03\0\x05\0", b"n+1\0"
    for folder in ("predictions", "references"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.nii").write_bytes(content)
    options = ["--predictions", str(tmp_path / "predictions"), "--references", str(tmp_path / "references")]
    arguments = ["evaluate", *options, "--output-dir", str(tmp_path / "out"), "--quiet"]
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.BAD_INPUT
    (line,) = done.stderr.splitlines()
    assert line.startswith("mose-med: case a: ")


def test_evaluate_says_its_device_and_ends_with_the_scores_and_their_place(
    tiny_datalist: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--datalist", str(tiny_datalist), "--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    for _ in ("new", "already done"):
        assert invoke(["evaluate", *options, "--output-dir", str(tmp_path / "out")]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert sum("device: cpu" in line for line in lines) == 1
        assert "mean training mask, samples: 1, GED " in lines[-2]
        assert lines[-1] == f"INFO     scores are in {tmp_path / 'out'}"


def test_train_says_its_device_and_ends_with_the_best_weights(
    tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--datalist", str(tiny_datalist), "--config", str(tiny_overlay), "--device", "cpu", "--no-tracking"]
    for _ in ("new", "already done"):
        assert invoke(["train", *options, "--output-dir", str(tmp_path / "out")]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert sum("device: cpu" in line for line in lines) == 1
        assert lines[-2] == "INFO     2 of 2 epochs"
        assert lines[-1].startswith("INFO     best GED ")
        assert lines[-1].endswith(f": {tmp_path / 'out' / 'best.pt'}")


def test_infer_says_its_device_and_ends_with_the_lesions_and_their_place(
    write_study, infer_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    study, out = write_study(tmp_path / "study"), tmp_path / "out"
    options = ["--nodules", str(study / "nodules.csv"), "--checkpoint", str(infer_checkpoint), "--device", "cpu"]
    for _ in ("new", "already done"):
        assert invoke(["infer", str(study), *options, "--output-dir", str(out)]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert sum("device: cpu" in line for line in lines) == 1
        assert lines[-2].startswith("INFO     lesion 1 (1): ")
        assert lines[-1] == f"INFO     1 lesion: {next(out.glob('case-*'))}"
