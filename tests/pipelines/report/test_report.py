from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mose_med.errors import ConfigError, DataError, MissingDependencyError, MoseError
from mose_med.io import read_ct
from pipelines.cli import invoke
from pipelines.infer.run import InferOptions, infer
from pipelines.report.run import ReportOptions, report

FILES = {"report.html", "lesion-1.png"}


@pytest.fixture
def infer_options(
    tmp_path: Path, write_ct_series: Callable[..., list[Path]], ball_hu: np.ndarray, infer_checkpoint: Path
) -> InferOptions:
    """Inference of a ball in a small DICOM study, with names in it that must not get out."""
    write_ct_series(tmp_path / "study", ball_hu, SeriesDescription="Zyxwvut^Planted")
    centre = np.asarray(read_ct(tmp_path / "study").affine) @ [14, 11, 6, 1]
    nodules = tmp_path / "nodules.csv"
    nodules.write_text("nodule_id,x_ras_mm,y_ras_mm,z_ras_mm\nball,{},{},{}\n".format(*centre[:3]))
    return InferOptions(tmp_path / "study", tmp_path / "out", infer_checkpoint, nodules, quiet=True)


@pytest.fixture
def options(infer_options: InferOptions) -> ReportOptions:
    """Report on that case, inferred without one."""
    return ReportOptions(infer(infer_options).folder, infer_options.source, quiet=True)


def pictures(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_infer_writes_the_report_with_the_case(infer_options: InferOptions):
    folder = infer(dataclasses.replace(infer_options, report=True)).folder
    assert {path.name for path in folder.iterdir()} >= FILES
    assert f"Review of {folder.name}" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_report_made_later_is_the_same(infer_options: InferOptions, options: ReportOptions):
    page = report(options)
    assert page == options.case_dir / "report.html"
    other = dataclasses.replace(infer_options, output_dir=infer_options.output_dir / "with", report=True)
    with_report = infer(other).folder
    names = (with_report.name.encode(), options.case_dir.name.encode())
    assert (with_report / "report.html").read_bytes().replace(*names) == page.read_bytes()


def test_nobody_is_named(options: ReportOptions):
    report(options)
    for content in pictures(options.case_dir).values():
        for planted in (b"Zyxwvut", b"19010203", bytes(options.image.parent), b"1.2.826"):
            assert planted not in content


def test_a_page_that_is_there_is_kept_unless_it_may_be_replaced(options: ReportOptions):
    report(options)
    before = pictures(options.case_dir)
    with pytest.raises(ConfigError, match=r"report\.html already exists: add --overwrite to replace it"):
        report(options)
    (options.case_dir / "report.html").write_text("old")
    report(dataclasses.replace(options, overwrite=True))
    assert pictures(options.case_dir) == before


def test_a_case_that_lacks_a_file_is_refused_by_its_name(options: ReportOptions):
    (options.case_dir / "entropy.nii.gz").unlink()
    with pytest.raises(DataError, match=r"lacks entropy\.nii\.gz: run `mose-med infer` again"):
        report(options)


@pytest.mark.parametrize(
    ("change", "what"), [(1, "its HU differ"), (None, r"its shape is \(26, 24, 12\), the case's \(26, 24, 13\)")]
)
def test_another_ct_is_refused(options: ReportOptions, write_ct_series, ball_hu, change: int | None, what: str):
    other = ball_hu[:-1] if change is None else ball_hu + change
    write_ct_series(options.image.parent / "other", other)
    with pytest.raises(DataError, match=rf"must be the CT that case-\w+ was inferred from: {what}; name that one"):
        report(dataclasses.replace(options, image=options.image.parent / "other"))


def test_a_crash_leaves_nothing_behind(options: ReportOptions, monkeypatch: pytest.MonkeyPatch):
    def crash(*_args: object, **_kwargs: object) -> None:
        raise OSError("disk full")

    before = set(options.case_dir.iterdir())
    monkeypatch.setattr("mose_med.report.review.lesion_figure", crash)
    with pytest.raises(OSError, match="disk full"):
        report(options)
    assert set(options.case_dir.iterdir()) == before


def test_without_the_package_both_commands_stop_before_they_write(
    infer_options: InferOptions, monkeypatch: pytest.MonkeyPatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ipyniivue" else find(name))
    for attempt in (
        lambda: infer(dataclasses.replace(infer_options, report=True)),
        lambda: report(ReportOptions(infer_options.output_dir, infer_options.source)),
    ):
        with pytest.raises(MissingDependencyError, match="ipyniivue is not installed"):
            attempt()
    assert not infer_options.output_dir.exists()


def test_the_command_line_reports(options: ReportOptions, capsys: pytest.CaptureFixture[str]):
    arguments = ["report", str(options.case_dir), "--image", str(options.image), "--quiet"]
    assert invoke(arguments) == 0
    assert (options.case_dir / "lesion-1.png").is_file()
    assert invoke(arguments) == 2
    assert "add --overwrite" in capsys.readouterr().err
    shutil.rmtree(options.case_dir)
    with pytest.raises(MoseError, match="does not exist"):
        report(options)
