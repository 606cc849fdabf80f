from __future__ import annotations

import pickle
from pathlib import Path

from mose_med.api.options import ResultOptions
from mose_med.api.reading import CaseRequest
from pipelines.infer.options import InferOptions


def test_what_decides_a_result_is_told_apart_from_the_run():
    options = InferOptions(Path("ct.nii"), Path("out"), seed=7, device="cpu", quiet=True)
    assert options.result_options() == ResultOptions(seed=7)
    assert options.to_dict() == ResultOptions(seed=7).to_dict()
    assert not {"source", "output_dir", "device", "quiet"} & set(options.to_dict())


def test_a_request_can_be_sent_to_another_process():
    request = CaseRequest(Path("study"), Path("nodules.csv"), "1.2", ResultOptions(samples=2))
    assert pickle.loads(pickle.dumps(request)) == request
