from __future__ import annotations

import contextlib
import csv
import dataclasses
import gzip
import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.errors import ConfigError, DataError, MoseError
from mose_med.io import read_ct
from mose_med.io.case.folder import open_folder
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.common.runs.run_folder import read_options
from pipelines.infer.run import InferOptions, infer

SAMPLES = {f"expert-{k}_samples.nii.gz" for k in (1, 2)}
DEFAULT_MAPS = SAMPLES | {f"{name}.nii.gz" for name in ("probability", "consensus", "entropy")}
ALL_MAPS = DEFAULT_MAPS | {f"expert-{k}_foreground_probability.nii.gz" for k in (1, 2)}
ALL_MAPS |= {"expert_probs.nii.gz", "entropy_between_experts.nii.gz"}
RECORDS = {"lesions.json", "provenance.json", "run.json"}


@pytest.fixture
def options(tmp_path: Path, write_ct_series: Callable[..., list[Path]], ball_hu, infer_checkpoint) -> InferOptions:
    """Inference of a ball in a small DICOM study."""
    write_ct_series(tmp_path / "study", ball_hu, SeriesDescription="Zyxwvut^Planted")
    centre = np.asarray(read_ct(tmp_path / "study").affine) @ [14, 11, 6, 1]
    nodules = tmp_path / "nodules.csv"
    nodules.write_text("nodule_id,x_ras_mm,y_ras_mm,z_ras_mm\nball,{},{},{}\n".format(*centre[:3]))
    return InferOptions(tmp_path / "study", tmp_path / "out", infer_checkpoint, nodules, quiet=True)


