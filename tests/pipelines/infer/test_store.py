from __future__ import annotations

from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.infer.store import FolderStore, ResultStore, UrlStore, open_store


@pytest.fixture(params=["folder", "s3", "gs"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, and a prefix of object storage of each kind."""
    if request.param == "folder":
        return str(tmp_path / "out")
    return request.getfixturevalue(f"{request.param}_bucket") + "/out"


@pytest.fixture
def store(location: str) -> ResultStore:
    """A store that a run has claimed."""
    opened = open_store(location)
    opened.claim({"seed": 0}, overwrite=False)
    return opened


def publish(store: ResultStore, case: str, text: bytes = b"{}", overwrite: bool = False) -> None:
    with store.publish(case, overwrite=overwrite) as folder:
        (folder / "provenance.json").write_bytes(text)
        (folder / "maps.nii.gz").write_bytes(b"maps")
        (folder / "lesion-1").mkdir()
        (folder / "lesion-1" / "maps.nii.gz").write_bytes(b"own maps")


def test_locations_are_told_apart(tmp_path: Path):
    assert isinstance(open_store("memory://x"), UrlStore)
    store = open_store(f"file://{tmp_path}/out")
    assert isinstance(store, FolderStore)
    assert store.folder == tmp_path / "out"


def test_a_link_to_a_case_is_no_second_case(tmp_path: Path):
    store = open_store(str(tmp_path / "out"))
    store.claim({"seed": 0}, overwrite=False)
    publish(store, "case-1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "provenance.json").write_text("{}")
    (tmp_path / "out" / "best").symlink_to(tmp_path / "out" / "case-1")
    (tmp_path / "out" / "case-2").symlink_to(tmp_path / "elsewhere")
    assert store.cases() == ["case-1", "case-2"]


def test_a_location_with_brackets_has_its_own_cases(tmp_path: Path):
    for location in ("memory://trial[1]/out", str(tmp_path / "trial[1]" / "out")):
        store = open_store(location)
        store.claim({"seed": 0}, overwrite=False)
        publish(store, "case-1")
        publish(store, "case-1", b'{"new": 1}', overwrite=True)
        assert store.cases() == ["case-1"]
        assert store.read("case-1/provenance.json") == b'{"new": 1}'
        again = open_store(location)
        again.claim({"seed": 1}, overwrite=True)
        assert again.cases() == []


def test_an_unknown_kind_of_url_is_refused():
    with pytest.raises(ConfigError, match=r"output nowhere://x cannot be reached: Protocol not known: nowhere"):
        open_store("nowhere://x")


def test_a_case_is_published_whole(store: ResultStore):
    assert store.read("case-1/maps.nii.gz") is None
    publish(store, "case-1")
    assert store.cases() == ["case-1"]
    assert store.read("case-1/maps.nii.gz") == b"maps"
    assert store.read("case-1/lesion-1/maps.nii.gz") == b"own maps"


def test_the_files_of_a_case_are_listed_without_its_folders(store: ResultStore):
    assert store.files("case-1") == set()
    publish(store, "case-1")
    assert store.files("case-1") == {"provenance.json", "maps.nii.gz"}


def test_a_case_that_fails_while_it_is_written_leaves_nothing(store: ResultStore):
    def fail_half_way() -> None:
        with store.publish("case-1", overwrite=False) as folder:
            (folder / "provenance.json").write_bytes(b"{}")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert store.cases() == []
    assert store.read("case-1/provenance.json") is None


def test_a_case_is_not_written_twice_unless_it_may_be_replaced(store: ResultStore):
    publish(store, "case-1", b"first")
    with pytest.raises(FileExistsError, match="already exists"):
        publish(store, "case-1", b"second")
    assert store.read("case-1/provenance.json") == b"first"
    publish(store, "case-1", b"third", overwrite=True)
    assert store.read("case-1/provenance.json") == b"third"


def test_tables_are_replaced(store: ResultStore):
    store.write("summary.csv", b"one")
    store.write("summary.csv", b"two")
    assert store.read("summary.csv") == b"two"


def test_the_same_options_go_on_and_others_are_refused(store: ResultStore, location: str):
    publish(store, "case-1")
    assert open_store(location).claim({"seed": 0}, overwrite=False)
    with pytest.raises(ConfigError, match="was made with seed=0, not 1: name another or add --overwrite"):
        open_store(location).claim({"seed": 1}, overwrite=False)
    assert not open_store(location).claim({"seed": 1}, overwrite=True)
    assert open_store(location).cases() == []


def test_a_place_that_was_being_emptied_is_emptied_again(store: ResultStore, location: str):
    publish(store, "case-1")
    store.write("options.json", b'{"emptying": true}')
    with pytest.raises(ConfigError, match="was being emptied when a run was stopped: name another or add --overwrite"):
        open_store(location).claim({"seed": 0}, overwrite=False)
    assert not open_store(location).claim({"seed": 0}, overwrite=True)
    assert open_store(location).cases() == []
    assert open_store(location).claim({"seed": 0}, overwrite=False)


def test_a_place_that_no_run_made_is_refused(store: ResultStore, location: str):
    store.write("notes.txt", b"mine")
    with pytest.raises(ConfigError, match=r"is not empty and has no options.json: name another"):
        open_store(location.removesuffix("/out")).claim({"seed": 0}, overwrite=True)


def test_what_a_killed_run_left_half_done_is_removed(tmp_path: Path):
    store = FolderStore(tmp_path / "out")
    store.claim({}, overwrite=False)
    publish(store, "case-1")
    (store.folder / ".case-2.0123.tmp").mkdir()
    (store.folder / ".case-2.0123.tmp" / "maps.nii.gz").write_bytes(b"half")
    (store.folder / ".summary.csv.0123.tmp").write_bytes(b"half")
    store.clean()
    assert sorted(path.name for path in store.folder.iterdir()) == ["case-1", "options.json"]


@pytest.mark.parametrize("record", [b"[]", b"{", b"\xff"])
def test_an_output_whose_record_is_damaged_is_refused_unless_it_may_be_emptied(store: ResultStore, record: bytes):
    store.write("options.json", record)
    with pytest.raises(ConfigError, match=r"has an unreadable options\.json: name another or add --overwrite"):
        store.claim({"seed": 0}, overwrite=False)
    assert store.conflict({"seed": 0}) == "has an unreadable options.json"
    assert not store.claim({"seed": 0}, overwrite=True)


def test_a_file_that_no_run_wrote_is_kept(store: ResultStore, location: str):
    publish(store, "case-1")
    store.write("notes.txt", b"mine")
    with pytest.raises(ConfigError, match=r"out holds notes\.txt, which this command did not put there: move it"):
        open_store(location).claim({"seed": 1}, overwrite=True)
    assert (store.read("notes.txt"), store.cases()) == (b"mine", ["case-1"])


def test_an_output_of_another_command_is_never_emptied(store: ResultStore):
    store.write("options.json", b'{"source": "lidc"}')
    with pytest.raises(ConfigError, match="was made by mose-med prepare lidc, not by mose-med infer: name another"):
        store.claim({"command": "infer"}, overwrite=True)
