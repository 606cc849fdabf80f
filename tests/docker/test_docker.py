"""The Docker files, as far as they can be tried without a Docker engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = ("Dockerfile", "Dockerfile.cuda")
PREFIX = "/opt/mose-med"


def instructions(name: str) -> list[tuple[str, str]]:
    """Instruction and argument of every line of a Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "docker" / name).read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]  # type: ignore[misc]


def arguments(name: str, instruction: str) -> list[str]:
    return [argument for found, argument in instructions(name) if found == instruction]


@pytest.mark.parametrize("name", FILES)
def test_the_image_runs_the_command_as_nobody_in_particular(name: str):
    assert arguments(name, "ENTRYPOINT") == ['["mose-med"]']
    (user,) = arguments(name, "USER")
    assert user.split(":")[0] not in ("0", "root")


@pytest.mark.parametrize("name", FILES)
def test_everything_that_is_copied_exists_and_is_let_through(name: str):
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for argument in arguments(name, "COPY"):
        if not argument.startswith("--from"):
            for source in argument.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in ignore


def test_the_composed_services_are_confined():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert services["infer"]["network_mode"] == "none"
    for name in ("infer", "mlflow"):
        assert services[name]["init"]  # signals reach the command, and processes that ended are cleared away
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert (ROOT / "docker" / services[name]["build"]["context"] / services[name]["build"]["dockerfile"]).is_file()
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users and give folders away")
def test_the_lines_that_make_the_user_and_the_folder_of_the_volume_work(name: str, tmp_path: Path):
    (tmp_path / "etc").mkdir()
    for table in ("passwd", "group", "shadow", "gshadow", "login.defs"):
        (tmp_path / "etc" / table).touch()
    lines = [line for line in arguments(name, "RUN") if PREFIX not in line]
    for line in lines:
        moved = line.replace("useradd ", f"useradd --prefix {tmp_path} ").replace(" /mlflow", f" {tmp_path}/mlflow")
        subprocess.run(moved, shell=True, check=True)
    (user,) = arguments(name, "USER")
    assert (tmp_path / "etc" / "passwd").read_text().startswith(f"mose:x:{user.split(':')[0]}:")
    folder = (tmp_path / "mlflow").stat()
    assert f"{folder.st_uid}:{folder.st_gid}" == user


@pytest.mark.slow
def test_the_lines_that_build_the_image_give_a_working_command(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "opt"
    source.mkdir()
    for argument in arguments("Dockerfile", "COPY"):
        for name in [] if argument.startswith("--from") else argument.split()[:-1]:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, source / name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PIP_OPTIONS": "", "HOME": str(tmp_path)}
    build_lines = [line for line in arguments("Dockerfile", "RUN") if PREFIX in line]
    for line in build_lines:
        subprocess.run(line.replace(PREFIX, str(target)), shell=True, check=True, cwd=source, env=environment)
    command = shlex.quote(str(target / "bin" / "mose-med"))
    shown = subprocess.run(
        f"{command} infer --help", shell=True, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "--input-dir" in shown.stdout
    place = subprocess.run(
        [target / "bin" / "python", "-c", "import mose_med; print(mose_med.__file__)"],
        check=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert Path(place.stdout.strip()).is_relative_to(target)
