from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.case_contents.maps import OUTPUTS, MapStorage, outputs_in_order
from mose_med.inferers import CaseDistribution, infer_case
from mose_med.inferers.boxes import Box
from mose_med.io.case.folder import open_folder
from mose_med.io.case.unwritten import UnwrittenCase
from mose_med.io.case.writing import write_case
from mose_med.networks import StochasticNetwork
from mose_med.preprocessing import Preprocessing
from tests.fixtures.infer import BrightVoxels
from tests.fixtures.several_classes import CLASSES, banded_network


def distribution_of(network: StochasticNetwork, classes: tuple[str, ...]) -> CaseDistribution:
    """Two balls whose regions share voxels, so that each lesion has maps of its own."""
    i, j, k = np.indices((40, 36, 14))
    near = (i - 12) ** 2 + (j - 14) ** 2 + (k - 6) ** 2 <= 4**2
    far = (i - 21) ** 2 + (j - 20) ** 2 + (k - 8) ** 2 <= 3**2
    hu = np.select([near, far], [-260, 420], -900) + np.random.default_rng(0).integers(-30, 30, near.shape)
    affine = np.diag([-0.7, -0.8, 2.0, 1.0])
    return infer_case(
        network,
        MetaTensor(torch.from_numpy(hu.astype(np.float32))[None], affine=affine),
        preprocessing=Preprocessing(standardise=False, roi_size=(16, 16)),
        nodules=[(affine @ [*voxel, 1])[:3] for voxel in ((12, 14, 6), (21, 20, 8))],
        samples_per_expert=3,
        classes=classes,
    ).named(["near", "far, é"])


@pytest.fixture(params=["one class", "two classes", "no experts"])
def case(request: pytest.FixtureRequest) -> tuple[CaseDistribution, tuple[str, ...]]:
    """A case in memory, and the classes of its model."""
    torch.manual_seed(0)
    if request.param == "two classes":
        return distribution_of(banded_network(), CLASSES[1:]), CLASSES
    network = BrightVoxels(channels=(4, 8), num_experts=1 if request.param == "no experts" else 2, latent_dim=1)
    return distribution_of(network.eval(), ("nodule",)), ("background", "nodule")


@pytest.mark.parametrize("storage", get_args(MapStorage))
@pytest.mark.parametrize("outputs", [("masks", "probability", "consensus", "entropy"), ("all",)])
def test_a_case_shows_what_its_folder_will(
    case: tuple[CaseDistribution, tuple[str, ...]], storage: MapStorage, outputs: tuple[str, ...], tmp_path: Path
):
    distribution, classes = case
    assert any(distribution.shares_region(lesion.number) for lesion in distribution.lesions)
    kinds = outputs_in_order(outputs)
    provenance = {
        "versions": {"mose-med": "0"},
        "model": {"classes": list(classes), "network": {"num_experts": distribution.num_experts}},
    }
    write_case(tmp_path, distribution, maps=storage, outputs=kinds)
    (tmp_path / "provenance.json").write_text(json.dumps(provenance))
    written = open_folder(tmp_path, "case")
    unwritten = UnwrittenCase(distribution, "case", provenance, kinds, storage)

    for name in ("name", "shape", "num_experts", "samples_per_expert", "classes", "provenance"):
        assert getattr(unwritten, name) == getattr(written, name), name
    np.testing.assert_allclose(unwritten.affine, written.affine, rtol=1e-6)
    assert [unwritten.has(kind) for kind in OUTPUTS] == [written.has(kind) for kind in OUTPUTS]
    for ours, theirs in zip(unwritten.lesions, written.lesions, strict=True):
        for name, values in ours._replace(found=None)._asdict().items():
            np.testing.assert_equal(values, getattr(theirs._replace(found=None), name), name)
        assert ours.component is not None
        np.testing.assert_array_equal(ours.component.mask, theirs.component.mask)
    boxes, numbers = [Box((2, 3, 1), (30, 35, 12)), Box((0, 0, 0), distribution.shape)], [1, 2]
    for kind in OUTPUTS:
        assert unwritten.maps(kind) == written.maps(kind)
        for name in written.maps(kind):
            crops = zip(*(one.own_crops(name, boxes, numbers) for one in (unwritten, written)), strict=True)
            for ours, theirs in crops:
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs, name)