def told_of(options: InferOptions, *arguments: str) -> tuple[int, str]:
    """Exit code of the command, and what it tells on either stream, in one line."""
    command = ["infer", str(options.source), "--checkpoint", str(options.checkpoint), "--quiet"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = invoke([*command, "--nodules", str(options.nodules), *arguments])
    return code, " ".join((out.getvalue() or err.getvalue()).split())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def test_a_dicom_study_gives_the_files_of_the_design(options: InferOptions):
    result = infer(options)
    assert {path.name for path in result.folder.iterdir()} == DEFAULT_MAPS | RECORDS
    names = {path.name for path in options.output_dir.iterdir()}
    assert names == {result.case, "summary.csv", "queue.csv", "failed.csv", "private", "options.json"}
    image = read_ct(options.source)
    for name in DEFAULT_MAPS:
        volume = nib.load(result.folder / name)
        assert volume.shape[:3] == tuple(image.shape[1:])
        np.testing.assert_allclose(volume.affine, np.asarray(image.affine), atol=1e-5)


@pytest.mark.parametrize(
    ("kinds", "files"), [(("all",), ALL_MAPS), (("entropy", "masks"), SAMPLES | {"entropy.nii.gz"})]
)
def test_which_maps_are_written_is_the_users_choice_and_is_recorded(options: InferOptions, kinds, files):
    chosen = dataclasses.replace(options, outputs=kinds)
    folder = infer(chosen).folder
    assert {path.name for path in folder.iterdir()} == files | RECORDS
    recorded = read_options(options.output_dir)["outputs"]
    assert recorded == json.loads((folder / "provenance.json").read_text())["options"]["outputs"]
    assert infer(dataclasses.replace(chosen, outputs=tuple(reversed(recorded)))).folder == folder
    with pytest.raises(ConfigError, match="was made with outputs="):
        infer(options)


def test_the_command_takes_outputs_and_refuses_what_is_none(options: InferOptions, capsys: pytest.CaptureFixture[str]):
    command = ["infer", str(options.source), "--output-dir", str(options.output_dir), "--quiet"]
    command += ["--checkpoint", str(options.checkpoint), "--nodules", str(options.nodules)]
    assert invoke([*command, "--outputs", "masks,heat"]) == ExitCode.BAD_INPUT
    assert "outputs must be all, or some of masks" in " ".join(capsys.readouterr().err.split())
    assert invoke([*command, "--outputs", "entropy, masks", "--maps", "full"]) == ExitCode.DONE
    record = read_options(options.output_dir)
    assert (record["outputs"], record["maps"]) == (["masks", "entropy"], "full")


@pytest.mark.parametrize("url", ["s3://bucket/results", "memory://results"])
def test_a_url_as_output_of_one_input_is_refused_with_the_way_out(options: InferOptions, tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, told = told_of(options, "--output-dir", url)
    assert code == ExitCode.BAD_INPUT
    assert f"--output-dir must be a path of this machine, got the URL {url}: one INPUT is written to a folder" in told
    assert "--input-dir and --manifest write to URLs" in told
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_url_and_a_tilde_are_folders(options: InferOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for typed, folder in ((f"file://{tmp_path}/url", tmp_path / "url"), ("~/res", tmp_path / "home" / "res")):
        code, told = told_of(options, "--output-dir", typed, "--json")
        assert (code, json.loads(told)["output"]) == (ExitCode.DONE, str(folder))
        assert (folder / "summary.csv").is_file()


def test_a_case_without_a_map_names_it_and_the_option_that_writes_it(options: InferOptions):
    folder = infer(dataclasses.replace(options, outputs=("masks", "probability", "consensus"))).folder
    with pytest.raises(
        DataError, match=r"lacks entropy\.nii\.gz: run `mose-med infer` again, with entropy in --outputs"
    ):
        open_folder(folder)


def test_a_report_without_the_maps_that_it_shows_is_refused(options: InferOptions):
    with pytest.raises(ConfigError, match="the report shows consensus, entropy: add them to --outputs"):
        infer(dataclasses.replace(options, report=True, outputs=("masks", "probability")))


def test_run_json_tells_how_much_was_looked_at(options: InferOptions):
    folder = infer(dataclasses.replace(options, outputs=("expert_probs",))).folder
    looked = nib.load(folder / "expert_probs.nii.gz").get_fdata().any(axis=-1)
    sides = [int(looked.any(axis=axes).sum()) for axes in ((1, 2), (0, 2), (0, 1))]
    run = json.loads((folder / "run.json").read_text())
    assert (run["windows"], run["region_slices"], run["region_voxels"]) == (sides[2], sides[2], math.prod(sides))


@pytest.mark.parametrize(("codes", "samples"), [("quadrature", 50), ("random", 8)])
def test_the_codes_are_recorded_and_quantiles_say_on_how_many_samples_they_stand(options, codes: str, samples: int):
    folder = infer(dataclasses.replace(options, codes=codes)).folder
    (lesion,) = json.loads((folder / "lesions.json").read_text())["lesions"]
    assert lesion["volume_ml"]["quantile_samples"] == samples
    assert json.loads((folder / "provenance.json").read_text())["options"]["codes"] == codes


def test_other_codes_do_not_join_a_folder(options: InferOptions):
    infer(options)
    with pytest.raises(ConfigError, match="codes"):
        infer(dataclasses.replace(options, codes="random"))


@pytest.mark.parametrize(("maps", "other", "stored"), [("scaled", "full", np.int16), ("full", "scaled", np.float32)])
def test_how_maps_are_stored_is_the_users_choice_and_is_recorded(options: InferOptions, maps, other, stored):
    folder = infer(dataclasses.replace(options, maps=maps)).folder
    assert nib.load(folder / "probability.nii.gz").get_data_dtype() == stored
    for record in (json.loads((folder / "provenance.json").read_text())["options"], read_options(options.output_dir)):
        assert record["maps"] == maps
    with pytest.raises(ConfigError, match=f"was made with maps='{maps}', not '{other}'"):
        infer(dataclasses.replace(options, maps=other))


def test_another_way_to_store_maps_is_refused(options: InferOptions):
    with pytest.raises(ConfigError, match="maps must be scaled or full, got 'half'"):
        infer(dataclasses.replace(options, maps="half"))


def test_lesions_and_summary_agree(options: InferOptions):
    result = infer(options)
    (lesion,) = json.loads((result.folder / "lesions.json").read_text())["lesions"]
    with (options.output_dir / "summary.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["case"], row["lesion"], row["nodule_id"]) == (result.case, "1", "ball")
    assert float(row["volume_mean_ml"]) == lesion["volume_ml"]["mean"]
    assert float(row["p_empty"]) == lesion["p_empty"]
    assert (options.output_dir / "failed.csv").read_text() == "case,stage,reason,advice\n"


def test_nothing_but_private_names_the_patient_or_the_source(options: InferOptions):
    infer(options)
    for path in options.output_dir.rglob("*"):
        if path.is_file() and path.parent.name != "private":
            content = path.read_bytes()
            content += gzip.decompress(content) if path.suffix == ".gz" else b""
            for planted in (b"Zyxwvut", b"19010203", bytes(options.source.parent), b"1.2.826"):
                assert planted not in content, f"{path.name} holds {planted!r}"
    private = options.output_dir / "private"
    assert private.stat().st_mode & 0o777 == 0o700
    assert "Zyxwvut" in (private / "case_map.csv").read_text()


def test_provenance_tells_what_made_the_result(options: InferOptions):
    provenance = json.loads((infer(options).folder / "provenance.json").read_text())
    assert provenance["options"]["seed"] == 0
    assert provenance["environment"]["device"] in ("cpu", "cuda")
    assert len(provenance["options"]["weights_sha256"]) == len(provenance["request"]["input_sha256"]) == 64
    assert provenance["input"]["shape"] == [26, 24, 13]
    assert provenance["input"]["orientation"] == "LPS"
    assert provenance["model"]["preprocessing"]["roi_size"] == [16, 16]
    assert {"mose-med", "torch", "monai"} <= set(provenance["versions"])


@pytest.mark.parametrize("form", ["compact", "standard"])
def test_the_same_options_give_the_same_bytes(options: InferOptions, form):
    results = [
        infer(dataclasses.replace(options, output_dir=options.output_dir / name, form=form)) for name in ("a", "b")
    ]
    first, second = (contents(result.folder) for result in results)
    assert first == second
    assert results[0].case != results[1].case
    assert ("samples.nii.gz" in first) == (form == "standard")


def test_a_nifti_volume_gives_the_same_as_its_dicom_study(options: InferOptions, tmp_path: Path):
    image = read_ct(options.source)
    nib.save(nib.Nifti1Image(image.numpy()[0], np.asarray(image.affine)), tmp_path / "ct.nii.gz")
    nifti = infer(dataclasses.replace(options, source=tmp_path / "ct.nii.gz", output_dir=tmp_path / "nifti"))
    np.testing.assert_allclose(
        nib.load(nifti.folder / "probability.nii.gz").get_fdata(),
        nib.load(infer(options).folder / "probability.nii.gz").get_fdata(),
        atol=1e-6,
    )


def test_a_second_run_finds_itself_done(options: InferOptions):
    first = infer(options)
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    again = infer(options)
    assert (first.resumed, again.resumed) == (False, True)
    assert {path: path.stat().st_mtime_ns for path in again.folder.iterdir()} == before


def test_other_options_are_refused_unless_results_may_be_replaced(options: InferOptions):
    infer(options)
    other = dataclasses.replace(options, samples=2)
    with pytest.raises(ConfigError, match="was made with samples=4, not 2"):
        infer(other)
    result = infer(dataclasses.replace(other, overwrite=True))
    assert nib.load(result.folder / "expert-1_samples.nii.gz").shape[-1] == 2


def test_overwrite_with_the_same_options_infers_again_and_leaves_other_cases(
    options: InferOptions, write_ct_series, ball_hu
):
    first = infer(options)
    write_ct_series(options.source.parent / "second", ball_hu)
    other = infer(dataclasses.replace(options, source=options.source.parent / "second"))
    before = {case: (case.folder / "run.json").stat().st_mtime_ns for case in (first, other)}
    (first.folder / "consensus.nii.gz").write_bytes(b"damaged")
    again = infer(dataclasses.replace(options, overwrite=True))
    assert (again.resumed, again.folder) == (False, first.folder)
    assert nib.load(again.folder / "consensus.nii.gz").shape
    assert (other.folder / "run.json").stat().st_mtime_ns == before[other]


def test_other_nodules_of_a_case_are_refused_unless_results_may_be_replaced(options: InferOptions):
    first = infer(options)
    options.nodules.write_text(options.nodules.read_text().replace("ball", "other"))
    with pytest.raises(ConfigError, match=f"{first.case} was made with different nodules"):
        infer(options)
    infer(dataclasses.replace(options, overwrite=True))
    assert "other" in (first.folder / "lesions.json").read_text()


def test_another_study_joins_the_folder(options: InferOptions, write_ct_series, ball_hu):
    first = infer(options)
    write_ct_series(options.source.parent / "second", ball_hu)
    second = infer(dataclasses.replace(options, source=options.source.parent / "second"))
    with (options.output_dir / "summary.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == sorted([first.case, second.case])


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("provenance.json", "{", "is damaged"),
        ("provenance.json", "[]", "is damaged"),
        ("provenance.json", "{}", "is damaged"),
        ("lesions.json", "", "is damaged"),
        ("lesions.json", "{}", "is damaged"),
        ("lesions.json", None, "is missing"),
        ("expert-2_samples.nii.gz", None, "is missing"),
    ],
)
def test_a_damaged_case_is_not_taken_for_done_and_can_be_replaced(options: InferOptions, name, content, fault):
    done = infer(options)
    if content is None:
        (done.folder / name).unlink()
    else:
        (done.folder / name).write_text(content)
    advice = "remove the folder of the case and infer it again, or add --overwrite"
    with pytest.raises(DataError, match=re.escape(f"{done.case}/{name} {fault}: {advice}")):
        infer(options)
    again = infer(dataclasses.replace(options, overwrite=True))
    assert {path.name for path in again.folder.iterdir()} == DEFAULT_MAPS | RECORDS


def test_a_run_json_that_is_cut_does_not_hold_up_overwriting(options: InferOptions):
    done = infer(options)
    (done.folder / "run.json").write_text("{")
    assert not infer(dataclasses.replace(options, overwrite=True)).resumed
    (done.folder / "run.json").unlink()
    with pytest.raises(DataError, match=r"run\.json is missing: remove the folder"):
        infer(dataclasses.replace(options, profile=True))


@pytest.mark.parametrize("content", ["", '{"lesions": [{"les'])
def test_a_damaged_case_does_not_hold_up_another_study(
    options: InferOptions, write_ct_series, ball_hu, content: str, caplog: pytest.LogCaptureFixture
):
    damaged = infer(options)
    (damaged.folder / "lesions.json").write_text(content)
    write_ct_series(options.source.parent / "second", ball_hu)
    second = infer(dataclasses.replace(options, source=options.source.parent / "second"))
    for table in ("summary.csv", "queue.csv"):
        with (options.output_dir / table).open(newline="") as stream:
            assert [row["case"] for row in csv.DictReader(stream)] == [second.case]
    assert f"{damaged.case} has no rows in the tables: {damaged.case}/lesions.json is damaged" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": Path("absent.pt")}, r"checkpoint absent.pt does not exist"),
        ({"nodules": None}, "no lungs were found in the image"),
        ({"nodules": None, "overlap": 1.0}, "overlap must be >= 0 and < 1, got 1.0"),
        ({"nodules": None, "lesion_threshold": 1.5}, "lesion_threshold must be > 0 and < 1, got 1.5"),
        ({"nodules": None, "min_lesion_ml": -1.0}, "min_lesion_ml must be >= 0, got -1.0"),
        ({"nodules": None, "region": "liver"}, "region must be lungs or full, got 'liver'"),
        ({"lung_mask": Path("m.nii")}, "--lung-mask applies only to --region lungs, got --nodules: give one of them"),
        ({"nodules": None, "lung_mask": Path("m.nii")}, "m.nii does not exist"),
        ({"nodules": Path("absent.csv")}, r"nodule list absent.csv does not exist"),
        ({"source": Path("absent")}, "absent does not exist"),
        ({"series": "9.9"}, r"no CT series '9.9' in the input"),
        ({"samples": 0}, "samples must be >= 1, got 0"),
        ({"codes": "sobol"}, "codes must be quadrature or random, got 'sobol'"),
        ({"threads": 0}, "threads must be >= 1, got 0"),
        ({"depth_mm": -1.0}, "depth_mm must be >= 0, got -1.0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"form": "dense"}, "form must be compact or standard, got 'dense'"),
        ({"device": "tpu"}, "device must be auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:9"}, "device cuda:9 does not exist"),
    ],
)
def test_bad_input_leaves_nothing_behind(options: InferOptions, changes, message):
    with pytest.raises(MoseError, match=message) as caught:
        infer(dataclasses.replace(options, **changes))
    assert "\n" not in str(caught.value)
    assert not options.output_dir.exists()


def test_a_nodule_outside_leaves_nothing_behind(options: InferOptions):
    options.nodules.write_text("x_ras_mm,y_ras_mm,z_ras_mm\n0,0,900\n")
    with pytest.raises(DataError, match=r"nodule 1 at \(0.0, 0.0, 900.0\) mm RAS lies outside the image"):
        infer(options)
    assert not options.output_dir.exists()


@pytest.mark.parametrize("existed", [False, True])
def test_a_crash_leaves_nothing_behind(options: InferOptions, monkeypatch, existed):
    def crash(*_args: object, **_kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("mose_med.api.writers.write_case", crash)
    if existed:
        options.output_dir.mkdir()
    with pytest.raises(OSError, match="disk full"):
        infer(options)
    assert options.output_dir.exists() == existed
    assert not existed or not any(options.output_dir.iterdir())
