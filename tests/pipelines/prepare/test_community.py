from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.data import MultiRaterDataset, load_datalist
from mose_med.errors import ConfigError, DataError
from mose_med.preprocessing import Preprocessing
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.prepare.sources.community import PrepareCommunityOptions, prepare_community


class MakesFolder:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def options(community_slices, write_pickle, tmp_path: Path) -> PrepareCommunityOptions:
    path = write_pickle(community_slices)
    return PrepareCommunityOptions(path, tmp_path / "out", fractions=(0.5, 0.5, 0), quiet=True)


def test_datalist_is_what_training_reads(options: PrepareCommunityOptions, community_slices):
    datalist = load_datalist(prepare_community(options).datalist)
    entries = [entry for part in datalist.parts.values() for entry in part]
    assert (len(entries), datalist.num_raters, "not HU" in datalist.source) == (16, 4, True)
    series = [{entry.series_uid for entry in datalist.parts[part]} for part in ("training", "validation")]
    assert all(series)
    assert not set.intersection(*series)
    preprocessing = Preprocessing(roi_size=(12, 12), standardise=False)
    item = MultiRaterDataset(datalist.part("training"), preprocessing)[1]
    source = community_slices[f"{item['nodule_id']}_slice10"]
    np.testing.assert_allclose(item["image"][0], source["image"].T, atol=1e-6)
    np.testing.assert_array_equal(item["label"], np.stack(source["masks"]).transpose(0, 2, 1))


def test_images_are_kept_as_fractions(options: PrepareCommunityOptions):
    entry = load_datalist(prepare_community(options).datalist).part("training")[0]
    image = nib.load(entry.image)
    assert image.get_data_dtype() == np.float32
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header.get_zooms() == (0.75, 0.5, 1)
    assert entry.z_mm is None


def test_run_again_is_done_at_once(options: PrepareCommunityOptions, caplog):
    first = prepare_community(options)
    with caplog.at_level("INFO"):
        assert prepare_community(options) == first
    assert "is already prepared" in caplog.text
    with pytest.raises(ConfigError, match="was made with undo_mask_offset=False, not True"):
        prepare_community(replace(options, undo_mask_offset=True))


def test_series_are_split_as_the_file_says(options: PrepareCommunityOptions, tmp_path: Path):
    split = tmp_path / "split.csv"
    split.write_text("patient_id,part\n1.2.0,training\n1.2.1,validation\n1.2.2,test\n")
    counts = prepare_community(replace(options, split_csv=split)).counts
    assert counts["slices_by_part"] == {"training": 2, "validation": 2, "test": 2}
    assert counts["left_out"] == {"nodules_not_in_split": 5, "cases_failed": 0}


def test_hdf5_keeps_its_own_parts(write_hdf5, tmp_path: Path):
    path, images, _ = write_hdf5()
    result = prepare_community(PrepareCommunityOptions(path, tmp_path / "out", quiet=True))
    assert result.counts["slices_by_part"] == {"training": 3, "validation": 2, "test": 1}
    entry = load_datalist(result.datalist).part("validation")[1]
    np.testing.assert_allclose(nib.load(entry.image).get_fdata()[:, :, 0], images["val"][1].T + 0.5, atol=1e-6)


def test_series_in_two_parts_are_counted(write_hdf5, tmp_path: Path, caplog):
    path, *_ = write_hdf5(uid="same")
    result = prepare_community(PrepareCommunityOptions(path, tmp_path / "out", quiet=True))
    assert result.counts["series_in_more_than_one_part"] == 1
    assert "1 series are in more than one part" in caplog.text


@pytest.mark.parametrize("wrong", [{"undo_mask_offset": True}, {"split_salt": "x"}])
def test_options_of_the_pickle_are_refused_for_hdf5(wrong: dict[str, object], write_hdf5, tmp_path: Path):
    path, *_ = write_hdf5()
    with pytest.raises(ConfigError, match="leave"):
        PrepareCommunityOptions(path, tmp_path / "out", **wrong)


def test_malicious_pickle_is_refused_and_nothing_written(community_slices, write_pickle, tmp_path: Path, capsys):
    community_slices["0000_slice9"]["image"] = MakesFolder(tmp_path / "made")
    path = write_pickle(community_slices)
    arguments = ["prepare", "community", str(path), "--output-dir", str(tmp_path / "out"), "--quiet"]
    assert invoke(arguments) == ExitCode.BAD_INPUT
    assert "is refused: it names posix.mkdir" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["data_lidc.pickle"]


def test_broken_nodule_ends_the_command_and_leaves_nothing(community_slices, write_pickle, options, tmp_path: Path):
    community_slices["0005_slice9"]["image"][2, 3] = np.nan
    write_pickle(community_slices)
    with pytest.raises(DataError, match=r"0005_slice9: image must be in \[0, 1\]"):
        prepare_community(options)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data_lidc.pickle"]


def test_keep_going_records_the_broken_ones(community_slices, write_pickle, tmp_path: Path):
    community_slices["0005_slice9"]["image"][2, 3] = np.nan
    del community_slices["0006_slice9"]["masks"]
    arguments = ["prepare", "community", str(write_pickle(community_slices)), "--output-dir", str(tmp_path / "out")]
    for _ in range(2):
        assert invoke([*arguments, "--keep-going", "--quiet"]) == ExitCode.SOME_CASES_FAILED
    lines = (tmp_path / "out" / "failed.csv").read_text().splitlines()
    assert lines[0] == "case,error"
    assert [line.split(",")[0] for line in lines[1:]] == ["0005", "0006"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"]["nodules"] == 6
    assert not list((tmp_path / "out" / "nodules").glob("0005*"))


def test_nothing_but_broken_ones_is_refused(community_slices, write_pickle, options):
    for entry in community_slices.values():
        entry["masks"] = None
    write_pickle(community_slices)
    with pytest.raises(ConfigError, match="none of 8 cases can be prepared; the first, 0000: 0000_slice9: masks must"):
        prepare_community(replace(options, keep_going=True))


def test_missing_file_is_named(tmp_path: Path, capsys):
    assert invoke(["prepare", "community", str(tmp_path / "no"), "--output-dir", str(tmp_path / "out")]) == 2
    assert "does not exist: name data_lidc.pickle or data_lidc.hdf5" in capsys.readouterr().err


def test_a_file_of_the_same_size_and_other_content_is_seen(options: PrepareCommunityOptions):
    prepare_community(options)
    content = bytearray(options.file.read_bytes())
    content[-10] ^= 1
    options.file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"was made from other files: {options.file.name} has changed: name another"):
        prepare_community(options)
