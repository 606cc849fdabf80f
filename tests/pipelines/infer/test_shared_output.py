"""Two runs of ``mose-med infer`` into one folder: nothing is lost, and no result passes for another."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mose_med.errors import ConfigError
from mose_med.files.run_lock import taking_part
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.run import infer_cohort
from pipelines.infer.output import claimed_output
from pipelines.infer.run import InferOptions, infer
from pipelines.infer.store import FolderStore

INFER = "pipelines.infer.run:finish_case"


@pytest.fixture
def studies(write_study: Callable[..., Path], tmp_path: Path) -> list[Path]:
    return [write_study(tmp_path / "studies" / f"Zyxwvut {n}", seed=n) for n in range(2)]


@pytest.fixture
def options(studies: list[Path], infer_checkpoint: Path, tmp_path: Path) -> InferOptions:
    """Of the second study."""
    return InferOptions(
        studies[1],
        tmp_path / "out",
        checkpoint=infer_checkpoint,
        nodules=studies[1] / "nodules.csv",
        device="cpu",
        threads=1,
        quiet=True,
    )


@pytest.fixture
def first(studies: list[Path], options: InferOptions) -> list[object]:
    """The command for the first study."""
    command: list[object] = ["infer", studies[0], "--nodules", studies[0] / "nodules.csv", "--quiet"]
    command += ["--output-dir", options.output_dir, "--checkpoint", options.checkpoint]
    return [*command, "--device", "cpu", "--threads", 1]


def cases_in_tables(output: Path) -> tuple[list[str], list[str]]:
    """Names in the summary and in the map."""
    tables = []
    for path in (output / "summary.csv", output / "private" / "case_map.csv"):
        with path.open(newline="") as stream:
            tables.append([row["case"] for row in csv.DictReader(stream)])
    return tables[0], tables[1]


def test_a_run_that_fails_leaves_the_finished_case_and_the_map_of_another(hold, first, options: InferOptions):
    program = hold(first, INFER, then="fail")
    done = infer(options)
    before = {path: path.read_bytes() for path in options.output_dir.rglob("*") if path.is_file()}
    assert program.end() == 2
    after = {path: path.read_bytes() for path in options.output_dir.rglob("*") if path.is_file()}
    assert {path for path in before if ".runs" not in path.parts} == set(after)
    assert cases_in_tables(options.output_dir) == ([done.case], [done.case])


def test_a_run_that_fails_leaves_a_folder_where_another_is_at_work(hold, first, options: InferOptions):
    program = hold(first, INFER, then="fail")
    with taking_part(options.output_dir):
        assert program.end() == 2
        assert (options.output_dir / "options.json").is_file()
    infer(options)


def test_two_runs_that_begin_a_folder_at_once_share_key_map_and_tables(hold, first, options: InferOptions):
    program = hold(first, "pipelines.common.runs.run_folder:write_json")
    threading.Timer(1.0, program.let_go).start()
    infer(options)
    assert program.end() == 0
    summary, mapped = cases_in_tables(options.output_dir)
    assert len(set(summary)) == len(set(mapped)) == 2


def test_tables_of_runs_that_end_at_once_have_both(hold, first, options: InferOptions):
    program = hold(first, "pipelines.infer.tables:_summary_columns")  # knows its rows by then
    threading.Timer(1.0, program.let_go).start()
    infer(options)
    assert program.end() == 0
    summary, mapped = cases_in_tables(options.output_dir)
    assert len(set(summary)) == len(set(mapped)) == 2


def test_a_live_run_is_not_overwritten(hold, first, options: InferOptions):
    program = hold(first, INFER)
    replaced = dataclasses.replace(options, samples=2, overwrite=True)
    number = program.pid
    with pytest.raises(ConfigError, match=rf"out cannot be overwritten: it is in use by a run on .* {number}\)"):
        infer(replaced)
    assert program.end() == 0
    infer(replaced)
    assert len(cases_in_tables(options.output_dir)[0]) == 1


@pytest.mark.parametrize("other", [{"samples": 2}, {"checkpoint": "other.pt"}])
def test_a_case_of_other_options_or_weights_is_not_taken_for_done(
    options: InferOptions, tmp_path: Path, other: dict[str, Any], infer_network
):
    """As a run that was not seen might have left it: on a file system without locks, say."""
    from mose_med.checkpoint import read_checkpoint, write_checkpoint

    content = read_checkpoint(options.checkpoint)
    content.model["gating.bias" if "gating.bias" in content.model else next(iter(content.model))].add_(0.1)
    write_checkpoint(tmp_path / "other.pt", content)
    changes = {name: tmp_path / value if name == "checkpoint" else value for name, value in other.items()}
    done = infer(options)
    changed = dataclasses.replace(options, output_dir=tmp_path / "changed", **changes)
    infer(changed)
    shutil.copy(options.output_dir / "private" / "case.key", tmp_path / "changed" / "private")
    record = json.loads((tmp_path / "changed" / "options.json").read_text())
    record.pop("case_key_sha256", None)
    (tmp_path / "changed" / "options.json").write_text(json.dumps(record))
    shutil.copytree(done.folder, tmp_path / "changed" / done.case)
    what = "samples=4, not 2" if "samples" in other else "weights_sha256="
    with pytest.raises(ConfigError, match=rf"{done.case} was made with {what}.*: name another output folder or add"):
        infer(changed)
    assert not infer(dataclasses.replace(changed, overwrite=True)).resumed


def test_what_failed_with_other_options_is_tried_again(cohort: CohortOptions, spoil, write_study, tmp_path: Path):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0", private_dir=tmp_path / "secret")
    study = next(few.input_dir.iterdir())
    (study / "nodules.csv").unlink()
    assert infer_cohort(few) == (2, 0, 1, 0)
    full = dataclasses.replace(few, region="full", overwrite=True)
    assert infer_cohort(dataclasses.replace(full, dry_run=True)).to_do == 3
    assert infer_cohort(full) == (3, 0, 0, 0)


def test_a_forgotten_private_folder_is_refused_by_name(cohort: CohortOptions, tmp_path: Path):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0", private_dir=tmp_path / "secret")
    infer_cohort(few)
    before = sorted(path for path in tmp_path.rglob("*"))
    other = tmp_path / "other"
    for private in (None, other):
        for dry_run in (True, False):
            forgotten = dataclasses.replace(few, private_dir=private, dry_run=dry_run)
            with pytest.raises(ConfigError, match=r"out names its cases with a key that .*private does not have: pass"):
                infer_cohort(forgotten)
    assert sorted(path for path in tmp_path.rglob("*")) == before
    infer_cohort(dataclasses.replace(few, output_dir=str(tmp_path / "out 2"), private_dir=other))
    with pytest.raises(ConfigError, match=r"with a key that .*other/private does not have: pass the --private-dir"):
        infer_cohort(dataclasses.replace(few, private_dir=other))


def test_a_forgotten_private_folder_of_an_earlier_version_is_refused_too(options: InferOptions, tmp_path: Path):
    def as_earlier() -> None:
        record = json.loads((options.output_dir / "options.json").read_text())
        assert len(record.pop("case_key_sha256")) == 64
        (options.output_dir / "options.json").write_text(json.dumps(record))

    infer(options)
    as_earlier()
    assert infer(options).resumed
    as_earlier()
    (options.output_dir / "private").rename(tmp_path / "secret")
    with pytest.raises(ConfigError, match=r"that .* does not have: put back private/case\.key of that folder"):
        infer(options)
    assert not (options.output_dir / "private").exists()


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no ``flock`` and no hard links, and creates a file twice."""
    create: Callable[..., int] = os.open

    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    def never_refuses(path: str, flags: int, mode: int = 0o777, **named: Any) -> int:
        return create(path, flags & ~os.O_EXCL, mode, **named)

    monkeypatch.setattr("fcntl.flock", missing)
    monkeypatch.setattr("os.link", missing)
    monkeypatch.setattr("os.open", never_refuses)


