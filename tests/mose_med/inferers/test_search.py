"""Lungs and whole volumes: windows side by side, lesions found in the marginal."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.case_contents.lesion_rules import LesionRules
from mose_med.errors import DataError, GeometryError
from mose_med.inferers import infer_case, sampling, searching
from mose_med.inferers.boxes import Box, BoxMask
from mose_med.inferers.storage import Storage
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from mose_med.samples import ExpertSamples

CODES = ["".join(code) for axes in permutations(("LR", "PA", "IS")) for code in product(*axes)]
RAW = Preprocessing(standardise=False, roi_size=(24, 24))
NODULES = ((22, 30, 8), (57, 44, 14))
BRIGHT = (40, 40, 10)


class Nodules(MoSE):
    """Foreground where HU exceed 100, less 100 a unit of the latent code; the second expert is thrice as probable."""

    def forward(self, image, samples_per_expert=None, generator=None, latents=None):
        codes = latents[..., 0][None, :, :, None, None]
        foreground = (image[:, :, None] - 100) / 10 + 10 * codes
        logits = torch.stack([torch.zeros_like(foreground), foreground], dim=3)
        return ExpertSamples(logits, image.new_tensor([[0.25, 0.75]]).expand(len(image), 2))


class Centred(Nodules):
    """The same, and a disc in the middle of every window."""

    def forward(self, image, samples_per_expert=None, generator=None, latents=None):
        found = super().forward(image, samples_per_expert, generator, latents)
        places = torch.stack(torch.meshgrid(*map(torch.arange, image.shape[2:]), indexing="ij")) - 11.5
        disc = torch.where(places.square().sum(dim=0) < 12, 5.0, -1000.0)
        found.logits[:, :, :, 1] = torch.maximum(found.logits[:, :, :, 1], disc)
        return found


class InFile(Storage):
    """Never in memory."""

    def __init__(self, size: int, directory: Path | None = None) -> None:
        super().__init__(size, directory, in_memory=0)


@pytest.fixture
def network() -> MoSE:
    network = Nodules(channels=(4, 8), num_experts=2, latent_dim=1).eval()
    with torch.no_grad():
        network.priors.mean.zero_()
        network.priors.log_std.fill_(-3)
    return network


@pytest.fixture
def bright_chest(chest: MetaTensor) -> MetaTensor:
    """The chest, with its nodules at 500 HU, the only voxels that the network marks."""
    values = chest.clone()
    values[values == 0] = 500
    return values


def centroids(result) -> np.ndarray:
    return np.array([lesion.centroid_mm for lesion in result.lesions])


def places_mm(image: MetaTensor, *indices: tuple[int, int, int]) -> np.ndarray:
    return np.array([(image.affine.numpy() @ [*index, 1])[:3] for index in indices])


def test_the_lungs_are_searched_when_nothing_is_listed(network, bright_chest):
    result = infer_case(network, bright_chest, preprocessing=RAW)
    expected = places_mm(bright_chest, *NODULES)
    assert len(result.lesions) == 2
    assert {tuple(c) for c in centroids(result).round(3)} == {tuple(c) for c in expected.round(3)}
    assert [lesion.number for lesion in result.lesions] == [1, 2]
    assert all(lesion.position_mm == lesion.centroid_mm for lesion in result.lesions)


@pytest.mark.parametrize("region", ["lungs", "full", "nodules"])
def test_progress_counts_to_the_end(network, bright_chest, region: str):
    told: list[tuple[str, int, int]] = []
    listed = {"nodules": places_mm(bright_chest, *NODULES)} if region == "nodules" else {"region": region}
    found = infer_case(network, bright_chest, preprocessing=RAW, progress=lambda *counts: told.append(counts), **listed)
    kinds = {"lungs": ["slices", "positions"], "full": ["slices", "lesions"], "nodules": ["positions"]}[region]
    assert list(dict.fromkeys(what for what, _, _ in told)) == kinds
    for kind in kinds:
        counts = [(done, total) for what, done, total in told if what == kind]
        assert counts == [(number, len(counts)) for number in range(1, len(counts) + 1)]
    assert len(counts) >= len(found.lesions) > 0


@pytest.mark.parametrize("slices", [1, 2])
def test_the_lungs_of_a_few_thin_slices_are_searched(network, bright_chest, slices: int):
    affine = bright_chest.affine @ torch.diag(torch.tensor([1, 1, 0.1, 1], dtype=torch.float64))
    image = MetaTensor(bright_chest.as_tensor()[..., 8 : 8 + slices], affine=affine)
    (lesion,) = infer_case(network, image, preprocessing=RAW, min_lesion_ml=0).lesions
    np.testing.assert_allclose(lesion.centroid_mm[:2], places_mm(image, (22, 30, 0))[0, :2])


def test_what_is_drawn_in_the_middle_of_every_window_is_no_lesion(network, bright_chest):
    centred = Centred(channels=(4, 8), num_experts=2, latent_dim=1).eval()
    centred.load_state_dict(network.state_dict())
    assert len(infer_case(centred, bright_chest, preprocessing=RAW, region="full").lesions) > 10
    found = infer_case(centred, bright_chest, preprocessing=RAW)
    expected = places_mm(bright_chest, *NODULES)
    away = np.linalg.norm(centroids(found)[:, None] - expected[None], axis=2)
    assert len(found.lesions) == 2
    assert (away.min(axis=1) < 3).all()


def test_maps_of_a_search_show_the_windows_around_what_was_found(network, bright_chest):
    result = infer_case(network, bright_chest, preprocessing=RAW)
    looked = result.dense("expert_probs").any(axis=-1)
    centres = np.stack(np.indices(looked.shape), axis=-1)[:, :, :, None] - np.array(NODULES)
    assert (np.abs(centres[looked])[:, :, :2].max(axis=2).min(axis=1) <= 12).all()
    assert all(looked[place] for place in NODULES)
    listed = infer_case(network, bright_chest, preprocessing=RAW, nodules=centroids(result))
    for name in ("probability", "expert-1_samples", "consensus"):
        np.testing.assert_array_equal(result.dense(name), listed.dense(name))


def test_a_search_that_finds_nothing_is_a_case_without_lesions(network, chest):
    result = infer_case(network, chest, preprocessing=RAW)
    assert result.lesions == ()
    assert not result.dense("probability").any()


def test_the_position_of_a_bent_component_is_on_it():
    ring = np.zeros((30, 30, 3), dtype=bool)
    ring[2:28, 2:28, 1] = True
    ring[5:25, 5:25, 1] = False
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    component = BoxMask(Box((10, 20, 30), (40, 50, 33)), ring)
    index = np.linalg.solve(affine, [*searching._position(component, affine, reach_mm=5.0), 1])[:3].round().astype(int)
    assert ring[tuple(index - (10, 20, 30))]
    ball = BoxMask(Box((10, 20, 30), (13, 23, 33)), np.ones((3, 3, 3), dtype=bool))
    assert searching._position(ball, affine, reach_mm=5.0) == (-11, -21, 62)


def test_what_lies_outside_the_lungs_is_found_in_the_full_volume_alone(network, bright_chest):
    full = infer_case(network, bright_chest, preprocessing=RAW, region="full")
    assert len(full.lesions) == 3
    assert np.abs(centroids(full) - places_mm(bright_chest, BRIGHT)).sum(axis=1).min() < 1e-6
    assert (full.dense("expert_probs").sum(axis=-1) > 0.99).all()


def test_a_mask_of_the_lungs_says_where_to_look(network, bright_chest):
    mask = np.zeros(bright_chest.shape[1:], dtype=bool)
    mask[15:30, 20:40] = True
    result = infer_case(network, bright_chest, preprocessing=RAW, region="lungs", lungs=mask)
    np.testing.assert_allclose(centroids(result), places_mm(bright_chest, NODULES[0]))
    assert not result.dense("expert_probs")[45:].any()


def test_a_search_and_a_list_say_the_same_of_a_lesion(network, bright_chest):
    searched = infer_case(network, bright_chest, preprocessing=RAW, region="full")
    listed = infer_case(network, bright_chest, preprocessing=RAW, nodules=centroids(searched))
    for found, given in zip(searched.lesions, listed.lesions, strict=True):
        np.testing.assert_allclose(found.centroid_mm, given.centroid_mm)
        np.testing.assert_allclose(found.volume_ml.samples, given.volume_ml.samples)
        np.testing.assert_allclose(found.expert_probs, [0.25, 0.75], atol=1e-3)


def test_small_components_are_left_out(network, bright_chest):
    bright_chest[0, 20, 20, 4] = 500
    sizes = [
        len(infer_case(network, bright_chest, preprocessing=RAW, region="lungs", min_lesion_ml=ml).lesions)
        for ml in (0.0, 0.08, 0.081, 10.0)
    ]
    assert sizes == [3, 3, 2, 0]


def test_a_lower_threshold_finds_what_few_samples_see(network, chest):
    chest[chest == 0] = 100
    with torch.no_grad():
        network.priors.mean.copy_(torch.tensor([[5.0], [-5.0]]))
        network.priors.log_std.fill_(-9)
    counts = [
        len(infer_case(network, chest, preprocessing=RAW, region="lungs", lesion_threshold=t).lesions)
        for t in (0.2, 0.5)
    ]
    assert counts == [2, 0]
    found = infer_case(network, chest, preprocessing=RAW, region="lungs", lesion_threshold=0.2).lesions[0]
    np.testing.assert_allclose(found.volume_ml.p_empty, 0.75, atol=1e-3)
    assert not found.in_consensus


def test_entropy_of_a_lesion_is_split_between_and_within_experts(network, chest):
    chest[chest == 0] = 100
    with torch.no_grad():
        network.priors.mean.copy_(torch.tensor([[5.0], [-5.0]]))
        network.priors.log_std.fill_(-9)
    (first, _) = infer_case(network, chest, preprocessing=RAW, region="lungs", lesion_threshold=0.2).lesions
    expected = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    np.testing.assert_allclose(first.entropy, (expected, expected, 0), atol=2e-3)


def test_standard_samples_of_a_search_are_those_of_the_list(network, bright_chest):
    with torch.no_grad():
        network.priors.mean.copy_(torch.tensor([[-60.0], [0.0]]))
    searched, listed = (
        infer_case(network, bright_chest, preprocessing=RAW, num_standard=9, **where)
        for where in ({"region": "lungs"}, {"nodules": places_mm(bright_chest, *NODULES)})
    )
    box = listed.regions[0].box
    np.testing.assert_array_equal(searched.crop("samples", box), listed.crop("samples", box))
    assert set(searched.crop("samples", box).any(axis=(0, 1, 2)).tolist()) == {0, 1}


def test_large_regions_in_a_file_give_the_same_maps(network, bright_chest, monkeypatch):
    kept = infer_case(network, bright_chest, preprocessing=RAW, region="full", num_standard=3)
    monkeypatch.setattr(sampling, "Storage", InFile)
    filed = infer_case(network, bright_chest, preprocessing=RAW, region="full", num_standard=3)
    assert filed.storage.in_file
    for name in kept.names:
        np.testing.assert_array_equal(kept.dense(name), filed.dense(name))


@pytest.mark.parametrize("code", CODES)
def test_all_48_orientations_give_the_same_lesions_in_mm(network, bright_chest, code: str):
    affine = bright_chest.affine.numpy()
    volume = nib.Nifti1Image(bright_chest.numpy()[0], affine)
    steps = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(code))
    turned = volume.as_reoriented(steps)
    image = MetaTensor(torch.from_numpy(np.ascontiguousarray(turned.dataobj))[None], affine=turned.affine)
    expected = infer_case(network, bright_chest, preprocessing=RAW, region="lungs")
    result = infer_case(network, image, preprocessing=RAW, region="lungs")
    for found, reference in zip(result.lesions, expected.lesions, strict=True):
        np.testing.assert_allclose(found.centroid_mm, reference.centroid_mm, atol=1e-4)
        np.testing.assert_allclose(found.volume_ml.samples, reference.volume_ml.samples)
        np.testing.assert_allclose(found.entropy, reference.entropy, atol=1e-6)
    assert result.dense("consensus").sum() == expected.dense("consensus").sum()


def test_a_search_at_another_spacing_finds_the_same_lesions(network, bright_chest):
    finer = Preprocessing(standardise=False, roi_size=(32, 32), spacing_mm=3.0)
    found, own = (infer_case(network, bright_chest, preprocessing=p, region="lungs") for p in (finer, RAW))
    assert len(found.lesions) == 2
    for lesion in own.lesions:
        nearest = min(found.lesions, key=lambda other: np.abs(np.subtract(other.centroid_mm, lesion.centroid_mm)).sum())
        np.testing.assert_allclose(nearest.centroid_mm, lesion.centroid_mm, atol=1.0)
        np.testing.assert_allclose(nearest.volume_ml.mean, lesion.volume_ml.mean, rtol=0.35)


def test_bad_masks_are_named(network, bright_chest):
    with pytest.raises(GeometryError, match=r"the lung mask must have the shape of the image, \(80, 64, 22\), got"):
        infer_case(network, bright_chest, preprocessing=RAW, region="lungs", lungs=np.ones((80, 64, 21), bool))
    with pytest.raises(DataError, match="the lung mask must have a voxel, got none: leave it out, or use region"):
        infer_case(network, bright_chest, preprocessing=RAW, lungs=np.zeros((80, 64, 22), bool))


def test_a_search_leaves_no_file(network, bright_chest, tmp_path: Path):
    infer_case(network, bright_chest, preprocessing=RAW, region="full", scratch_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_of_two_looks_at_one_lesion_the_larger_is_kept(network, bright_chest):
    listed = infer_case(network, bright_chest, preprocessing=RAW, nodules=places_mm(bright_chest, *NODULES)).lesions
    whole, other = sorted(listed, key=lambda lesion: -int(lesion.component.mask.sum()))
    part = np.zeros_like(whole.component.mask)
    part[tuple(np.argwhere(whole.component.mask)[0])] = True
    small = whole._replace(found=BoxMask(whole.component.box, part))
    affine = bright_chest.affine.numpy()
    for min_ml in (0.0, 0.09):
        rules = LesionRules(min_ml=min_ml)
        assert searching.found_again([small, whole, other], rules, affine) == [1, 2]
