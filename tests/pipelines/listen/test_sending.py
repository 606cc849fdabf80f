"""Objects of finished studies are sent until they are there."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mose_med.errors import DataError
from pipelines.listen.sending import Sender
from pipelines.listen.spool import Outcome, Spool


class Archive:
    """Takes files, or is down."""

    name = "archive"

    def __init__(self) -> None:
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
    targets = [Archive(), Archive()]
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
    assert "case-1 was not sent, next attempt in 30 s: archive cannot be reached" in caplog.text
    archive.down = False
    hand_clock.seconds = 31.0
    sender.send()
    assert archive.taken == ["seg.dcm", "report_sr.dcm"]
    assert spool.unsent() == []


def test_an_error_of_another_kind_does_not_end_the_sending(spool: Spool, tmp_path: Path, caplog):
    (tmp_path / "results" / "case-1" / "dicom.json").write_text("Zyxwvut")
    Sender(spool, tmp_path / "results", [Archive()]).send()
    assert "case-1 was not sent, next attempt in 30 s: JSONDecodeError" in caplog.text
    assert "Zyxwvut" not in caplog.text


def test_another_run_sends_what_was_not_sent(spool: Spool, tmp_path: Path):
    archive = Archive()
    Sender(Spool(spool.folder), tmp_path / "results", [archive]).send()
    assert len(archive.taken) == 2
