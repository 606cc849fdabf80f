"""Images of several channels: in one file or in a file each, from training to a case."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from monai.data import MetaTensor

import mose_med
from mose_med.checkpoint import Checkpoint, ModelConfig, read_checkpoint, write_checkpoint
from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.preprocessing import Preprocessing
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from tests.fixtures.several_classes import CLASSES, NODULE, VESSEL, banded_network
from tests.fixtures.training import AFFINE, RATERS, SIZE, SLICES, disc, entry

SCALINGS = ({"standardise": False}, {"window": (0, 10), "standardise": False, "fill": 0})


def run(*arguments: object) -> int:
    return invoke([str(argument) for argument in (*arguments, "--quiet", "--device", "cpu")])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Network of two channels and two foreground classes; where the second channel is 10, the nodule becomes vessel."""
    network = banded_network(in_channels=2)
    with torch.no_grad():
        network.layer.weight[2, 1, 1, 1] = -10.0
    settings = {"name": "tiny", "in_channels": 2, "out_channels": 3}
    config = ModelConfig(settings, Preprocessing(roi_size=(16, 16), channels=SCALINGS), CLASSES, 2)
    write_checkpoint(tmp_path / "two.pt", Checkpoint(network.state_dict(), config))
    return tmp_path / "two.pt"


@pytest.fixture
def channels(banded_hu: np.ndarray, tmp_path: Path) -> tuple[Path, Path]:
    """CT, and a second channel that is 0 but for the upper half of the case, where it is 25, which is clipped to 10."""
    first = banded_hu.transpose(2, 1, 0)
    second = np.where(np.arange(9) > 4, 25.0, 0.0) + np.zeros(first.shape)
    for name, values in (("ct", first), ("pet", second.astype(np.float32))):
        nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / f"{name}.nii.gz")
    return tmp_path / "ct.nii.gz", tmp_path / "pet.nii.gz"


@pytest.fixture
def together(channels: tuple[Path, Path], tmp_path: Path) -> Path:
    """The same in one file."""
    values = np.stack([nib.load(path).get_fdata(dtype=np.float32) for path in channels], axis=3)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "both.nii")
    return tmp_path / "both.nii"


def maps_of(case: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in case.glob("*.nii.gz")}


def test_a_file_with_all_channels_and_a_file_each_give_the_same(
    checkpoint: Path, channels: tuple[Path, Path], together: Path, tmp_path: Path, banded_hu: np.ndarray
):
    shared = ("--checkpoint", checkpoint, "--region", "full", "--report")
    assert run("infer", together, *shared, "--output-dir", tmp_path / "a") == ExitCode.DONE
    assert (
        run("infer", channels[0], "--channel-file", channels[1], *shared, "--output-dir", tmp_path / "b")
        == ExitCode.DONE
    )
    (one,), (other,) = (tmp_path / "a").glob("case-*"), (tmp_path / "b").glob("case-*")
    assert maps_of(one) == maps_of(other)
    assert json.loads((one / "provenance.json").read_text())["input"]["channels"] == 2
    truth, upper = banded_hu.transpose(2, 1, 0), np.arange(9) > 4
    vessel = nib.load(one / "consensus_class-vessel.nii.gz").get_fdata()
    assert (vessel == ((truth == VESSEL) | ((truth == NODULE) & upper))).all()


def test_images_in_memory_are_the_channels_too(checkpoint: Path, channels: tuple[Path, Path], together: Path):
    model = mose_med.load_model(checkpoint, device="cpu")
    loaded = [nib.load(path) for path in channels]
    tensor = torch.from_numpy(np.stack([image.get_fdata(dtype=np.float32) for image in loaded]))
    images = (together, list(channels), loaded, nib.load(together), MetaTensor(tensor, affine=loaded[0].affine))
    cases = [model.infer(image, region="full") for image in images]
    assert cases[0].plot(lesion=1, image=together).pixels().std() > 10
    for case in cases[1:]:
        np.testing.assert_array_equal(case.probability(lesion=1), cases[0].probability(lesion=1))


