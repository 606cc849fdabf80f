from __future__ import annotations

import numpy as np
import pytest

from mose_med.case_contents.lesion_rules import LesionRules
from mose_med.inferers import Box, Lesion, Region
from mose_med.inferers.boxes import BoxMask
from mose_med.inferers.lesions.candidates import ListedPosition
from mose_med.inferers.lesions.measuring import LesionSource, find_lesions, same_lesions_told
from mose_med.inferers.regions import pack
from mose_med.inferers.storage import Storage

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
SHAPE = (12, 12, 12)
PROBS = (0.25, 0.75)


def region_of(samples: np.ndarray, consensus: np.ndarray | None = None) -> Region:
    """Two experts of two samples each; ``samples`` (4, i, j, k) about the middle of an image of 12 voxels."""
    means = samples.reshape(2, 2, *samples.shape[1:]).mean(axis=1) if consensus is None else np.stack([consensus] * 2)
    gating = np.broadcast_to(np.array(PROBS, np.float16), (*samples.shape[1:], 2))
    box = Box((2, 2, 2), (10, 10, 10))
    no_bits = np.zeros((8, 8, 8, 0), dtype=np.uint8)
    return Region(box, pack(np.moveaxis(samples, 0, -1)), np.moveaxis(means, 0, -1).astype(np.float16), gating, no_bits)


def source_of(region: Region) -> LesionSource:
    return LesionSource(region, AFFINE, SHAPE, (2, 2), Storage(0))


def lesions_of(region: Region, *indices: tuple[float, float, float], reach_mm: float = 2.0) -> list[Lesion]:
    lesions = []
    for number, index in enumerate(indices, start=1):
        listed = ListedPosition(number, (AFFINE @ [*(np.add(index, 2)), 1])[:3])
        lesions += find_lesions([source_of(region)], LesionRules(reach_mm=reach_mm), listed=listed)
    return same_lesions_told(lesions)


@pytest.fixture
def samples() -> np.ndarray:
    return np.zeros((4, 8, 8, 8), dtype=bool)


def test_volumes_are_counted_per_expert_and_sample(samples):
    samples[:, 3:5, 3:5, 4] = True
    samples[3, 3:5, 3:5, 5] = True
    (lesion,) = lesions_of(region_of(samples), (3, 3, 4))
    np.testing.assert_allclose(lesion.volume_ml.samples, [[0.008, 0.008], [0.008, 0.016]])
    np.testing.assert_allclose(lesion.expert_probs, PROBS)
    np.testing.assert_allclose(lesion.volume_ml.mean, 0.008 + 0.375 * 0.008)
    np.testing.assert_allclose(lesion.centroid_mm, (-5.5, -5.5, 12))
    assert lesion.in_consensus


def test_pieces_that_touch_the_lesion_count_and_others_do_not(samples):
    samples[:, 2:7, 4, 4] = True
    samples[0, 4, 4, 4] = False
    samples[:, 0, 0, 0] = True
    (lesion,) = lesions_of(region_of(samples), (4, 4, 4))
    np.testing.assert_allclose(lesion.volume_ml.samples / 0.002, [[4, 5], [5, 5]])


def test_a_sample_without_a_voxel_there_is_empty(samples):
    samples[1:, 3:5, 3:5, 4] = True
    samples[0, 0, 0, 0] = True
    (lesion,) = lesions_of(region_of(samples), (3, 3, 4))
    np.testing.assert_allclose(lesion.volume_ml.p_empty, 0.125)


def test_without_consensus_single_samples_still_count(samples):
    samples[0, 4, 4, 4] = True
    (lesion,) = lesions_of(region_of(samples), (4, 4, 4))
    assert not lesion.in_consensus
    assert lesion.centroid_mm is None
    np.testing.assert_allclose(lesion.volume_ml.p_empty, 0.875)


