from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from mose_med.data import VolumePreprocessing, image_files
from mose_med.errors import ConfigError
from mose_med.inferers import PreprocessedWindows
from mose_med.preprocessing import PADDING_HU, ChannelScaling, Preprocessing


def test_nifti_files_and_folders_of_dicom_files_are_found(tmp_path: Path):
    for name in ("b.nii.gz", "deep/a.NII", "notes.txt", "series/1", "series/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" if name.startswith("series") else b"")
    found = [entry["image"] for entry in image_files(tmp_path, "unused.json", "test")]
    assert found == [str(tmp_path / name) for name in ("b.nii.gz", "deep/a.NII", "series")]


def test_a_folder_without_images_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"dataset_dir .* has no image: name a folder with NIfTI files or folders of"):
        image_files(tmp_path, "unused.json", "test")


def test_without_a_folder_the_images_are_those_of_the_datalist(tiny_datalist: Path):
    names = [Path(entry["image"]).name for entry in image_files(None, tiny_datalist, "test")]
    assert names == ["P-5_nodule-1.nii", "P-6_nodule-1.nii"]


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")  # MONAI makes every reader that it has
def test_a_volume_is_turned_and_brought_to_the_spacing_of_the_network(tmp_path: Path):
    array = np.arange(4 * 6 * 2, dtype=np.int16).reshape(4, 6, 2)
    nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "ct.nii")
    entry = {"image": str(tmp_path / "ct.nii")}
    np.testing.assert_array_equal(VolumePreprocessing(orientation="LPS")(entry)["image"][0], array[::-1, ::-1])
    finer = VolumePreprocessing(orientation="LPS", spacing_mm=0.5)(entry)["image"]
    assert (tuple(finer.shape[1:]), finer.pixdim.tolist()) == ((7, 11, 2), [0.5, 0.5, 2.0])


def test_every_window_is_preprocessed_on_its_own_and_padded_with_air():
    preprocessing, seen = Preprocessing(window_hu=(-1000, 400), roi_size=(8, 8)), []

    def network(windows: torch.Tensor) -> torch.Tensor:
        seen.append(windows)
        return windows

    image = torch.randn(1, 1, 6, 12, 2, generator=torch.Generator().manual_seed(0)) * 300 - 500
    assert PreprocessedWindows(preprocessing)(image, network).shape == image.shape
    windows = torch.cat(seen)
    torch.testing.assert_close(windows.mean(dim=(-2, -1)), torch.zeros(len(windows), 1), atol=1e-5, rtol=0)
    padded = torch.nn.functional.pad(image[..., :8, 0], (0, 0, 1, 1), value=PADDING_HU)
    torch.testing.assert_close(windows[0], preprocessing(padded)[0])


@pytest.mark.parametrize("fills", [(0.0,), (PADDING_HU, 0.0)])
def test_every_channel_is_padded_with_its_own_value(fills: tuple[float, ...]):
    channels = tuple(ChannelScaling(standardise=False, fill=fill) for fill in fills)
    seen = []
    infer = PreprocessedWindows(Preprocessing(channels=channels, roi_size=(8, 8)))
    infer(torch.ones(1, len(fills), 6, 8, 1), lambda windows: seen.append(windows) or windows)
    assert seen[0].shape == (1, len(fills), 8, 8)
    assert seen[0][0, :, 0, 0].tolist() == list(fills)
    assert (seen[0][:, :, 1:7] == 1).all()
