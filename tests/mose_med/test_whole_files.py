from __future__ import annotations

from pathlib import Path

import pytest

from mose_med.whole_files import remove_left_over, written_whole


def test_a_file_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path):
    target = tmp_path / "file"
    target.write_text("old")
    with written_whole(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "new"


def write_half(target: Path, fault: type[BaseException]) -> None:
    with written_whole(target) as temporary:
        temporary.write_text("half")
        raise fault


@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: type[BaseException]):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(fault):
        write_half(target, fault)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_what_is_left_of_one_file_is_removed_and_nothing_of_another(tmp_path: Path):
    for name in ("file", ".file.0a1b.tmp", ".other.0a1b.tmp"):
        (tmp_path / name).touch()
    remove_left_over(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.0a1b.tmp", "file"]
