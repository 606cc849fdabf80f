from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from mose_med.files.whole_files import folder_written_whole, keep_as, remove_left_over, written_whole


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


def test_a_mount_point_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mounted").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mounted")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "mounted")
    for name in ("mounted", "link"):
        with (
            pytest.raises(ConfigError, match="is a mount point, which cannot be replaced by a finished folder: name"),
            folder_written_whole(tmp_path / name, overwrite=True),
        ):
            pytest.fail("it was written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mounted"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths in the order in which they are synced."""
    paths: list[str] = []
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    return paths


def test_a_durable_file_is_synced_before_it_has_its_name_and_its_folder_afterwards(tmp_path: Path, synced: list[str]):
    with written_whole(tmp_path / "file", durable=True) as temporary:
        temporary.write_text("new")
    assert synced == [str(temporary), str(tmp_path)]


def test_a_file_system_that_cannot_sync_a_folder_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def of_files_alone(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("os.fsync", of_files_alone)
    with written_whole(tmp_path / "file", durable=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


@pytest.fixture(params=["links", "copies"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once with hard links, once on a file system without them."""

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if request.param == "copies":
        monkeypatch.setattr("os.link", no_links)


@pytest.mark.usefixtures("kept")
def test_a_file_that_is_kept_is_there_under_both_names(tmp_path: Path):
    (tmp_path / "file").write_text("new")
    (tmp_path / "older").write_text("old")
    for _ in range(2):  # the second time, both are names of one file
        keep_as(tmp_path / "file", tmp_path / "older")
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "new", "older": "new"}


def test_what_is_left_of_a_name_with_brackets_is_its_own(tmp_path: Path):
    own, other = tmp_path / ".best[1].pt.0a.tmp", tmp_path / ".best1.pt.0a.tmp"
    own.touch()
    other.touch()
    remove_left_over(tmp_path / "best[1].pt")
    assert list(tmp_path.iterdir()) == [other]
