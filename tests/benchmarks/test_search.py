from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from monai.data import MetaTensor

from benchmarks.quality import search


@pytest.mark.parametrize(("nodules", "others", "unannotated"), [([], 2.0, {}), (None, 0.0, {"one": 2.0})])
def test_lesions_of_a_scan_without_nodules_are_false_ones(
    monkeypatch: pytest.MonkeyPatch, nodules, others, unannotated
):
    image = MetaTensor(np.zeros((1, 10, 10, 10), np.float32), affine=np.diag([10.0, 10.0, 10.0, 1.0]))
    lesion = SimpleNamespace(
        component=SimpleNamespace(mask=np.ones(5)), p_empty=0.0, centroid_mm=(0.0, 0.0, 0.0), volume_ml=5.0
    )
    model = SimpleNamespace(infer=lambda *_, **__: SimpleNamespace(lesions=[lesion, lesion], shape=(10, 10, 10)))
    monkeypatch.setattr(search, "read_ct", lambda _: image)
    monkeypatch.setattr(search, "lung_mask", lambda *_: np.ones((10, 10, 10), bool))
    (first, *_) = search.rates([search.searched(model, "one", Path("study"), nodules)])
    assert first["others_per_litre"] == pytest.approx(others)
    assert first["unannotated_per_litre"] == pytest.approx(unannotated)
