"""The operator against a stub of the SDK, which needs holoscan and does not install everywhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from monai.data import MetaTensor

from mose_med.errors import DataError, MissingDependencyError


class OperatorSpec:
    """Keeps what is declared."""

    def __init__(self) -> None:
        self.inputs: list[str] = []

    def input(self, name: str) -> None:
        self.inputs.append(name)


class Operator:
    """As the SDK's, calls setup from its constructor."""

    def __init__(self, fragment: object, *args: object, **kwargs: object) -> None:
        self.fragment, self.conditions, self.options = fragment, args, kwargs
        self.spec = OperatorSpec()
        self.setup(self.spec)


class Input:
    """Gives what was selected."""

    def __init__(self, studies: object) -> None:
        self._studies = studies

    def receive(self, name: str) -> object:
        assert name == "study_selected_series_list"
        return self._studies


class Series:
    """A series as the SDK's loader has it."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files

    def get_sop_instances(self) -> list[Any]:
        return [SimpleNamespace(get_native_sop_instance=lambda f=file: pydicom.dcmread(f)) for file in self._files]


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class, over the stub."""
    core = ModuleType("monai.deploy.core")
    core.Operator, core.OperatorSpec = Operator, OperatorSpec  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "monai.deploy", ModuleType("monai.deploy"))
    monkeypatch.setitem(sys.modules, "monai.deploy.core", core)
    monkeypatch.delitem(sys.modules, "pipelines.deploy.operator", raising=False)
    yield importlib.import_module("pipelines.deploy.operator").MoseOperator
    sys.modules.pop("pipelines.deploy.operator", None)


@pytest.fixture
def select(write_ct_series: Callable[..., list[Path]], chest: MetaTensor, tmp_path: Path) -> Callable[[int], Input]:
    """Function that selects a number of series."""
    voxels = chest[0].numpy().astype(np.int16).transpose(2, 1, 0)

    def selected(number: int) -> Input:
        found = [
            Series(write_ct_series(tmp_path / f"ct-{n}", voxels, step_mm=5.0, PixelSpacing=[4.0, 4.0]))
            for n in range(number)
        ]
        return Input([SimpleNamespace(selected_series=[SimpleNamespace(series=series) for series in found])])

    return selected


def test_it_declares_the_output_of_the_selector_as_its_input(operator, tmp_path: Path):
    made = operator("fragment", "condition", output_folder=tmp_path, name="mose")
    assert made.spec.inputs == ["study_selected_series_list"]
    assert (made.fragment, made.conditions, made.options) == ("fragment", ("condition",), {"name": "mose"})


@pytest.mark.parametrize(("number", "where"), [(1, "."), (2, "series-2")])
def test_every_selected_series_gets_its_objects(
    operator, select, bright_checkpoint: Path, tmp_path: Path, number: int, where: str
):
    made = operator(None, output_folder=tmp_path / "out", checkpoint=bright_checkpoint, device="cpu")
    made.compute(select(number), None, None)
    assert len(list((tmp_path / "out").rglob("seg.dcm"))) == number
    written = pydicom.dcmread(tmp_path / "out" / where / "seg.dcm")
    source = pydicom.dcmread(next((tmp_path / f"ct-{number - 1}").iterdir()))
    assert written.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID


@pytest.mark.parametrize(("before", "now"), [(1, 2), (2, 1)])
def test_results_of_a_study_before_do_not_stay_beside_those_of_this_one(
    operator, select, bright_checkpoint: Path, tmp_path: Path, before: int, now: int
):
    made = operator(None, output_folder=tmp_path / "out", checkpoint=bright_checkpoint, device="cpu")
    made.compute(select(before), None, None)
    (tmp_path / "out" / "series-1").mkdir(exist_ok=True)
    (tmp_path / "out" / "series-1" / "notes.txt").write_text("of a user")
    made.compute(select(now), None, None)
    assert len(list((tmp_path / "out").rglob("lesions.json"))) == now
    assert (tmp_path / "out" / "series-1" / "notes.txt").is_file()


def test_no_series_is_told(operator, tmp_path: Path):
    with pytest.raises(DataError, match="no CT series was selected"):
        operator(None, output_folder=tmp_path).compute(Input([]), None, None)


def test_without_the_sdk_it_says_what_is_missing():
    sys.modules.pop("pipelines.deploy.operator", None)
    with pytest.raises(MissingDependencyError, match="monai-deploy-app-sdk is not installed"):
        importlib.import_module("pipelines.deploy.operator")
