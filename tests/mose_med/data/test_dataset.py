from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandShiftIntensityd
from torch.testing import assert_close
from torch.utils.data import DataLoader

from mose_med.data import EpochIndex, EpochSampler, MultiRaterDataset, load_datalist
from mose_med.errors import ConfigError, DataError
from mose_med.io.nifti.slices import as_labels
from mose_med.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(roi_size=(32, 32))


def random_shift() -> Compose:
    return Compose([RandShiftIntensityd("image", offsets=1.0, prob=1.0)])


@pytest.fixture
def entries(tiny_datalist: Path):
    return load_datalist(tiny_datalist).part("training")


def test_an_item_is_the_stored_slice_preprocessed(entries):
    item = MultiRaterDataset(entries, PREPROCESSING)[1]
    stored = np.asarray(nib.load(entries[1].image).dataobj)[..., entries[1].slice_index]
    masks = np.asarray(nib.load(entries[1].label).dataobj)[..., entries[1].slice_index, :]
    assert_close(item["image"], PREPROCESSING(torch.from_numpy(stored.astype(np.float32))[None]))
    assert_close(item["label"], torch.from_numpy(masks).permute(2, 0, 1))
    assert_close(item["rater_weights"], torch.full((4,), 0.25))
    assert (item["patient_id"], item["slice"]) == ("P-1", 1)


def test_open_volumes_change_nothing(entries):
    plain, cached = (MultiRaterDataset(entries, PREPROCESSING, cache=cache) for cache in (False, True))
    for _ in range(2):
        for key in ("image", "label", "rater_weights"):
            assert_close(cached[3][key], plain[3][key])


def test_an_item_says_where_it_comes_from_for_the_augmentation(entries):
    item = MultiRaterDataset(entries, PREPROCESSING)[EpochIndex(4, 2)]
    assert (item["epoch"], item["index"]) == (4, 2)


def test_a_transform_follows_seed_epoch_and_index_alone(entries):
    first = MultiRaterDataset(entries, PREPROCESSING, random_shift(), seed=5)
    second = MultiRaterDataset(entries, PREPROCESSING, random_shift(), seed=5, cache=True)
    keys = [EpochIndex(epoch, index) for epoch in (1, 2) for index in range(len(entries))]
    forwards = [first[key]["image"] for key in keys]
    backwards = [second[key]["image"] for key in reversed(keys)]
    assert_close(forwards, backwards[::-1])


def test_a_transform_differs_between_epochs(entries):
    dataset = MultiRaterDataset(entries, PREPROCESSING, random_shift())
    images = [dataset[EpochIndex(epoch, 0)]["image"] for epoch in range(8)]
    assert len({tuple(image.flatten().tolist()) for image in images}) == 8


@pytest.mark.slow
def test_worker_processes_give_the_same_batches(entries):
    def images(num_workers: int) -> torch.Tensor:
        dataset = MultiRaterDataset(entries, PREPROCESSING, random_shift())
        sampler = EpochSampler(dataset)
        loader = DataLoader(
            dataset,
            batch_size=2,
            sampler=sampler,
            num_workers=num_workers,
            multiprocessing_context="spawn" if num_workers else None,
        )
        sampler.set_epoch(3)
        return torch.cat([batch["image"] for batch in loader])

    assert_close(images(1), images(0))


def test_another_size_is_refused(entries):
    with pytest.raises(DataError, match=r"P-1_nodule-1\.nii must have slices of \(64, 64\), got \(32, 32\)"):
        MultiRaterDataset(entries, Preprocessing(roi_size=(64, 64)))[0]


def test_another_number_of_rater_masks_is_refused(entries):
    with pytest.raises(DataError, match=r"raters\.nii must have slices of \(32, 32, 2\), got \(32, 32, 4\)"):
        MultiRaterDataset([replace(entries[0], rater_weights=(0.5, 0.5))], PREPROCESSING)[0]


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize(
    ("dtype", "value", "said"), [(np.int16, -1, "-1"), (np.int16, 257, "257"), (np.float32, 0.96, "0.96")]
)
def test_labels_that_a_cast_would_change_are_refused(
    entries, tmp_path: Path, dtype: type, value: float, said: str, cache: bool
):
    slices, entry = np.zeros((32, 32, 2, 4), dtype), replace(entries[0], label=tmp_path / "raters.nii", slice_index=1)
    slices[5, 5] = 1
    nib.save(nib.Nifti1Image(slices, np.eye(4)), entry.label)
    label = MultiRaterDataset([entry], PREPROCESSING)[0]["label"]
    assert (label.dtype, int(label.sum())) == (torch.uint8, 4)
    slices[3, 4, 1, 1] = value
    nib.save(nib.Nifti1Image(slices, np.eye(4)), entry.label)
    with pytest.raises(DataError, match=rf"labels of .*raters\.nii must be whole numbers from 0 to 255, got {said}: "):
        MultiRaterDataset([entry], PREPROCESSING, cache=cache)[0]


def test_labels_that_are_not_numbers_are_refused():
    with pytest.raises(DataError, match="got nan"):
        as_labels(np.array([0.0, np.nan]), Path("raters.nii"))


def test_no_entries_are_refused():
    with pytest.raises(ConfigError, match="data must have at least one entry"):
        MultiRaterDataset([], PREPROCESSING)


def test_the_order_differs_between_epochs_and_repeats_in_one():
    def order(epoch: int) -> list[int]:
        sampler = EpochSampler(range(50), seed=1)
        sampler.set_epoch(epoch)
        return [place.index for place in sampler]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(2)) == list(range(50))


def test_without_shuffling_the_order_is_the_datasets():
    assert [place.index for place in EpochSampler(range(3), shuffle=False)] == [0, 1, 2]
