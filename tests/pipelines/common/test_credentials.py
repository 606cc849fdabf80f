"""Passwords in the address of an MLflow server, where the server breaks off after its health check."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import pytest

from mose_med.errors import DataError
from mose_med.handlers.tracking.run_upload import upload
from mose_med.handlers.tracking.training_run import TrainingRun
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode, configure_logging, run_command

pytestmark = pytest.mark.usefixtures("few_retries")

PASSWORD = "Zyxwvut"


@pytest.fixture
def address(failing_server: str) -> str:
    return f"http://reader:{PASSWORD}@{failing_server}"


def written(folder: Path) -> list[Path]:
    """Files that tell the password."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_a_training_tells_no_password(
    address: str, failing_server: str, tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path, capfd, monkeypatch
):
    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")
    command = ["train", "--datalist", str(tiny_datalist), "--output-dir", str(tmp_path / "run"), "--device", "cpu"]
    command += ["--config", str(tiny_overlay), "--max-epochs", "1", "--tracking-uri", address]
    assert invoke([*command, "--debug", "--log-file", str(tmp_path / "log")]) == ExitCode.DONE
    told = "".join(capfd.readouterr())
    log = (tmp_path / "log").read_text()
    assert f"MLflow store http://{failing_server} cannot be used: " in log
    assert PASSWORD not in told
    assert written(tmp_path) == []


@pytest.mark.parametrize("command", ["list", "register"])
def test_the_models_commands_tell_no_password(address: str, tiny_bundle: Path, command: str, tmp_path: Path, capfd):
    arguments = [str(tiny_bundle)] if command == "register" else []
    log = tmp_path / "log"
    code = invoke(["models", command, *arguments, "--tracking-uri", address, "--debug", "--log-file", str(log)])
    told = " ".join("".join(capfd.readouterr()).split())
    assert code == ExitCode.BAD_INPUT
    assert "mose-med: MLflow store of model mose_med cannot be used: " in told
    assert PASSWORD not in told + log.read_text()


def test_a_retraining_tells_no_password(address: str, site_datalist: Path, tmp_path: Path, capfd):
    command = ["retrain", "--datalist", str(site_datalist), "--output-dir", str(tmp_path / "out")]
    assert invoke([*command, "--tracking-uri", address, "--device", "cpu", "--debug"]) == ExitCode.BAD_INPUT
    assert PASSWORD not in "".join(capfd.readouterr())


def test_no_error_behind_the_error_tells_it(address: str, mlflow_folder):
    with pytest.raises(DataError, match="cannot be used") as told:
        upload(TrainingRun.open(mlflow_folder("training")), address)
    assert PASSWORD not in "".join(traceback.format_exception(told.value))


def test_whatever_raises_it_neither_terminal_nor_log_tells_it(tmp_path: Path, capfd):
    import logging

    def command() -> None:
        configure_logging(quiet=False, log_file=tmp_path / "log", debug=True)
        try:
            raise ValueError(f"no such store: postgresql://reader:{PASSWORD}@db/x?sslpassword={PASSWORD}")
        except ValueError as error:
            logging.getLogger("pipelines").warning("%s", {"reason": str(error)}, exc_info=True)
            raise

    assert run_command(command, debug=True) == ExitCode.INTERNAL_ERROR
    assert PASSWORD not in "".join(capfd.readouterr()) + (tmp_path / "log").read_text()


def test_records_of_a_training_tell_no_password(address: str, tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path):
    overlay = tmp_path / "store.json"
    overlay.write_text(json.dumps({"tracking_uri": address}))
    command = ["train", "--datalist", str(tiny_datalist), "--output-dir", str(tmp_path / "run"), "--device", "cpu"]
    command += ["--config", str(tiny_overlay), "--config", str(overlay), "--max-epochs", "1", "--quiet"]
    assert invoke(command) == ExitCode.DONE
    assert written(tmp_path / "run") == []
