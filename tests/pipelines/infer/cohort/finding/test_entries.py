from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from mose_med.errors import ConfigError
from pipelines.infer.cohort.finding.entries import Entry, Shard, find_entries, read_manifest
from pipelines.infer.cohort.finding.skipped_files import Reason, SkippedFiles


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


def test_a_list_may_be_named_as_its_volume_is_without_the_ending(tmp_path: Path):
    make(tmp_path, "p.nii.gz", "p.nodules.csv", "Q.NII.GZ", "Q.nodules.csv", "r.mha", "r.nii", "r.nodules.csv")
    make(tmp_path, "s.nii", "s.nodules.csv", "s.nii.nodules.csv", "study.nodules.csv", "study/1.dcm", "t.nodules.csv")
    skipped = SkippedFiles()
    entries = {e.name: e.nodules and Path(e.nodules).name for e in find_entries(tmp_path, skipped=skipped)}
    assert entries == {
        "p.nii.gz": "p.nodules.csv",
        "Q.NII.GZ": "Q.nodules.csv",
        "r.mha": None,
        "r.nii": None,
        "s.nii": "s.nii.nodules.csv",
        "study": "study.nodules.csv",
    }
    assert skipped.lines(str(tmp_path)) == ["skipped: 2 files outside the studies: r.nodules.csv, t.nodules.csv"]


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


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_a_link_to_a_folder_whose_name_begins_as_the_root_is_followed(tmp_path: Path):
    make(tmp_path / "store", "c/1.dcm")
    link(tmp_path / "store-2024" / "link", tmp_path / "store")
    assert names(tmp_path / "store-2024") == ["link/c"]


def test_what_two_links_or_a_link_and_a_folder_lead_to_is_found_once(tmp_path: Path):
    make(tmp_path / "elsewhere", "c/1.dcm", "d/e/1.dcm")
    make(tmp_path / "root", "z/1.dcm", "y.nii.gz")
    for name, target in (("a", "elsewhere/c"), ("b", "elsewhere"), ("c", "root/z"), ("d", "elsewhere/d/e")):
        link(tmp_path / "root" / name, tmp_path / target)
    link(tmp_path / "root" / "f.nii.gz", tmp_path / "root" / "y.nii.gz")
    skipped = SkippedFiles()
    found = sorted(entry.name for entry in find_entries(tmp_path / "root", skipped=skipped))
    assert found == ["b/c", "b/d/e", "y.nii.gz", "z"]
    assert skipped.lines(str(tmp_path / "root")) == ["skipped: 1 links to a file that is already a case: f.nii.gz"]


def test_links_to_what_is_hidden_or_to_files_elsewhere_are_cases(tmp_path: Path):
    make(tmp_path / "root", ".annex/k1/1.dcm", ".annex/k2.nii.gz", "b/nodules.csv")
    link(tmp_path / "root" / "a", tmp_path / "root" / ".annex" / "k1")
    link(tmp_path / "root" / "b" / "ct.nii.gz", tmp_path / "root" / ".annex" / "k2.nii.gz")
    entries = {entry.name: entry.nodules for entry in find_entries(tmp_path / "root")}
    assert entries == {"a": None, "b/ct.nii.gz": str(tmp_path / "root/b/nodules.csv")}


def test_a_broken_link_is_no_case_and_told(tmp_path: Path):
    make(tmp_path, "site/a/1.dcm", "site/b/1.dcm")
    link(tmp_path / "site" / "c", tmp_path / "gone")
    link(tmp_path / "site" / "loop", tmp_path / "site" / "loop")
    skipped = SkippedFiles()
    assert sorted(entry.name for entry in find_entries(tmp_path, skipped=skipped)) == ["site/a", "site/b"]
    assert skipped.lines(str(tmp_path)) == ["skipped: 2 broken links: site/c, site/loop"]


def test_a_folder_of_broken_links_alone_is_a_case_that_will_fail(tmp_path: Path):
    link(tmp_path / "study" / "IM0001", tmp_path / "gone")
    assert names(tmp_path) == ["study"]