def test_the_nearest_component_within_reach_is_taken(samples):
    samples[:, 1, 4, 4] = True
    samples[:, 6, 4, 4] = True
    region = region_of(samples)
    assert lesions_of(region, (3, 4, 4))[0].centroid_mm == (-3, -6, 12)
    assert lesions_of(region, (5, 4, 4))[0].centroid_mm == (-8, -6, 12)
    assert not lesions_of(region, (3.5, 4, 4))[0].in_consensus


def test_a_position_counts_its_own_voxel_even_with_no_reach(samples):
    samples[:, 4, 4, 4] = True
    assert lesions_of(region_of(samples), (4.2, 4, 4), reach_mm=0)[0].in_consensus


def test_positions_of_the_same_component_are_told(samples):
    samples[:, 2:7, 4, 4] = True
    lesions = lesions_of(region_of(samples), (2, 4, 4), (6, 4, 4))
    assert [lesion.same_as for lesion in lesions] == [None, 1]


def test_a_component_at_the_edge_of_the_view_is_told(samples):
    samples[:, 0:3, 4, 4] = True
    region = region_of(samples)
    assert lesions_of(region, (2, 4, 4))[0].touches_edge
    samples[:, 0] = False
    assert not lesions_of(region_of(samples), (2, 4, 4))[0].touches_edge


@pytest.mark.parametrize("ends", [(0, 3), (5, 8), (0, 8)])
def test_a_component_at_the_edge_of_the_image_is_told(samples, ends: tuple[int, int]):
    samples[:, 4, 4, slice(*ends)] = True
    region = region_of(samples)._replace(box=Box((0, 0, 0), (8, 8, 8)))
    source = LesionSource(region, AFFINE, (8, 8, 8), (2, 2), Storage(0))
    listed = ListedPosition(1, (AFFINE @ [4, 4, ends[0], 1])[:3])
    (lesion,) = find_lesions([source], LesionRules(reach_mm=2.0), listed=listed)
    assert lesion.touches_edge


def test_a_vessel_close_by_does_not_make_an_empty_sample_present(samples):
    samples[1:, 3:5, 3:5, 4] = True
    samples[0, 3, 6, :] = True
    (lesion,) = lesions_of(region_of(samples), (3, 4, 4), reach_mm=4.0)
    np.testing.assert_allclose(lesion.volume_ml.p_empty, 0.125)
    assert lesion.volume_ml.samples[0, 0] == 0


def test_without_consensus_what_some_samples_mark_nearest_to_the_position_is_the_lesion(samples):
    samples[0, 4, 4, 4] = True
    samples[1, 4, 7, :] = True
    (lesion,) = lesions_of(region_of(samples), (4, 4, 4), reach_mm=4.0)
    np.testing.assert_allclose(lesion.volume_ml.samples / 0.002, [[1, 0], [0, 0]])
    np.testing.assert_allclose(lesion.volume_ml.p_empty, 0.875)


def test_a_listed_lesion_and_the_same_one_found_say_the_same(samples):
    rng = np.random.default_rng(0)
    samples[:] = rng.random(samples.shape) < 0.03
    samples[1:, 3:5, 3:5, 3:5] = True
    region = region_of(samples)
    (found,) = find_lesions([source_of(region)], LesionRules(min_ml=0.004))
    (listed,) = lesions_of(region, (3.5, 3.5, 3.5), reach_mm=5.0)
    assert listed.volume_ml.p_empty == found.volume_ml.p_empty
    np.testing.assert_array_equal(listed.volume_ml.samples, found.volume_ml.samples)
    np.testing.assert_array_equal(listed.expert_probs, found.expert_probs)


def test_lesions_that_only_touch_are_not_the_same(samples):
    samples[:, 2:7, 4, 4] = True
    first, second = lesions_of(region_of(samples), (2, 4, 4), (6, 4, 4))
    patch = second.component
    part = patch.mask.copy()
    part[:2] = False
    bridge = second._replace(found=BoxMask(patch.box, part))
    other = first._replace(found=BoxMask(patch.box, patch.mask & ~part))
    assert [lesion.same_as for lesion in same_lesions_told([other, bridge])] == [None, None]
    assert [lesion.same_as for lesion in same_lesions_told([first, bridge])] == [None, 1]
