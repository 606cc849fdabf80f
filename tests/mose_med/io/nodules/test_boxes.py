from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.apps.detection.transforms.dictionary import AffineBoxToWorldCoordinated, ConvertBoxModed
from monai.data import MetaTensor

from mose_med.errors import ConfigError, DataError
from mose_med.geometry import index_to_mm
from mose_med.io import read_nodules

AFFINE = np.array([[-0.7, 0.0, 0.1, 30.0], [0.0, 0.6, 0.0, -20.0], [0.1, 0.0, 2.5, -100.0], [0, 0, 0, 1]])
BOX = [10.0, -20.0, 30.0, 5.0, 6.0, 7.0]


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "result.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_boxes_as_monai_makes_them_are_found_where_they_are(tmp_path: Path):
    boxes = torch.tensor([[4.0, 6.0, 2.0, 8.0, 10.0, 6.0], [1.0, 1.0, 1.0, 4.0, 3.0, 3.0]])
    data = {"image": MetaTensor(torch.zeros(1, 20, 20, 10), affine=torch.from_numpy(AFFINE)), "box": boxes}
    # The transforms of the bundle's inference.json.
    to_world = AffineBoxToWorldCoordinated("box", "image", image_meta_key_postfix="meta_dict", affine_lps_to_ras=True)
    result = ConvertBoxModed("box", src_mode="xyzxyz", dst_mode="cccwhd")(to_world(data))["box"]
    entry = {"box": result.tolist(), "label": [0, 0], "label_scores": [0.9, 0.8], "image": "a.nii.gz"}
    nodules = read_nodules(written(tmp_path, [entry]))
    centres = index_to_mm(AFFINE, (boxes[:, :3] + boxes[:, 3:]).numpy() / 2)
    np.testing.assert_allclose([nodule.position_mm for nodule in nodules], centres, atol=1e-4)


def test_boxes_of_lesser_score_are_left_out_and_numbers_stay(tmp_path: Path):
    path = written(tmp_path, [{"box": [BOX, BOX, BOX], "label_scores": [0.9, 0.3, 0.5]}])
    assert [nodule.nodule_id for nodule in read_nodules(path)] == ["1", "3"]
    assert [nodule.nodule_id for nodule in read_nodules(path, min_score=0.0)] == ["1", "2", "3"]


def test_without_scores_every_box_is_taken(tmp_path: Path):
    assert read_nodules(written(tmp_path, {"box": [BOX]})) == [("1", (-10.0, 20.0, 30.0))]


def test_of_several_images_the_one_with_the_name_is_taken(tmp_path: Path):
    other = [0.0, *BOX[1:]]
    path = written(tmp_path, [{"box": [other], "image": "/x/b.nii.gz"}, {"box": [BOX], "image": "/x/1.2.3.nii.gz"}])
    assert read_nodules(path, images=["ct", "1.2.3"]) == [("1", (-10.0, 20.0, 30.0))]
    with pytest.raises(DataError, match=r"must have one entry whose image is named a or 1.2, got 0 of 2"):
        read_nodules(path, images=["a", "1.2"])
    with pytest.raises(DataError, match="must have one entry whose image is named the input, got 0 of 2"):
        read_nodules(path)


def test_no_box_is_a_list_without_nodules(tmp_path: Path):
    assert read_nodules(written(tmp_path, [{"box": [], "label": [], "label_scores": [], "image": "a.nii"}])) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_paths_of_windows_and_byte_order_marks_are_read(tmp_path: Path, encoding: str):
    entries = [{"box": [], "image": "D:\\x\\ct6.nii.gz"}, {"box": [BOX], "image": "D:\\x\\CT7.NII.GZ"}]
    (tmp_path / "result.json").write_text(json.dumps(entries), encoding=encoding)
    assert len(read_nodules(tmp_path / "result.json", images=["CT7"])) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "is not a JSON file: Expecting property name"),
        ([1], "entry 1: box is missing"),
        ({"boxes": []}, "entry 1: box is missing; the form is that of MONAI's lung_nodule_ct_detection"),
        ([{"box": 3}], "entry 1: box must be a list of boxes, got int"),
        ([{"box": [BOX[:3]]}], r"entry 1, box 1 must be six numbers \(x, y, z, .*\), got 3 numbers"),
        ([{"box": [BOX, 3]}], "entry 1, box 2 must be six numbers .*, got int"),
        ([{"box": [[*BOX[:5], "a"]]}], "entry 1, box 1: each value must be a number, got 'a'"),
        ('[{"box": [[NaN, 1, 1, 1, 1, 1]]}]', "entry 1, box 1: each value must be a number, got nan"),
        ([{"box": [[*BOX[:5], -1]]}], r"box 1 must have a width, height and depth >= 0, got \[5.0, 6.0, -1.0\]"),
        ([{"box": [BOX], "label_scores": [1, 1]}], "label_scores must have one score for each of the 1 boxes, got 2"),
        ([{"box": [BOX], "label_scores": ["x"]}], "entry 1, box 1: its score must be a number, got 'x'"),
        (
            [{"box": [BOX], "label_scores": [0.3]}],
            "no box has a score of at least 0.5, the highest is 0.3: lower --min-score",
        ),
        ([], r"must have one entry whose image is named the input, got 0 of 0"),
    ],
)
def test_bad_lists_are_refused_by_name(tmp_path: Path, content: Any, message: str):
    with pytest.raises(DataError, match=rf"nodule list .*result.json.* ?{message}"):
        read_nodules(written(tmp_path, content))


def test_a_score_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="min_score must be from 0 to 1, got 2"):
        read_nodules(written(tmp_path, [{"box": [BOX]}]), min_score=2)