def test_where_nothing_can_lock_shards_write_files_of_their_own(
    without_locks: None, cohort: CohortOptions, leftovers, caplog: pytest.LogCaptureFixture
):
    output = cohort.home
    counts = [infer_cohort(dataclasses.replace(cohort, shard=f"{n}/2")).done for n in (1, 2)]
    assert sum("without locks" in line for line in caplog.messages) == 2
    assert not (output / "summary.csv").exists()
    for n, count in enumerate(counts, start=1):
        for name in (f"summary.shard-{n}-of-2.csv", f"private/case_map.shard-{n}-of-2.csv"):
            with (output / name).open(newline="") as stream:
                assert len(list(csv.DictReader(stream))) == count
    assert infer_cohort(cohort) == (0, 6, 0, 0)
    assert [len(names) for names in cases_in_tables(output)] == [6, 6]
    assert leftovers(output) == []


def test_a_cohort_without_flock_is_as_with_it(monkeypatch: pytest.MonkeyPatch, cohort: CohortOptions, leftovers):
    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0", shard="1/1")
    assert infer_cohort(few) == (3, 0, 0, 0)
    assert [len(names) for names in cases_in_tables(few.home)] == [3, 3]
    assert leftovers(few.home) == []


def test_leftovers_stay_while_another_run_takes_part(options: InferOptions):
    infer(options)
    left = options.output_dir / ".case-1.tmp"
    left.mkdir()
    with taking_part(options.output_dir):
        infer(options)
        assert left.is_dir()
    infer(options)
    assert not left.exists()


def test_a_run_that_ends_beside_another_removes_what_its_killed_workers_left(tmp_path: Path):
    out = tmp_path / "out"
    with taking_part(out):
        with claimed_output(str(out), out, {"seed": 0}, overwrite=False) as output:
            killed = FolderStore(out, output.mark).publish("case-1", overwrite=False)
            killed.__enter__()
            (out / ".case-2.0123abcd.tmp").mkdir()
            assert len(list(out.glob(".case-*.tmp"))) == 2
        assert [path.name for path in out.glob(".case-*.tmp")] == [".case-2.0123abcd.tmp"]


def test_a_shard_beside_another_leaves_the_tables_to_the_last(cohort: CohortOptions):
    def summarised(shard: str) -> int:
        infer_cohort(dataclasses.replace(cohort, shard=shard))
        return len(cases_in_tables(cohort.home)[0])

    first = summarised("1/2")
    with taking_part(cohort.home):
        assert summarised("2/2") == first < 6
        assert len(list(cohort.home.glob("case-*/"))) == 6
        assert len(list((cohort.home / "private" / "journal").glob("2-of-2-*.jsonl"))) == 1
    assert summarised("1/2") == 6
    assert np.unique(cases_in_tables(cohort.home)[1]).size == 6
