"""Every bundle, through MONAI's own commands: offline, on the CPU, with tiny data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, onnx_export, verify_metadata, verify_net_in_out
from monai.transforms import Compose

from configs.assemble import ROOT, assembled, bundles
from mose_med.checkpoint import Checkpoint, ModelConfig, read_checkpoint, write_weights
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

pytestmark = [
    pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader"),  # MONAI tries every reader that it has
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # torch.onnx, of its own use
]


class Tiny(NamedTuple):
    """What makes a bundle run in a second."""

    datalist: Path
    overlay: Path


@pytest.fixture
def tiny(request: pytest.FixtureRequest) -> Callable[[str], Tiny]:
    """Data of a bundle and an overlay for them."""

    def find(bundle: str) -> Tiny:
        names = (
            ("tiny_pictures", "tiny_picture_overlay") if bundle == "cityscapes" else ("tiny_datalist", "tiny_overlay")
        )
        return Tiny(*map(request.getfixturevalue, names))

    return find


@pytest.fixture
def workflow(tiny: Callable[[str], Tiny], tmp_path: Path):
    """Build a workflow of a bundle on its tiny data."""

    def build(bundle: str, *names: str, kind: str = "train", **values: Any) -> ConfigWorkflow:
        data = tiny(bundle)
        files = [*(ROOT / bundle / "configs" / f"{name}.yaml" for name in names), data.overlay]
        values = {"datalist": str(data.datalist), "output_dir": str(tmp_path / "run"), "device_name": "cpu"} | values
        metadata = str(ROOT / bundle / "configs" / "metadata.json")
        paths = [str(path) for path in files]
        return ConfigWorkflow(paths, metadata, logging_file=False, workflow_type=kind, **values)

    return build


def config(bundle: str, name: str) -> Path:
    return ROOT / bundle / "configs" / name


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[[str], Path]:
    """Untrained weights of a bundle's full architecture, as an exported bundle holds them."""

    def write(bundle: str) -> Path:
        settings = ConfigParser.load_config_file(str(config(bundle, "train.yaml")))
        preprocessing = {name: value for name, value in settings["preprocessing"].items() if name != "_target_"}
        meaning = ModelConfig(settings["network"], Preprocessing(**preprocessing), tuple(settings["classes"]), 4)
        write_weights(tmp_path / "model.pt", Checkpoint(MoSE(**settings["network"]).state_dict(), meaning))
        return tmp_path / "model.pt"

    return write


@pytest.mark.parametrize("bundle", bundles())
def test_files_are_what_their_parts_make(bundle: str):
    for path, text in assembled(bundle).items():
        assert path.read_text(encoding="utf-8") == text, "run `python -m configs.assemble`"


@pytest.mark.parametrize("bundle", ["lidc_small", "cityscapes"])
def test_settings_in_which_a_bundle_differs_reach_its_training(bundle: str):
    own = ConfigParser.load_config_file(str(ROOT / "sources" / f"{bundle}.yaml"))
    found = ConfigParser(ConfigParser.load_config_file(str(config(bundle, "train.yaml"))))
    assert {name: found[name] for name in own} == own


def verified(metadata: Path) -> None:
    schema = ROOT / "metadata.schema.json"
    digest = hashlib.sha256(schema.read_bytes()).hexdigest()
    verify_metadata(str(metadata), filepath=str(schema), hash_val=digest, hash_type="sha256")


@pytest.mark.parametrize("bundle", bundles())
def test_metadata_fit_the_schema_without_a_network(bundle: str):
    verified(config(bundle, "metadata.json"))


def test_metadata_that_lack_a_field_are_refused(tmp_path: Path):
    metadata = json.loads(config("lidc", "metadata.json").read_text(encoding="utf-8"))
    del metadata["network_data_format"]["outputs"]["pred"]["num_channels"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="'num_channels' is a required property"):
        verified(tmp_path / "metadata.json")


@pytest.mark.parametrize("bundle", bundles())
def test_metadata_say_what_the_training_says(bundle: str):
    metadata = json.loads(config(bundle, "metadata.json").read_text(encoding="utf-8"))["network_data_format"]
    settings = yaml.safe_load(config(bundle, "train.yaml").read_text(encoding="utf-8"))
    image, pred = metadata["inputs"]["image"], metadata["outputs"]["pred"]
    assert image["spatial_shape"] == pred["spatial_shape"] == settings["preprocessing"]["roi_size"]
    assert image["num_channels"] == settings["network"]["in_channels"] == len(image["channel_def"])
    assert list(pred["channel_def"].values()) == settings["classes"]
    assert pred["num_channels"] == settings["network"]["out_channels"] == len(settings["classes"])


