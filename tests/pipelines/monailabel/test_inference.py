"""What the app answers with, without MONAI Label."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.errors import ConfigError, DataError
from mose_med.io import read_ct
from pipelines.monailabel.inference import Answer, Choice, LabelModel

CLICK = [14, 11, 6]


@pytest.fixture
def ask(ball_study: Path, bright_checkpoint: Path) -> Iterator[Callable[..., Answer]]:
    """Function that asks for the ball, or for something else."""
    answers: list[Answer] = []
    model = LabelModel(bright_checkpoint, device="cpu")

    def asked(**request: object) -> Answer:
        request = {"image": str(ball_study), "foreground": [CLICK], **request}
        answers.append(model.answer(request, from_points=True))
        return answers[-1]

    yield asked
    for answer in answers:
        answer.file.unlink()


def mask(answer: Answer) -> np.ndarray:
    return np.asarray(nib.load(answer.file).dataobj)


def test_a_click_gives_the_nodule_there_on_the_grid_of_the_image(ask, ball_study: Path):
    answer = ask()
    assert mask(answer)[tuple(CLICK)] == 1
    np.testing.assert_allclose(nib.load(answer.file).affine, np.asarray(read_ct(ball_study).affine), atol=1e-4)


def test_experts_volumes_and_absence_are_told(ask):
    details = ask().details
    assert details["label_names"] == {"nodule": 1}
    assert sum(details["expert_probs"]) == pytest.approx(1.0)
    assert details["volume_ml"]["p05"] <= details["volume_ml"]["p95"]
    assert 0.0 <= details["p_empty"] <= 1.0
    assert [lesion["lesion"] for lesion in details["lesions"]] == [1]


def test_samples_and_experts_can_be_asked_for(ask, ball_study: Path, infer_dicom_case):
    case = infer_dicom_case(ball_study, tuple(CLICK))
    for sample in (1, 4):
        answer = mask(ask(result="sample", sample=str(sample), expert="2"))
        np.testing.assert_array_equal(answer, case.dense("expert-2_samples")[..., sample - 1])
    mean = case.dense("expert-1_foreground_probability")
    np.testing.assert_array_equal(mask(ask(result="expert")), mean > 0.5)


def test_a_list_of_results_as_clients_send_it_means_its_first():
    assert Choice.of({"result": ["consensus", "expert", "sample"]}).result == "consensus"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"result": "mean"}, "result must be consensus or expert or sample, got 'mean'"),
        ({"expert": 0}, "expert must be a whole number >= 1, got 0"),
        ({"sample": "many"}, "sample must be a whole number >= 1, got 'many'"),
        ({"result": "expert", "expert": 9}, "expert must be <= 2, got 9"),
        ({"result": "sample", "sample": 5}, "sample must be <= 4, got 5"),
        ({"foreground": []}, "foreground must have the voxel i, j, k of a nodule: click on one"),
    ],
)
def test_what_does_not_fit_is_named_and_leaves_no_file(
    ask, request_, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=message):
        ask(**request_)
    assert sorted(tmp_path.iterdir()) == before


def test_a_click_outside_the_image_is_told(ask):
    with pytest.raises(DataError, match="outside"):
        ask(foreground=[[500, 0, 0]])


def test_weights_that_were_replaced_are_read_again(bright_checkpoint: Path, tmp_path: Path):
    model = LabelModel(tmp_path / "champion.pt", bright_checkpoint, device="cpu")
    assert model.path == bright_checkpoint
    first = model.model()
    assert model.model() is first
    (tmp_path / "champion.pt").write_bytes(bright_checkpoint.read_bytes())
    assert model.path == tmp_path / "champion.pt"
    assert model.model() is not first
    with pytest.raises(ConfigError, match="write the app again with mose-med export label-app"):
        _ = LabelModel(tmp_path / "nothing.zip").path
