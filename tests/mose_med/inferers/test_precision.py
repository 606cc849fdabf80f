from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mose_med.errors import ConfigError
from mose_med.inferers import precision
from mose_med.inferers.precision import Trial, chosen_precision, computing_in, tried
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

SMALL = Preprocessing(roi_size=(16, 16))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("trial", "good"),
    [
        (Trial(0.5, 0.004, 0.0, 0.0), True),
        (Trial(0.5, 0.3, 9e-4, 9e-5), True),
        (Trial(0.95, 0.004, 0.0, 0.0), False),
        (Trial(0.5, 0.03, 2e-3, 0.0), False),
        (Trial(0.5, 0.004, 0.0, 2e-4), False),
    ],
)
def test_a_shorter_type_must_be_faster_and_agree(trial: Trial, good: bool):
    assert trial.is_good() == good


def test_a_device_without_units_for_it_is_not_tried(infer_network, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: False)
    monkeypatch.setattr(precision, "tried", None)
    choice = chosen_precision(infer_network, "auto", SMALL)
    assert choice == ("fp32", "this cpu has no bfloat16 matrix units")


@pytest.mark.parametrize(("time_share", "taken"), [(0.4, "bf16"), (1.3, "fp32")])
def test_auto_takes_what_the_trial_says_and_tells_why(infer_network, monkeypatch, time_share: float, taken: str):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "tried", lambda *_: Trial(time_share, 0.001, 0.0, 0.0))
    choice = chosen_precision(infer_network, "auto", SMALL)
    assert choice.precision == taken
    told = re.escape(str(Trial(time_share, 0.001, 0.0, 0.0)))
    assert re.fullmatch(rf"trial of bf16 on 20\d\d-\d\d-\d\d: {told}", choice.reason)


def test_a_network_is_tried_once_on_a_device(infer_network, monkeypatch: pytest.MonkeyPatch):
    times = iter((0.4, 1.3, 1.3, 1.3, 1.3))
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "tried", lambda *_: Trial(next(times), 0.001, 0.0, 0.0))
    assert [chosen_precision(infer_network, "auto", SMALL).precision for _ in range(3)] == ["bf16"] * 3
    larger = Preprocessing(roi_size=(32, 32))
    assert chosen_precision(infer_network, "auto", larger).precision == "fp32"
    with torch.no_grad():
        next(infer_network.parameters()).add_(1)
    assert chosen_precision(infer_network, "auto", SMALL).precision == "fp32"
    monkeypatch.setattr(precision, "_device_name", lambda device: "another processor")
    assert chosen_precision(infer_network, "auto", SMALL).precision == "fp32"
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert chosen_precision(infer_network, "auto", SMALL).precision == "fp32"


def test_a_record_of_another_form_is_no_trial(infer_network, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "tried", lambda *_: Trial(0.4, 0.001, 0.0, 0.0))
    monkeypatch.setattr(precision, "kept_once", lambda *_: {"time_share": None})
    assert chosen_precision(infer_network, "auto", SMALL).precision == "bf16"


def test_what_is_asked_for_is_taken_and_nothing_else(infer_network):
    assert chosen_precision(infer_network, "fp16", SMALL) == ("fp16", "requested")
    with pytest.raises(ConfigError, match="precision must be auto, fp32, bf16 or fp16, got 'half'"):
        chosen_precision(infer_network, "half", SMALL)


def test_a_trial_finds_the_difference_that_a_shorter_type_makes(infer_network):
    found = tried(infer_network, "bf16", SMALL)
    assert 0 < found.largest_difference < 0.05
    assert found.time_share > 0
    assert tried(infer_network, "fp32", SMALL)[1:4] == (0, 0, 0)


def test_a_trial_finds_masks_that_change():
    class Unsteady(MoSE):
        def samples_from(self, image: Tensor, deviates: Tensor):
            sign = -1 if torch.is_autocast_enabled("cpu") else 1
            samples = super().samples_from(image, deviates)
            return samples._replace(logits=sign * samples.logits)

    assert tried(Unsteady(channels=(4, 8), num_experts=2).eval(), "bf16", SMALL).changed_share > 0.5


def test_a_precision_is_that_of_the_products_and_float32_is_none():
    matrix = torch.eye(3)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        with computing_in(name, torch.device("cpu")):
            assert (matrix @ matrix).dtype == dtype