@pytest.mark.parametrize("bundle", bundles())
def test_inference_has_the_network_of_training(bundle: str):
    training, inference = (
        yaml.safe_load(config(bundle, f"{name}.yaml").read_text()) for name in ("train", "inference")
    )
    assert all(training[name] == inference[name] for name in ("network", "classes", "num_raters"))
    for settings in (training["preprocessing"], inference["preprocessing"]):
        del settings["_target_"]  # volumes are loaded and turned with the same settings
    assert training["preprocessing"] == inference["preprocessing"]


@pytest.mark.parametrize("bundle", ["lidc", "lidc_small"])
def test_the_steps_before_and_after_the_network_are_compositions_as_other_programs_take_them(workflow, bundle: str):
    found = workflow(bundle, "inference", kind="infer")
    found.parser.parse()
    for name in ("preprocessing", "postprocessing"):
        assert isinstance(found.parser.get_parsed_content(name), Compose)


@pytest.mark.parametrize(("bundle", "parameters"), [("lidc", 9_321_195), ("cityscapes", 9_329_628)])
def test_the_network_is_that_of_the_release(bundle: str, parameters: int):
    settings = yaml.safe_load(config(bundle, "train.yaml").read_text(encoding="utf-8"))["network"]
    assert sum(parameter.numel() for parameter in MoSE(**settings).parameters()) == parameters


@pytest.mark.parametrize("bundle", bundles())
def test_all_properties_of_monai_are_there(workflow, bundle: str):
    for names, kind in ((["train"], "train"), (["train", "evaluate"], "eval"), (["inference"], "infer")):
        found = workflow(bundle, *names, kind=kind)
        found.initialize = lambda: None  # weights are read by the expressions, not by the properties
        found.parser.parse()
        found._is_initialized = True
        assert found.check_properties() == []


@pytest.mark.parametrize("bundle", bundles())
def test_the_network_of_inference_takes_and_gives_what_the_metadata_say(bundle: str):
    files = {"meta_file": str(config(bundle, "metadata.json")), "config_file": str(config(bundle, "inference.yaml"))}
    verify_net_in_out("network_def", **files, device="cpu", device_name="cpu")


@pytest.mark.parametrize("bundle", ["lidc", "lidc_small", pytest.param("cityscapes", marks=pytest.mark.slow)])
def test_torchscript_computes_what_the_network_does(bundle: str, checkpoint: Callable[[str], Path], tmp_path: Path):
    files = {"meta_file": str(config(bundle, "metadata.json")), "config_file": str(config(bundle, "inference.yaml"))}
    weights = str(checkpoint(bundle))
    ckpt_export("network_def", str(tmp_path / "model.ts"), weights, **files, device_name="cpu")
    network = _inference_network(bundle, weights)
    image = _image(bundle)
    torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts")(image), network(image))


