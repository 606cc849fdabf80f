from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.api.model import Model, load_model
from mose_med.api.options import ResultOptions
from mose_med.api.reading import CaseRequest
from mose_med.api.stages import Stages
from mose_med.errors import ConfigError
from pipelines.infer.case import run_case
from pipelines.infer.store import Destination


@pytest.fixture
def model(infer_checkpoint: Path) -> Model:
    return load_model(infer_checkpoint)


@pytest.fixture
def request_of(tmp_path: Path, write_ct_series: Callable[..., list[Path]], ball_hu) -> Callable[[int], CaseRequest]:
    """Function that makes a request of one study with a number of nodules."""
    write_ct_series(tmp_path / "study", ball_hu)

    def make(number: int) -> CaseRequest:
        nodules = tmp_path / f"{number}.csv"
        rows = [f"{1.8 + 0.6 * n},12.2,-38" for n in range(number)]
        nodules.write_text("\n".join(["x_ras_mm,y_ras_mm,z_ras_mm", *rows]) + "\n")
        return CaseRequest(tmp_path / "study", nodules, None, ResultOptions(samples=1))

    return make


def test_a_run_that_overwrites_infers_a_study_once(model: Model, request_of, tmp_path: Path):
    def resumed(mark: str) -> bool:
        destination = Destination(str(tmp_path / "out"), b"key", overwrite=True, mark=mark)
        return run_case(model, request_of(1), destination, Stages()).resumed

    (tmp_path / "out").mkdir()
    assert [resumed("first"), resumed("first"), resumed("second"), resumed("first")] == [False, True, False, False]


def test_a_run_keeps_what_it_wrote_of_a_study_when_that_comes_again_with_another_list(
    model: Model, request_of, tmp_path: Path
):
    (tmp_path / "out").mkdir()
    destination = Destination(str(tmp_path / "out"), b"key", overwrite=True, mark="run")
    case = run_case(model, request_of(1), destination, Stages()).case
    before = (tmp_path / "out" / case / "lesions.json").read_bytes()
    advice = "different nodules by this run: the study comes twice, give each a name in the column case of a manifest"
    with pytest.raises(ConfigError, match=advice):
        run_case(model, request_of(2), destination, Stages())
    assert (tmp_path / "out" / case / "lesions.json").read_bytes() == before
    run_case(model, request_of(2), destination._replace(mark="later"), Stages())
    assert (tmp_path / "out" / case / "lesions.json").read_bytes() != before


def test_a_case_that_was_moved_and_linked_back_is_refused_before_it_is_inferred(
    model: Model, request_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    out.mkdir()
    case = run_case(model, request_of(1), Destination(str(out), b"key"), Stages()).case
    (out / case).rename(tmp_path / "moved")
    (out / case).symlink_to(tmp_path / "moved")
    assert run_case(model, request_of(1), Destination(str(out), b"key"), Stages()).resumed
    monkeypatch.setattr(Model, "infer_input", None)
    with pytest.raises(ConfigError, match=f"{case} is a link: put the folder itself there, or remove the link"):
        run_case(model, request_of(1), Destination(str(out), b"key", overwrite=True), Stages())
    (tmp_path / "moved").rename(tmp_path / "moved again")
    with pytest.raises(ConfigError, match=f"{case} is a link"):
        run_case(model, request_of(1), Destination(str(out), b"key"), Stages())
