"""The command line of ``mose-med infer`` with many cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from mose_med.files.hashes import file_sha256
from mose_med.options import declared_options
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.common.runs.run_folder import claim_folder
from pipelines.infer.cohort.options import CohortOptions


@pytest.fixture
def infer(cohort: CohortOptions, capsys: pytest.CaptureFixture[str]):
    """Function that runs the command with options and returns its exit code and what it told, on one line."""

    def run(*arguments: object) -> tuple[int, str]:
        shared = ["--output-dir", cohort.output_dir, "--checkpoint", cohort.checkpoint, "--device", "cpu"]
        code = invoke(["infer", *map(str, [*arguments, *shared])])
        return code, " ".join(capsys.readouterr().err.split())

    return run


@pytest.mark.parametrize("given", [[], ["study", "--input-dir", "a"], ["--input-dir", "a", "--manifest", "b"]])
def test_exactly_one_kind_of_input_is_taken(infer, given):
    code, told = infer(*given)
    assert code == ExitCode.BAD_INPUT
    assert told.endswith("give exactly one of INPUT, --dicomweb, --input-dir and --manifest")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["study", "--workers", 2], "--workers applies only to --input-dir or --manifest, not to one INPUT"),
        (["study", "--case-timeout", 9], "--case-timeout applies only to --input-dir or --manifest, not to one INPUT"),
        (["--input-dir", "a", "--nodules", "n.csv"], "--nodules applies only to one INPUT: give it for each case"),
        (["--input-dir", "a", "--series", "1.2"], "--series applies only to one INPUT: give it for each case"),
        (["--input-dir", "absent"], "input folder absent does not exist"),
        (["--input-dir", ".", "--shard", "3/2"], "shard must be i/n with 1 <= i <= n, got '3/2'"),
        (["--input-dir", ".", "--gpu-share", 0], "0 is not in the range 0<x<=1."),
        (["--input-dir", ".", "--case-timeout", 0], "0 is not in the range 0<x."),
        (["--input-dir", ".", "--start-timeout", 0], "0 is not in the range 0<x."),
    ],
)
def test_options_that_do_not_fit_are_refused_and_leave_nothing(infer, cohort: CohortOptions, given, message):
    code, told = infer(*given)
    assert code == ExitCode.BAD_INPUT
    assert message in told
    assert not Path(cohort.output_dir).exists()


def test_an_empty_folder_is_refused(infer, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    code, told = infer("--input-dir", tmp_path / "empty")
    assert (code, "name a folder with CT studies" in told) == (ExitCode.BAD_INPUT, True)


def test_a_dry_run_counts_and_writes_nothing(infer, cohort: CohortOptions):
    (next(cohort.input_dir.glob("*/*")) / "nodules.csv").unlink()
    code, told = infer("--input-dir", cohort.input_dir, "--dry-run")
    assert code == ExitCode.DONE
    assert "6 cases: 6 to do, 0 already done, 0 failed before" in told
    assert "have no nodule list: --region says what is searched" in told
    assert not Path(cohort.output_dir).exists()


def test_a_dry_run_is_refused_where_the_run_would_be(infer, cohort: CohortOptions):
    claim_folder(Path(cohort.output_dir), cohort.folder_options(file_sha256(cohort.weights)))
    assert infer("--input-dir", cohort.input_dir, "--dry-run")[0] == ExitCode.DONE
    code, told = infer("--input-dir", cohort.input_dir, "--dry-run", "--samples", 2)
    assert code == ExitCode.BAD_INPUT
    assert "output was made with samples=4, not 2: name another or add --overwrite" in told
    assert infer("--input-dir", cohort.input_dir, "--dry-run", "--samples", 2, "--overwrite")[0] == ExitCode.DONE


@pytest.mark.slow
def test_a_failed_case_ends_with_exit_code_1(infer, cohort: CohortOptions, spoil):
    spoil(next(cohort.input_dir.glob("*/*")))
    code, _ = infer("--input-dir", cohort.input_dir, "--workers", 1)
    assert code == ExitCode.SOME_CASES_FAILED


def test_a_tilde_is_the_home_of_the_user_and_a_url_stays(infer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (kind,) = (each for each in declared_options(CohortOptions) if each.field == "output_dir")
    parse = kind.option.parse
    assert [parse("~/res"), parse("s3://b/res"), parse("file:///res"), parse("res")] == [
        str(tmp_path / "home" / "res"),
        "s3://b/res",
        "/res",
        "res",
    ]
