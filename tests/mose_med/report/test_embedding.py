from __future__ import annotations

import base64
import gzip
import math

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mose_med.report.embedding import HU_RANGE, embedded_volumes, map_layers
from mose_med.report.lesion_volumes import LesionVolumes

SHAPE = (4, 3, 2)
AFFINE = np.array([[-0.7, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1]])


def volumes(**changes: np.ndarray) -> LesionVolumes:
    rng = np.random.default_rng(0)
    empty = LesionVolumes(
        affine=AFFINE,
        image=rng.normal(-400, 300, SHAPE).astype(np.float32),
        samples=rng.random((*SHAPE, 2, 3)) > 0.5,
        consensus=rng.random(SHAPE) > 0.5,
        probability=rng.random(SHAPE, np.float32),
        expert_probability=rng.random((*SHAPE, 2), np.float32),
        entropy=rng.random(SHAPE, np.float32) * math.log(2),
        entropy_between_experts=np.zeros(SHAPE, np.float32),
    )
    return empty._replace(**changes)


def decoded(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def test_every_volume_lies_where_the_lesion_does():
    texts = embedded_volumes(volumes())
    assert set(texts) == {"ct", "consensus", "samples", *(layer.name for layer in map_layers(2))}
    for text in texts.values():
        image = decoded(text)
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
        assert image.shape[:3] == SHAPE
        assert image.header.get_xyzt_units()[0] == "mm"


def test_masks_stay_what_they_are_and_samples_run_expert_by_expert():
    given_volumes = volumes()
    samples = decoded(embedded_volumes(given_volumes)["samples"]).dataobj
    for expert in range(2):
        for sample in range(3):
            own = given_volumes.samples[..., expert, sample]
            np.testing.assert_array_equal(samples[..., expert * 3 + sample], own)
    np.testing.assert_array_equal(
        decoded(embedded_volumes(given_volumes)["consensus"]).dataobj, given_volumes.consensus
    )


@given(hnp.arrays(np.float32, SHAPE, elements=st.floats(-3000, 5000, width=32)))
def test_ct_is_in_whole_hu_clipped_to_the_range(image: np.ndarray):
    hu = decoded(embedded_volumes(volumes(image=image))["ct"]).get_fdata()
    np.testing.assert_array_equal(hu, np.clip(np.rint(image), *HU_RANGE))


@pytest.mark.parametrize("name", ["probability", "entropy"])
@given(values=hnp.arrays(np.float32, SHAPE, elements=st.floats(0, 0.6875, width=32)))
def test_maps_are_off_by_half_a_step_at_most(name: str, values: np.ndarray):
    layer = next(layer for layer in map_layers(2) if layer.name == name)
    shown = decoded(embedded_volumes(volumes(**{name: values}))[name]).get_fdata()
    assert np.abs(shown - values).max() <= layer.maximum / 510 + 1e-6


def test_each_expert_has_a_map_of_its_own():
    given_volumes = volumes()
    texts = embedded_volumes(given_volumes)
    for expert in (0, 1):
        shown = decoded(texts[f"expert-{expert + 1}_foreground_probability"]).get_fdata()
        np.testing.assert_allclose(shown, given_volumes.expert_probability[..., expert], atol=1 / 500)


def test_the_same_volumes_are_the_same_text():
    assert embedded_volumes(volumes()) == embedded_volumes(volumes())
