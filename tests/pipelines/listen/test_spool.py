"""Received studies on disk."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from pipelines.listen.spool import Outcome, Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty queue."""
    return Spool(tmp_path / "queue")


def done(case: str = "case-1", *, failed: bool = False, sent: bool = True) -> Outcome:
    return Outcome(case, failed, sent, time.time())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_complete_waits_with_all_objects(spool: Spool):
    for name in ("x", "y"):
        spool.keep("study", name, name.encode())
    assert spool.waiting() == []
    spool.complete("study")
    (revision,) = spool.waiting()
    assert names(revision.folder) == ["x.dcm", "y.dcm"]
    assert spool.unfinished() == []


def test_only_the_owner_may_look(spool: Spool):
    spool.keep("study", "x", b"x")
    spool.complete("study")
    found = [spool.folder, *spool.folder.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}


def test_half_an_object_never_counts(spool: Spool):
    spool.keep("study", "x", b"x")
    (spool.folder / "study" / "new" / ".y.dcm.1234.tmp").write_bytes(b"ha")
    (spool.folder / "study" / ".r1.tmp").mkdir()
    again = Spool(spool.folder)
    again.complete("study")
    assert names(again.waiting()[0].folder) == ["x.dcm"]
    assert names(spool.folder / "study") == ["new", "r1"]


def test_an_object_that_comes_later_makes_a_revision_with_all_there_was(spool: Spool):
    spool.keep("study", "x", b"x")
    spool.complete("study")
    spool.settle(spool.waiting()[0], done())
    spool.keep("study", "y", b"y")
    spool.complete("study")
    (revision,) = spool.waiting()
    assert (revision.number, names(revision.folder)) == (2, ["x.dcm", "y.dcm"])


def test_a_study_that_is_sent_again_is_not_inferred_but_its_results_are_sent_again(spool: Spool):
    spool.keep("study", "x", b"x")
    spool.complete("study")
    spool.settle(spool.waiting()[0], done())
    spool.keep("study", "x", b"x")
    spool.complete("study")
    assert spool.waiting() == []
    assert [outcome.sent for _, outcome in spool.unsent()] == [False]


def test_a_record_without_targets_is_read(spool: Spool):
    spool.keep("study", "x", b"x")
    spool.complete("study")
    (revision,) = spool.waiting()
    revision.record.write_text('{"case": "case-1", "failed": false, "sent": false, "time": 1.0}')
    assert spool.unsent() == [(revision, Outcome("case-1", failed=False, sent=False, time=1.0, sent_to=()))]


def test_what_is_sent_again_goes_to_every_target(spool: Spool):
    spool.keep("study", "x", b"x")
    spool.complete("study")
    spool.settle(spool.waiting()[0], done()._replace(sent_to=("A",)))
    spool.keep("study", "x", b"x")
    spool.complete("study")
    assert [outcome.sent_to for _, outcome in spool.unsent()] == [()]


def test_an_object_with_other_content_makes_a_revision(spool: Spool):
    for content in (b"old", b"new"):
        spool.keep("study", "x", content)
        spool.complete("study")
    assert [(path / "x.dcm").read_bytes() for path in sorted(spool.folder.glob("study/r*"))] == [b"old", b"new"]


def test_a_run_that_ended_while_it_completed_a_study_does_so_again(spool: Spool):
    spool.keep("study", "x", b"x")
    spool.complete("study")
    os.link(spool.folder / "study" / "r1" / "x.dcm", spool.folder / "study" / "new" / "x.dcm")
    again = Spool(spool.folder)
    assert again.unfinished() == ["study"]
    again.complete("study")
    assert [revision.number for revision in again.waiting()] == [1]


def test_what_failed_is_kept_and_tried_again_when_told(spool: Spool):
    spool.keep("study", "x", b"x")
    spool.complete("study")
    spool.settle(spool.waiting()[0], done(failed=True))
    spool.remove_older(0.0)
    assert spool.waiting() == spool.unsent() == []
    spool.forget(failed_only=True)
    assert len(spool.waiting()) == 1


def test_studies_that_are_still_here_are_inferred_again_when_told(spool: Spool):
    for study in ("here", "gone"):
        spool.keep(study, "x", b"x")
        spool.complete(study)
    here, gone = sorted(spool.waiting(), key=lambda revision: revision.study != "here")
    for revision in (here, gone):
        spool.settle(revision, done())
    shutil.rmtree(gone.folder)
    spool.forget(failed_only=True)
    assert spool.waiting() == []
    spool.forget(failed_only=False)
    assert spool.waiting() == [here]


def test_images_are_removed_once_their_results_are_sent_and_the_time_is_over(spool: Spool):
    spool.keep("study", "x", b"x")
    spool.complete("study")
    (revision,) = spool.waiting()
    spool.settle(revision, done(sent=False))
    spool.remove_older(0.0)
    assert revision.folder.is_dir()
    spool.settle(revision, done())
    spool.remove_older(3600.0)
    assert revision.folder.is_dir()
    spool.remove_older(0.0)
    assert not revision.folder.exists()
    assert spool.num_bytes() == 0


def test_what_comes_after_that_is_a_revision_of_its_own(spool: Spool):
    test_images_are_removed_once_their_results_are_sent_and_the_time_is_over(spool)
    spool.keep("study", "y", b"y")
    spool.complete("study")
    (revision,) = spool.waiting()
    assert (revision.number, names(revision.folder)) == (2, ["y.dcm"])


def test_bytes_of_an_object_count_once(spool: Spool):
    spool.keep("study", "x", b"12345")
    spool.complete("study")
    spool.keep("study", "y", b"123")
    spool.complete("study")
    assert spool.num_bytes() == 8
    assert spool.objects("study") == {"x", "y"}
