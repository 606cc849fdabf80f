"""Objects of finished studies are sent until they are there."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mose_med.errors import DataError
from pipelines.listen.sending import Sender
from pipelines.listen.spool import Outcome, Spool


class Archive:
    """Takes files, or is down."""

    def __init__(self, name: str = "archive") -> None:
        self.name = name
        self.down = False
        self.taken: list[str] = []

    def store(self, files: Sequence[Path]) -> None:
        if self.down:
            raise DataError("archive cannot be reached")
        self.taken += [file.name for file in files]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A queue with a study that was inferred."""
    spool = Spool(tmp_path / "queue")
    spool.keep("study", "x", b"x")
    spool.complete("study")
    (tmp_path / "results" / "case-1").mkdir(parents=True)
    (tmp_path / "results" / "case-1" / "dicom.json").write_text(json.dumps({"files": ["seg.dcm", "report_sr.dcm"]}))
    spool.settle(spool.waiting()[0], Outcome("case-1", failed=False, sent=False, time=time.time()))
    return spool


def test_every_target_gets_the_objects_once(spool: Spool, tmp_path: Path):
    targets = [Archive("a"), Archive("b")]
    sender = Sender(spool, tmp_path / "results", targets)
    for _ in range(2):
        sender.send()
    assert [target.taken for target in targets] == [["seg.dcm", "report_sr.dcm"]] * 2


def test_what_fails_is_tried_again_later(spool: Spool, tmp_path: Path, hand_clock, caplog: pytest.LogCaptureFixture):
    archive = Archive()
    archive.down = True
    sender = Sender(spool, tmp_path / "results", [archive], hand_clock)
    with caplog.at_level(logging.WARNING):
        sender.send()
        sender.send()
    assert len(caplog.records) == 1
    assert "case-1 was not sent to archive, next attempt in 30 s: archive cannot be reached" in caplog.text
    archive.down = False
    hand_clock.seconds = 31.0
    sender.send()
    assert archive.taken == ["seg.dcm", "report_sr.dcm"]
    assert spool.unsent() == []


def test_an_error_of_another_kind_does_not_end_the_sending(spool: Spool, tmp_path: Path, caplog):
    (tmp_path / "results" / "case-1" / "dicom.json").write_text("Zyxwvut")
    Sender(spool, tmp_path / "results", [Archive()]).send()
    assert "case-1 was not sent to archive, next attempt in 30 s: JSONDecodeError" in caplog.text
    assert "Zyxwvut" not in caplog.text


def test_another_run_sends_what_was_not_sent(spool: Spool, tmp_path: Path):
    archive = Archive()
    Sender(Spool(spool.folder), tmp_path / "results", [archive]).send()
    assert len(archive.taken) == 2


@pytest.mark.parametrize("down", [0, 1])
def test_a_target_that_is_down_keeps_nothing_from_the_others(spool: Spool, tmp_path: Path, hand_clock, down: int):
    targets = [Archive("a"), Archive("b")]
    targets[down].down = True
    sender = Sender(spool, tmp_path / "results", targets, hand_clock)
    for seconds in (0.0, 31.0, 62.0):
        hand_clock.seconds = seconds
        sender.send()
    assert (len(targets[1 - down].taken), len(targets[down].taken)) == (2, 0)
    assert [outcome.sent_to for _, outcome in Spool(spool.folder).unsent()] == [(targets[1 - down].name,)]
    targets[down].down = False
    hand_clock.seconds = 93.0
    sender.send()
    assert [len(target.taken) for target in targets] == [2, 2]
    assert spool.unsent() == []


def test_a_target_that_hangs_holds_up_no_other(spool: Spool, tmp_path: Path):
    hanging, answers = Archive("a"), Archive("b")
    ended, taken = threading.Event(), threading.Event()
    hanging.store = lambda _: ended.wait()
    answers.store = lambda _: taken.set()
    with Sender(spool, tmp_path / "results", [hanging, answers]).running():
        assert taken.wait(10)
    ended.set()


def test_what_was_left_for_a_target_that_is_no_longer_named_is_done(spool: Spool, tmp_path: Path):
    with Sender(spool, tmp_path / "results", []).running():
        assert spool.unsent() == []


def test_a_case_without_objects_is_not_said_to_be_sent(spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "results" / "case-1" / "dicom.json").write_text(json.dumps({"files": []}))
    with caplog.at_level(logging.INFO):
        Sender(spool, tmp_path / "results", [Archive()]).send()
    assert caplog.messages == ["case-1 has no lesion, so there was nothing to send to archive"]
    assert spool.unsent() == []
