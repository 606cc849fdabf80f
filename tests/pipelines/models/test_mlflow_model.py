"""A registered bundle as a model of MLflow: loaded, asked with a table and an array, and served."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from mose_med import load_model, open_case
from mose_med.errors import ConfigError
from pipelines.models.actions import register_bundle
from pipelines.models.registry import Registry

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
PARAMS = {"options": json.dumps({"region": "full", "report": False})}


@pytest.fixture
def store(mlflow_folder: Callable[[str], Path], tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a store that has the tiny bundle as the champion of ``lung``."""
    folder = mlflow_folder("registry")
    register_bundle(Registry("lung", str(folder)), tiny_bundle, champion=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    return os.environ["MLFLOW_TRACKING_URI"]


@pytest.fixture
def champion(store: str) -> Iterator[Any]:
    """The model that MLflow loads."""
    mlflow.set_tracking_uri(store)
    yield mlflow.pyfunc.load_model("models:/lung@champion")
    mlflow.set_tracking_uri(None)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """CT of 40 x 40 x 2 voxels."""
    array = np.random.default_rng(0).integers(-1000, 400, (40, 40, 2)).astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.diag([-0.7, -0.7, 2.5, 1.0])), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def test_it_says_what_it_takes_and_gives(champion: Any):
    signature = champion.metadata.signature
    assert (signature.inputs.input_names(), signature.outputs.input_names()) == (
        ["path", "nodules"],
        ["path", "folder", "lesions", "files"],
    )
    assert champion.input_example.to_dict("list") == {"path": ["study.nii.gz"]}


def test_a_column_of_paths_gives_lesions_and_files(champion: Any, study: Path, tmp_path: Path):
    from pandas import DataFrame

    table = DataFrame({"path": [str(study)]})
    answer = champion.predict(table, params=PARAMS | {"output_dir": str(tmp_path / "out")})
    (row,) = answer.to_dict("records")
    case = open_case(row["folder"])
    assert (row["path"], len(row["lesions"])) == (str(study), len(case.lesions))
    assert all(Path(file).is_file() for file in row["files"])
    again = champion.predict(table, params=PARAMS | {"output_dir": str(tmp_path / "out")})
    assert again["folder"].tolist() == [row["folder"]]


def test_positions_are_read_from_a_second_column(champion: Any, study: Path, tmp_path: Path):
    from pandas import DataFrame

    (tmp_path / "nodules.csv").write_text("x_ras_mm,y_ras_mm,z_ras_mm\n-14.0,-14.0,2.5\n")
    table = DataFrame({"path": [str(study)], "nodules": [str(tmp_path / "nodules.csv")]})
    options = json.dumps({"report": False})
    answer = champion.predict(table, params={"options": options, "output_dir": str(tmp_path / "out")})
    assert len(answer["lesions"][0]) == 1


def test_an_array_goes_in_by_the_raw_model(champion: Any, study: Path):
    image = nib.load(study)
    model = champion.get_raw_model()
    case = model.predict_array(np.asarray(image.dataobj), image.affine, [(-14.0, -14.0, 2.5)])
    assert (case.shape, len(case.lesions)) == ((40, 40, 2), 1)


@pytest.mark.parametrize("options", ["[]", "{"])
def test_options_that_are_no_object_are_refused(champion: Any, study: Path, options: str):
    from pandas import DataFrame

    with pytest.raises(ConfigError, match="options must be a JSON object, got"):
        champion.predict(DataFrame({"path": [str(study)]}), params={"options": options})


def test_nothing_but_the_bundle_and_plain_text_is_stored(store: str, tiny_bundle: Path):
    (folder,) = Path(store.removeprefix("sqlite:///")).parent.glob("artifacts/*/artifacts/bundle")
    names = {path.name for path in folder.iterdir()}
    assert tiny_bundle.name in names
    assert {Path(name).suffix for name in names} <= {"", ".zip", ".json", ".yaml", ".txt"}
    flavor = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["python_function"]
    assert flavor["loader_module"] == "mose_med.api.mlflow_model"
    assert not {"code", "cloudpickle_version", "python_model"} & set(flavor) or flavor.get("code") is None


def test_a_version_of_before_is_used_and_described_when_it_is_registered_again(
    store: str, tiny_bundle: Path, tmp_path: Path
):
    folder = Path(store.removeprefix("sqlite:///")).parent
    for path in folder.glob("artifacts/*/artifacts/bundle/*"):
        if path.suffix != ".zip":
            path.unlink()
    registry = Registry("lung", store)
    assert registry.download(registry.champion(), tmp_path / "b.zip").read_bytes() == tiny_bundle.read_bytes()
    assert load_model("models:/lung@champion", device="cpu", tracking_uri=store).classes == ("background", "nodule")
    register_bundle(registry, tiny_bundle, champion=False)
    mlflow.set_tracking_uri(store)
    assert mlflow.pyfunc.load_model("models:/lung/1").metadata.signature is not None
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
def test_it_is_served_on_loopback(store: str, study: Path, tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/lung@champion",
        "--env-manager",
        "local",
    ]
    paths = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "PYTHONWARNINGS": "ignore"}
    programs = Path(str(find_spec("uvicorn").origin)).parents[4] / "bin"  # MLflow starts uvicorn by its name
    paths["PATH"] = f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{paths['PATH']}"
    with (tmp_path / "log").open("wb") as log:
        options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        server = subprocess.Popen(
            [*command, *options], stdout=log, stderr=log, env=paths, cwd=tmp_path, start_new_session=True
        )
    try:
        body = {"dataframe_records": [{"path": str(study)}], "params": PARAMS | {"output_dir": str(tmp_path / "out")}}
        (row,) = _asked(port, body, server)["predictions"]
        assert open_case(row["folder"]).shape == (40, 40, 2)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _asked(port: int, body: dict[str, Any], server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The answer, once the server gives one."""
    url, headers = f"http://127.0.0.1:{port}/invocations", {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    deadline = time.monotonic() + 600
    while True:
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode()[-2000:])
        except OSError:
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(1)
