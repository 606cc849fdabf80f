"""Point lists as 3D Slicer writes them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mose_med.errors import DataError
from mose_med.io import read_nodules

NEW = "# Markups fiducial file version = 4.13\n# CoordinateSystem = {}\n"
NEW += "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
OLDEST = "# Fiducial List file F.fcsv\n# version = 2\n# name = F\n# columns = label,x,y,z,sel,vis\n"


def fcsv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "F.fcsv"
    path.write_text(text, encoding="utf-8")
    return path


def point(label: str, *position: Any, **more: Any) -> dict[str, Any]:
    return {"id": "1", "label": label, "position": list(position), "positionStatus": "defined"} | more


def markups(tmp_path: Path, *points: dict[str, Any], **more: Any) -> Path:
    path = tmp_path / "F.mrk.json"
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": list(points)}
    path.write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": [markup | more]}))
    return path


@pytest.mark.parametrize(("axes", "ras"), [("LPS", (-1, -2.5, 3)), ("RAS", (1, 2.5, 3)), ("ras", (1, 2.5, 3))])
def test_markups_are_turned_to_ras_and_keep_their_labels(tmp_path: Path, axes: str, ras):
    assert read_nodules(markups(tmp_path, point("left lobe", 1, 2.5, 3), coordinateSystem=axes)) == [("left lobe", ras)]


def test_markups_without_axes_are_in_lps(tmp_path: Path):
    path = tmp_path / "F.json"
    path.write_text('{"markups": [{"type": "Fiducial", "controlPoints": [{"label": "F-1", "position": [1, 2, 3]}]}]}')
    assert read_nodules(path) == [("F-1", (-1, -2, 3))]


@pytest.mark.parametrize("status", ["undefined", "preview", "missing"])
def test_points_that_were_not_placed_are_left_out_and_told(tmp_path: Path, status: str, caplog):
    path = markups(tmp_path, point("F-1", 1, 2, 3), {"label": "F-2", "positionStatus": status, "position": [0, 0, 0]})
    assert read_nodules(path) == [("F-1", (-1, -2, 3))]
    assert "1 of 2 points of the nodule list were not placed: they are left out" in caplog.text


def test_equal_labels_are_numbered_and_missing_ones_too(tmp_path: Path):
    points = [point(label, n, 0, 0, id="") for n, label in enumerate(["nodule", "nodule", ""])]
    assert [nodule.nodule_id for nodule in read_nodules(markups(tmp_path, *points))] == ["nodule-1", "nodule-2", "3"]


def test_other_markups_of_the_file_are_left_out_and_told(tmp_path: Path, caplog):
    path = markups(tmp_path, point("F-1", 1, 2, 3))
    content = json.loads(path.read_text())
    content["markups"].append({"type": "Line", "controlPoints": [point("L-1", 0, 0, 0)]})
    path.write_text(json.dumps(content))
    assert len(read_nodules(path)) == 1
    assert "markups that are not point lists are left out: Line" in caplog.text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"type": "Line"}, "must have a point list, got Line"),
        ({"coordinateSystem": "IJK"}, "coordinateSystem must be LPS or RAS, got IJK"),
        ({"coordinateUnits": "m"}, "coordinateUnits must be mm, got 'm'"),
        ({"controlPoints": []}, "has no placed point"),
        ({"controlPoints": {"label": "F"}}, "controlPoints must be a list of objects"),
        ({"controlPoints": [{"label": "F", "position": [1, 2]}]}, r"point 1: position must be three numbers, got \[1"),
        ({"controlPoints": [{"label": "F", "position": [1, 2, "a"]}]}, "point 1: position must be three numbers"),
    ],
)
def test_markups_that_do_not_fit_are_refused_by_name(tmp_path: Path, more, message: str):
    with pytest.raises(DataError, match=message):
        read_nodules(markups(tmp_path, point("F-1", 1, 2, 3), **more))


@pytest.mark.parametrize(
    ("axes", "ras"),
    [("LPS", (-1, -2.5, 3)), ("1", (-1, -2.5, 3)), ("RAS", (1, 2.5, 3)), ("0", (1, 2.5, 3))],
)
def test_fcsv_says_its_axes_by_name_or_by_number(tmp_path: Path, axes: str, ras):
    row = 'vtkMRMLMarkupsFiducialNode_0,1,2.5,3,0,0,0,1,1,1,0,F-1,"small, round",vtkMRMLScalarVolumeNode1\n'
    assert read_nodules(fcsv(tmp_path, NEW.format(axes) + row)) == [("F-1", ras)]


def test_the_oldest_fcsv_has_other_columns_and_is_in_ras(tmp_path: Path):
    assert read_nodules(fcsv(tmp_path, OLDEST + "apex,1,2.5,3,1,1\nbase,4,5,6,1,1\n")) == [
        ("apex", (1, 2.5, 3)),
        ("base", (4, 5, 6)),
    ]


def test_fcsv_of_windows_and_with_points_that_were_not_placed_is_read(tmp_path: Path, caplog):
    rows = "1,1,2,3,0,0,0,1,1,1,0,F-1,,,2,0\n2,0,0,0,0,0,0,1,1,1,0,F-2,,,0,0\n"
    text = (NEW.format("LPS") + rows).replace("\n", "\r\n")
    with caplog.at_level(logging.WARNING):
        assert read_nodules(fcsv(tmp_path, text)) == [("F-1", (-1, -2, 3))]
    assert "1 of 2 points of the nodule list were not placed" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NEW.format("LPS"), "has no placed point"),
        (NEW.format("2") + "1,1,2,3,0,0,0,1,1,1,0,F-1,,\n", "CoordinateSystem must be LPS or RAS, got IJK"),
        (NEW.format("LPS") + "1,1,b,3,0,0,0,1,1,1,0,F-1,,\n", "line 4: y must be a number, got 'b'"),
        (NEW.format("LPS") + "1,1\n", "line 4: y must be a number, got ''"),
    ],
)
def test_fcsv_that_does_not_fit_is_refused_by_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_nodules(fcsv(tmp_path, text))
