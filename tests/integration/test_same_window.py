"""What the network is given of a nodule: the same, bit for bit, whether it comes through preparation or inference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.data import PARTS, MultiRaterDataset, load_datalist
from mose_med.geometry import crop_start, index_to_mm, mm_to_index, reorientation
from mose_med.inferers import nodule_windows
from mose_med.io import read_ct
from mose_med.preprocessing import PADDING_HU, Preprocessing
from mose_med.resampling import in_plane_grid, resampled_window
from pipelines.prepare.sources.rater_masks import PrepareRaterMasksOptions, prepare_rater_masks


def assert_same_windows(lidc_root: Path, datalist: Path, part: str, preprocessing: Preprocessing) -> None:
    @cache
    def ct(patient_id: str, series_uid: str) -> MetaTensor:
        return read_ct(lidc_root / patient_id, series=series_uid)

    dataset = MultiRaterDataset(load_datalist(datalist).part(part), preprocessing)
    middle = [size // 2 for size in preprocessing.roi_size]
    for item, entry in zip(dataset, dataset.data, strict=True):
        centre_mm = (nib.load(entry.image).affine @ [*middle, entry.slice_index, 1])[:3]
        shown = nodule_windows(ct(entry.patient_id, entry.series_uid), centre_mm, preprocessing, depth_mm=0)
        assert shown.inputs.shape == (1, 1, *preprocessing.roi_size)
        torch.testing.assert_close(shown.inputs[0], item["image"], rtol=0, atol=0)


@pytest.mark.parametrize("part", PARTS)
def test_prepare_and_infer_show_the_network_the_same(phantom_lidc_root: Path, prepared_datalist: Path, part: str):
    assert_same_windows(phantom_lidc_root, prepared_datalist, part, Preprocessing(window_hu=(-1000, 400)))


@pytest.mark.parametrize("part", PARTS)
def test_at_a_spacing_they_show_the_same_too(phantom_lidc_root: Path, resampled_datalist: Path, part: str):
    preprocessing = Preprocessing(window_hu=(-1000, 400), roi_size=(96, 96), spacing_mm=0.6)
    assert_same_windows(phantom_lidc_root, resampled_datalist, part, preprocessing)


@pytest.mark.parametrize("spacing_mm", [None, 0.6])
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, 0, 1, 0, 1, 0)])
def test_own_images_are_shown_the_same(
    direction: tuple[int, ...], spacing_mm: float | None, write_volume, tmp_path: Path
):
    rng = np.random.default_rng(0)
    for number in range(2):
        image, mask = rng.integers(-1000, 400, (24, 20, 22)).astype(np.int16), np.zeros((24, 20, 22), dtype=np.uint8)
        mask[14:19, 4:9, 10:13] = 1
        for name, array in (("image.nii.gz", image), ("rater-a.mha", mask)):
            write_volume(tmp_path / "cases" / f"case-{number}" / name, array, direction=direction)
    options = PrepareRaterMasksOptions(
        tmp_path / "cases", tmp_path / "out", roi_size=(32, 32), spacing_mm=spacing_mm, keep_ids=True, quiet=True
    )
    split = tmp_path / "split.csv"
    split.write_text("patient_id,part\ncase-0,training\ncase-1,validation\n")
    datalist = load_datalist(prepare_rater_masks(replace(options, split_csv=split)).datalist)
    preprocessing = Preprocessing(roi_size=(32, 32), spacing_mm=spacing_mm)
    dataset = MultiRaterDataset(datalist.part("training"), preprocessing)
    ct = read_ct(tmp_path / "cases" / "case-0" / "image.nii.gz")
    for item, entry in zip(dataset, dataset.data, strict=True):
        assert entry.padded
        centre_mm = (nib.load(entry.image).affine @ [16, 16, entry.slice_index, 1])[:3]
        shown = nodule_windows(ct, centre_mm, preprocessing, depth_mm=0)
        torch.testing.assert_close(shown.inputs[0], item["image"], rtol=0, atol=0)


def test_slices_resampled_as_preparation_does_are_shown_the_same(phantom_lidc_root: Path):
    """Whoever cuts the window out of a slice by the rule of ``mose_med.resampling`` has what inference shows."""
    ct = read_ct(next(path for path in sorted(phantom_lidc_root.iterdir()) if path.is_dir()))
    steps = reorientation(np.asarray(ct.affine))
    hu, affine = steps.apply(ct.numpy()[0]), steps.affine(np.asarray(ct.affine), ct.shape[1:])
    grid = in_plane_grid(affine, hu.shape, 0.9)
    centre_mm = index_to_mm(affine, np.array([hu.shape[0] * 0.4, hu.shape[1] * 0.6, 1]))
    preprocessing = Preprocessing(window_hu=(-1000, 400), spacing_mm=0.9)
    start = crop_start(tuple(mm_to_index(grid.affine, centre_mm)[:2]), preprocessing.roi_size)
    stored = np.rint(resampled_window(hu[..., 1], grid, start, preprocessing.roi_size, PADDING_HU)).astype(np.int16)
    shown = nodule_windows(ct, centre_mm, preprocessing, depth_mm=0)
    torch.testing.assert_close(shown.inputs[0, 0], preprocessing(torch.from_numpy(stored)), rtol=0, atol=0.01)