@pytest.mark.parametrize("stray", ["list.xlsx", "readme.txt", "Thumbs.db", "README", "scan.docx", "a.csv", "IM0009"])
def test_a_stray_file_beside_the_studies_is_told_and_changes_nothing(tmp_path: Path, stray: str):
    make(tmp_path, "site/a/1.dcm", "site/b/IM0001", f"site/{stray}", "site/c.nii.gz")
    skipped = SkippedFiles()
    assert sorted(entry.name for entry in find_entries(tmp_path, skipped=skipped)) == [
        "site/a",
        "site/b",
        "site/c.nii.gz",
    ]
    (line,) = skipped.lines(str(tmp_path))
    assert line.endswith(f": site/{stray}")


def test_a_stray_file_among_slices_without_ending_changes_nothing(tmp_path: Path):
    make(tmp_path, "study/list.xlsx", "study/1.2.3", "study/more/1.2.4")
    (tmp_path / "study" / "1.2.3").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "study" / "more" / "1.2.4").write_bytes(b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100")
    assert names(tmp_path) == ["study"]


@pytest.mark.parametrize("depth", [None, 2])
def test_slices_that_lie_in_no_study_are_told(tmp_path: Path, depth: int | None):
    make(tmp_path, "0.dcm", "site/a/1.dcm")
    skipped = SkippedFiles()
    assert [entry.name for entry in find_entries(tmp_path, depth, skipped)] == ["site/a"]
    assert skipped.lines(str(tmp_path)) == [
        "skipped: 1 DICOM files, or files named like slices, outside any study folder: 0.dcm"
    ]


@pytest.mark.parametrize("depth", [None, 1])
def test_results_below_the_folder_are_no_cases_and_told(tmp_path: Path, depth: int | None):
    make(tmp_path, "a/1.dcm", "own/case-1/seg.dcm", "other/case-1/consensus.nii.gz", "mine/options.json", "mine/1.dcm")
    (tmp_path / "other" / "options.json").write_text('{"case_key_sha256": "x"}')
    skipped = SkippedFiles()
    found = find_entries(tmp_path, depth, skipped, str(tmp_path / "own"))
    assert sorted(entry.name for entry in found) == ["a", "mine"]
    assert skipped.lines(str(tmp_path)) == ["skipped: 2 folders with results of mose-med: other, own"]


def test_a_folder_that_may_not_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make(tmp_path, "a/1.dcm", "closed/1.dcm")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    skipped = SkippedFiles()
    assert [entry.name for entry in find_entries(tmp_path, skipped=skipped)] == ["a"]
    assert skipped.lines(str(tmp_path)) == ["skipped: 1 folders that cannot be listed (no permission): closed"]


def test_the_terminal_is_told_names_and_the_log_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    skipped = SkippedFiles()
    skipped.add(Reason.STRAY, *(str(tmp_path / f"Zyxwvut {n}.xlsx") for n in range(7)))
    with caplog.at_level(logging.INFO):
        skipped.report(str(tmp_path), quiet=False)
    assert caplog.messages == ["skipped: 7 files outside the studies"]
    assert "Zyxwvut 4.xlsx and 2 more" in capfd.readouterr().err


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


def test_columns_of_a_manifest_that_are_ignored_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    read_manifest(manifest(tmp_path, "path,nodule,case\na,n.csv,p-1\n"))
    (message,) = caplog.messages
    assert message.startswith(
        "the manifest has columns that are ignored: nodule; known are path, case, series, nodules,"
    )


def test_a_manifest_may_name_an_acquisition(tmp_path: Path):
    one, two, all_slices = read_manifest(manifest(tmp_path, "path,acquisition\na,1\na,2\nb,\n"))
    assert (one.acquisition, two.acquisition, all_slices.acquisition) == (1, 2, None)
    assert len({one.key, two.key}) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,acquisition\na,x\n", "row 1: acquisition must be a number, got 'x'"),
        ("study\na\n", "must have the column path, got study"),
        ("path,case\n,x\n", "row 1: path must be given"),
        ("path,case\na,../x\n", "row 1: case must be up to 64 letters, digits, '.', '_' and '-', got '../x'"),
        *(
            (f"path,case\na,{name}\n", f"row 1: case must be another name than those of .* files, got '{name}'")
            for name in ("private", "options.json", "Summary.csv", "failed.shard-1-of-2.csv")
        ),
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
