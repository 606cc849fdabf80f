from __future__ import annotations

from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.cohort.entries import Entry, Shard, find_entries, read_manifest


def make(root: Path, *files: str) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def names(root: Path, case_depth: int | None = None) -> list[str]:
    return sorted(entry.name for entry in find_entries(root, case_depth))


def test_folders_zips_and_files_are_found_however_deep(tmp_path: Path):
    make(tmp_path, "a/1.dcm", "b/c/IM0001", "b/c/IM0002", "d.zip", "e/f.nii.gz", "e/g.NII", "h/readme.txt", ".x/1.dcm")
    assert names(tmp_path) == ["a", "b/c", "d.zip", "e/f.nii.gz", "e/g.NII"]


def test_volumes_of_two_files_are_one_case(tmp_path: Path):
    make(tmp_path, "a/ct.mhd", "a/ct.raw", "b/ct.nhdr", "b/ct.raw.gz", "c/ct.nrrd", "c/other.MHA")
    assert names(tmp_path) == ["a/ct.mhd", "b/ct.nhdr", "c/ct.nrrd", "c/other.MHA"]


def test_a_folder_of_slices_is_one_case_with_all_below(tmp_path: Path):
    make(tmp_path, "study/DICOMDIR", "study/series/1.dcm", "study/more.zip")
    assert names(tmp_path) == ["study"]


def test_a_nodule_list_makes_a_study_of_its_subfolders(tmp_path: Path):
    make(tmp_path, "study/nodules.csv", "study/thin/1", "study/thick/1", "other/thin/1")
    entries = {entry.name: entry.nodules for entry in find_entries(tmp_path)}
    assert entries == {"study": str(tmp_path / "study/nodules.csv"), "other/thin": None}


def test_nodule_lists_are_found_beside_files(tmp_path: Path):
    make(tmp_path, "a/ct.nii.gz", "a/nodules.csv", "b/x.zip", "b/y.zip", "b/nodules.csv", "b/y.zip.nodules.csv")
    entries = {entry.name: entry.nodules and Path(entry.nodules).name for entry in find_entries(tmp_path)}
    assert entries == {"a/ct.nii.gz": "nodules.csv", "b/x.zip": None, "b/y.zip": "y.zip.nodules.csv"}


def test_case_depth_takes_every_folder_there(tmp_path: Path):
    make(tmp_path, "site/study/series-1/1", "site/study/series-2/1", "site/other/1", "loose.zip")
    assert names(tmp_path, case_depth=2) == ["loose.zip", "site/other", "site/study"]
    assert names(tmp_path, case_depth=1) == ["loose.zip", "site"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path):
    make(tmp_path / "root", "a/b/1.dcm")
    make(tmp_path / "elsewhere", "c/1.dcm")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    assert names(tmp_path / "root") == ["a/b", "link/c"]


def test_shards_share_out_all_cases():
    entries = [Entry(f"study {n}", "") for n in range(200)]
    parts = [[entry for entry in entries if Shard(i, 4).holds(entry)] for i in (1, 2, 3, 4)]
    assert sorted(entry for part in parts for entry in part) == sorted(entries)
    assert min(map(len, parts)) > 25


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_of_another_form_is_refused(text: str):
    with pytest.raises(ConfigError, match=f"shard must be i/n with 1 <= i <= n, got '{text}'"):
        Shard.parse(text)


def test_a_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="absent does not exist"):
        next(find_entries(tmp_path / "absent"))


def manifest(folder: Path, text: str) -> Path:
    (folder / "list.csv").write_text(text)
    return folder / "list.csv"


def test_a_manifest_names_studies_from_its_folder(tmp_path: Path):
    make(tmp_path, "b/nodules.csv")
    first, second = read_manifest(manifest(tmp_path, "case,path,series,nodules\np-1,a,1.2,n.csv\n,b,,\n"))
    assert first == Entry("p-1", str(tmp_path / "a"), "1.2", str(tmp_path / "n.csv"), "p-1")
    assert second == Entry("b", str(tmp_path / "b"), None, str(tmp_path / "b" / "nodules.csv"), None)


@pytest.mark.parametrize("text", ["\ufeffCase; Path;\r\np-1; a;\r\n;;\r\n", "case\tpath\np-1\ta\n"])
def test_a_manifest_of_any_program_is_read(tmp_path: Path, text: str):
    assert read_manifest(manifest(tmp_path, text)) == [Entry("p-1", str(tmp_path / "a"), case="p-1")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study\na\n", "must have the column path, got study"),
        ("path,case\n,x\n", "row 1: path must be given"),
        ("path,case\na,../x\n", "row 1: case must be up to 64 letters, digits, '.', '_' and '-', got '../x'"),
        ("path,case\na,private\n", "row 1: case must be"),
        ("path,case\na,x\nb,x\n", "must list each case once, got rows 1 and 2"),
        ("path\na\nb\na\n", "must list each study once, got rows 1 and 3"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        read_manifest(manifest(tmp_path, text))


def test_a_missing_manifest_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"absent.csv does not exist"):
        read_manifest(tmp_path / "absent.csv")