@pytest.mark.parametrize(
    "bundle", ["lidc_small", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lidc", "cityscapes"))]
)
def test_onnx_computes_what_the_network_does(bundle: str, checkpoint: Callable[[str], Path], tmp_path: Path):
    runtime = pytest.importorskip("onnxruntime")
    files = {"meta_file": str(config(bundle, "metadata.json")), "config_file": str(config(bundle, "inference.yaml"))}
    image, weights = _image(bundle), str(checkpoint(bundle))
    shape = {"input_shape": list(image.shape), "use_trace": True, "device_name": "cpu"}
    onnx_export("network_def", str(tmp_path / "model.onnx"), weights, **files, **shape)
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    (pred,) = session.run(None, {port.name: image.numpy()})
    with torch.inference_mode():
        expected = _inference_network(bundle, weights)(image)
    torch.testing.assert_close(torch.from_numpy(pred), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bundle", bundles())
def test_a_bundle_trains_evaluates_and_infers(workflow, bundle: str, tmp_path: Path):
    training = workflow(bundle, "train")
    training.initialize()
    training.run()
    best = tmp_path / "run" / "best.pt"
    assert read_checkpoint(best).metrics["val_ged"] >= 0
    evaluation = workflow(
        bundle, "train", "evaluate", kind="eval", checkpoint=str(best), output_dir=str(tmp_path / "scores")
    )
    evaluation.initialize()
    evaluation.run()
    scores = (tmp_path / "scores" / "metrics.csv").read_text(encoding="utf-8")
    assert all(name in scores for name in ("val_ged", "matched_iou", "ece_percent", "entropy_nats"))
    inference = workflow(bundle, "inference", kind="infer", checkpoint=str(best), output_dir=str(tmp_path / "out"))
    inference.initialize()
    inference.run()
    check = _check_classes if bundle == "cityscapes" else _check_probabilities
    check(tmp_path / "out")


def _check_probabilities(folder: Path) -> None:
    found = {path.name: nib.load(path) for path in folder.iterdir()}
    assert sorted(found) == ["P-5_nodule-1_probability.nii.gz", "P-6_nodule-1_probability.nii.gz"]
    image = found["P-5_nodule-1_probability.nii.gz"]
    assert image.shape == (32, 32, 3, 2)
    np.testing.assert_allclose(image.affine, np.diag([-0.7, -0.7, 2.5, 1.0]), atol=1e-6)
    np.testing.assert_allclose(image.get_fdata().sum(axis=3), 1, atol=1e-5)


def _check_classes(folder: Path) -> None:
    (path,) = folder.iterdir()
    classes = np.asarray(nib.load(path).dataobj)
    assert (path.name, classes.shape, classes.dtype) == ("test-0_classes.nii.gz", (64, 32, 1, 1), np.uint8)
    assert classes.max() < 25


@pytest.mark.parametrize("dicom", [False, True])
def test_a_folder_of_volumes_is_inferred_on_the_grid_of_each(workflow, write_ct_series, tmp_path: Path, dicom: bool):
    if dicom:
        stored = np.random.default_rng(0).integers(0, 1400, (2, 40, 48)).astype(np.int16)
        for number, file in enumerate(write_ct_series(tmp_path / "volumes" / "ct", stored), start=1):
            header = pydicom.dcmread(file)
            header.InstanceNumber = number  # by which MONAI's reader orders slices
            header.save_as(file)
    else:
        (tmp_path / "volumes").mkdir()
        image = np.random.default_rng(0).integers(-1000, 400, (40, 48, 2)).astype(np.int16)
        nib.save(nib.Nifti1Image(image, np.diag([0.7, 0.7, 2.5, 1.0])), tmp_path / "volumes" / "ct.nii.gz")
    places = {"dataset_dir": str(tmp_path / "volumes"), "output_dir": str(tmp_path / "out")}
    inference = workflow("lidc_small", "inference", kind="infer", **places)
    inference.parser["initialize"] = []  # untrained weights
    inference.initialize()
    inference.run()
    (path,) = (tmp_path / "out").iterdir()
    found = nib.load(path)
    assert path.name == "ct_probability.nii.gz"
    assert nib.aff2axcodes(found.affine) == (("L", "P", "S") if dicom else ("R", "A", "S"))
    np.testing.assert_allclose(found.get_fdata().sum(axis=3), 1, atol=1e-5)


def test_a_validation_is_the_same_every_time(workflow):
    found = workflow("lidc", "train")
    found.initialize()
    evaluator = found.parser.get_parsed_content("validate::evaluator")
    values = []
    for _ in range(2):
        torch.rand(3)  # global random state plays no part
        evaluator.run()
        values.append(evaluator.state.metrics["val_ged"])
    assert values[0] == values[1]


@pytest.mark.parametrize("bundle", bundles())
def test_every_config_file_is_documented(bundle: str):
    readme = (ROOT / bundle / "docs" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / bundle / "configs").glob("*.*"):
        assert f"configs/{path.name}" in readme or path.suffix == ".conf"


def _image(bundle: str) -> torch.Tensor:
    metadata = json.loads(config(bundle, "metadata.json").read_text(encoding="utf-8"))
    port = metadata["network_data_format"]["inputs"]["image"]
    return torch.rand(1, port["num_channels"], *port["spatial_shape"], generator=torch.Generator().manual_seed(0))


def _inference_network(bundle: str, weights: str) -> torch.nn.Module:
    parser = ConfigParser(ConfigParser.load_config_file(str(config(bundle, "inference.yaml"))) | {"device_name": "cpu"})
    network: torch.nn.Module = parser.get_parsed_content("network_def")
    network.load_state_dict(read_checkpoint(weights).model)
    return network.eval()