def test_channels_that_do_not_fit_the_network_are_refused(
    checkpoint: Path, banded_checkpoint: Path, together, channels
):
    two, one = (mose_med.load_model(path, device="cpu") for path in (checkpoint, banded_checkpoint))
    with pytest.raises(DataError, match=r"ct.nii.gz has 1 channel, the network takes 2 channels"):
        two.infer(channels[0], region="full")
    with pytest.raises(DataError, match=r"both.nii must be a 3D volume, got shape \(26, 24, 9, 2\)"):
        one.infer(together, region="full")
    with pytest.raises(DataError, match="has 2 channels, the network takes 1 channel"):
        one.infer(list(channels), region="full")
    with pytest.raises(ConfigError, match="image must have a path or an image for each channel, got an empty list"):
        two.infer([], region="full")


def test_a_channel_on_another_grid_is_named(checkpoint: Path, channels: tuple[Path, Path], tmp_path: Path, capsys):
    image = nib.load(channels[1])
    moved = image.affine.copy()
    moved[0, 3] += 3
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), tmp_path / "moved.nii")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:-1], image.affine), tmp_path / "cut.nii")
    model = mose_med.load_model(checkpoint, device="cpu")
    for name in ("moved", "cut"):
        with pytest.raises(GeometryError, match=rf"{name}.nii must lie on the grid of .*ct.nii.gz: "):
            model.infer([channels[0], tmp_path / f"{name}.nii"])


def test_dicom_is_no_channel_beside_others(checkpoint: Path, channels: tuple[Path, Path], tmp_path: Path):
    (tmp_path / "series").mkdir()
    model = mose_med.load_model(checkpoint, device="cpu")
    with pytest.raises(DataError, match="series must be a NIfTI, NRRD or MetaImage file to be a channel"):
        model.infer([channels[0], tmp_path / "series"])


def test_channels_of_other_formats_are_read(checkpoint: Path, channels: tuple[Path, Path], tmp_path: Path):
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(channels[1])), str(tmp_path / "pet.nrrd"))
    model = mose_med.load_model(checkpoint, device="cpu")
    found = [model.infer([channels[0], second], region="full") for second in (channels[1], tmp_path / "pet.nrrd")]
    np.testing.assert_array_equal(found[0].probability(), found[1].probability())


@pytest.fixture
def datalist(tmp_path: Path) -> Path:
    """Slices of two channels, in which raters draw two classes."""
    (tmp_path / "nodules").mkdir()
    rng = np.random.default_rng(0)
    content: dict[str, object] = {"name": "two", "num_raters": RATERS, "classes": list(CLASSES), "source": "discs"}
    for part in ("training", "validation", "test"):
        labels = np.where(disc((10, 10), 4), 1, np.where(disc((22, 20), 5), 2, 0)).astype(np.uint8)
        labels = np.tile(labels[:, :, None, None], (1, 1, SLICES, RATERS))
        image = rng.normal(-800, 50, (SIZE, SIZE, SLICES, 2)) + 600.0 * labels[..., :2]
        nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), tmp_path / "nodules" / f"{part}.nii")
        nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "nodules" / f"{part}_raters.nii")
        content[part] = [entry(part, f"P-{part}", k) for k in range(SLICES)]
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / "dataset.json"


def test_a_training_takes_channels_and_classes_from_the_data(datalist: Path, together: Path, tmp_path: Path):
    overlay = {
        "network": {"name": "tiny", "in_channels": 2, "out_channels": 3},
        "loss": {"_target_": "tests.fixtures.second_network.TinyLoss"},
        "annealing": {},
        "train::additional_metrics": {},
        "preprocessing::roi_size": [SIZE, SIZE],
        "preprocessing::channels": [{"window": [-1000, 400]}, {"standardise": False, "fill": 0}],
        "batch_size": 3,
        "max_epochs": 1,
        "val_interval": 1,
        "val_samples_per_expert": 2,
    }
    (tmp_path / "overlay.yaml").write_text(json.dumps(overlay), encoding="utf-8")
    arguments = ("--datalist", datalist, "--output-dir", tmp_path / "run", "--config", tmp_path / "overlay.yaml")
    assert run("train", *arguments, "--no-tracking") == ExitCode.DONE
    config = read_checkpoint(tmp_path / "run" / "best.pt").config
    assert (config.classes, config.network["in_channels"]) == (CLASSES, 2)
    assert config.preprocessing.fills(2) == (-1024, 0)
    arguments = ("--checkpoint", tmp_path / "run" / "best.pt", "--region", "full", "--output-dir", tmp_path / "out")
    assert run("infer", together, *arguments) == ExitCode.DONE
    assert len(list((tmp_path / "out").glob("case-*/probability_class-*.nii.gz"))) == 2
