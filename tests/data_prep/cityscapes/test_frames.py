from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.cityscapes.frames import find_frames, find_predictions
from mose_med.errors import ConfigError, DataError


def test_cities_decide_the_part(cityscapes_root: Path):
    parts = {frame.frame_id: frame.part for frame in find_frames(cityscapes_root)}
    assert parts == {
        "frankfurt_000000_000294": "test",
        "aachen_000000_000019": "training",
        "aachen_000001_000019": "training",
        "ulm_000000_000019": "validation",
    }


def test_hidden_files_are_no_pictures(cityscapes_root: Path):
    frames = find_frames(cityscapes_root)
    frames[0].image.with_name(f"._{frames[0].image.name}").write_bytes(b"as macOS leaves it")
    assert find_frames(cityscapes_root) == frames


def test_annotation_is_named_after_its_picture(cityscapes_root: Path):
    assert all(frame.label.is_file() for frame in find_frames(cityscapes_root))


def test_other_folders_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="must hold the folders leftImg8bit and gtFine, lacks leftImg8bit"):
        find_frames(tmp_path)
    for name in ("leftImg8bit", "gtFine"):
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="has no picture"):
        find_frames(tmp_path)


def test_predictions_are_found_by_frame(tmp_path: Path):
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "ulm_000000_000019_leftImg8bit_pred.png"
    for file in (path, tmp_path / "overview.png"):
        file.touch()
    assert find_predictions(tmp_path) == {"ulm_000000_000019": path}
    (tmp_path / "ulm_000000_000019.png").touch()
    with pytest.raises(DataError, match="both belong to ulm_000000_000019"):
        find_predictions(tmp_path)


def test_predictions_in_a_linked_folder_are_found_once(tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "ulm_000000_000019.png").touch()
    (tmp_path / "predictions").mkdir()
    for name in ("a", "b"):
        (tmp_path / "predictions" / name).symlink_to(tmp_path / "store")
    path = tmp_path / "predictions" / "a" / "ulm_000000_000019.png"
    assert find_predictions(tmp_path / "predictions") == {"ulm_000000_000019": path}


def test_folder_without_predictions_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="has no <city>_<number>_<number>"):
        find_predictions(tmp_path / "no")
