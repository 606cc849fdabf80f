"""A model without experts has none in ``lesions.json``, and a record of several keeps each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mose_med.errors import DataError
from mose_med.inferers import Lesion, LesionEntropy, VolumeDistribution
from mose_med.io.case.lesions import lesion_of, lesion_record, lesions_text


def lesion(*probs: float) -> Lesion:
    samples = np.arange(3.0 * len(probs)).reshape(len(probs), 3)
    volume = VolumeDistribution(samples, samples.mean(axis=1), 1.0, 0.0, 1.0, 2.0, 0.25, samples.size)
    return Lesion(
        1, (1.0, 2.0, 3.0), True, None, np.array(probs), volume, False, None, LesionEntropy(0.3, 0.0, 0.3), None
    )


def test_a_case_of_one_expert_names_no_experts():
    text = lesions_text([lesion(1.0)])
    (record,) = json.loads(text)["lesions"]
    assert "expert" not in text
    assert record["volume_ml"]["samples"] == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize("probs", [(1.0,), (0.25, 0.75)])
def test_what_was_written_is_read_back(probs: tuple[float, ...]):
    found = lesion_of(json.loads(json.dumps(lesion_record(lesion(*probs)))), 1, Path("lesions.json"))
    np.testing.assert_array_equal(found.expert_probs, probs)
    np.testing.assert_allclose(found.volume_ml.by_expert, lesion(*probs).volume_ml.by_expert)


def test_a_file_that_states_the_one_expert_is_read_too():
    stated = lesion_record(lesion(1.0)) | {"expert_probs": [1.0]}
    assert lesion_of(stated, 1, Path("lesions.json")).expert_probs.tolist() == [1.0]


def test_several_experts_need_their_probabilities():
    record = lesion_record(lesion(0.25, 0.75))
    del record["expert_probs"]
    with pytest.raises(DataError, match=r"lesions\.json: lesion 1 lacks 'expert_probs'"):
        lesion_of(record, 1, Path("lesions.json"))
