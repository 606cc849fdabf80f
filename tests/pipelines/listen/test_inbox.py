"""What comes in is checked and limited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.errors import DataError
from pipelines.listen.completion import Completion
from pipelines.listen.inbox import Inbox, Limits, QueueFullError
from pipelines.listen.spool import Spool

GENEROUS = Limits(10**9, 1000, 10**9, 10)


class Closed:
    """An association that has ended."""

    def is_alive(self) -> bool:
        return False


@pytest.fixture
def objects(write_ct_series: Callable[..., list[Path]], ball_hu, tmp_path: Path) -> list[bytes]:
    """The slices of a study."""
    return [path.read_bytes() for path in write_ct_series(tmp_path / "ct", ball_hu[:4])]


@pytest.fixture
def make_inbox(tmp_path: Path, hand_clock) -> Callable[..., Inbox]:
    """Function that makes an inbox over the same folder."""
    return lambda limits=GENEROUS: Inbox(Spool(tmp_path / "queue"), Completion(10.0, hand_clock), limits)


def test_a_study_is_taken_up_again_by_another_run(make_inbox, objects, hand_clock, tmp_path: Path):
    for content in objects[:2]:
        make_inbox().receive(content, Closed())
    inbox = make_inbox()
    for content in objects[2:]:
        inbox.receive(content, Closed())
    inbox.close_complete()
    hand_clock.seconds = 10.0
    inbox.close_complete()
    (revision,) = Spool(tmp_path / "queue").waiting()
    assert len(list(revision.folder.iterdir())) == 4


def test_no_name_of_a_file_tells_whose_it_is(make_inbox, objects, tmp_path: Path):
    make_inbox().receive(objects[0], Closed())
    told = " ".join(str(path.relative_to(tmp_path)) for path in (tmp_path / "queue").rglob("*"))
    assert "19010203" not in told
    assert "1.2.826" not in told


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (GENEROUS._replace(study_objects=1), "a study has 1 objects already"),
        (GENEROUS._replace(queue_bytes=3000), "bytes are kept already"),
    ],
)
def test_beyond_a_limit_nothing_is_taken(make_inbox, objects, limits: Limits, message: str, tmp_path: Path):
    inbox = make_inbox(limits)
    inbox.receive(objects[0], Closed())
    with pytest.raises(QueueFullError, match=message):
        inbox.receive(objects[1], Closed())
    assert len(list(tmp_path.glob("queue/*/new/*.dcm"))) == 1


def test_an_object_that_is_sent_again_is_no_further_object(make_inbox, objects):
    inbox = make_inbox(GENEROUS._replace(study_objects=4))
    for content in (*objects, *objects):
        inbox.receive(content, Closed())


def test_what_is_no_object_of_a_study_is_refused(make_inbox, objects, edit_dicom, tmp_path: Path):
    with pytest.raises(DataError, match="an object cannot be read"):
        make_inbox().receive(b"no object", Closed())
    path = next((tmp_path / "ct").iterdir())
    edit_dicom(path, StudyInstanceUID="")
    with pytest.raises(DataError, match="an object does not name its study"):
        make_inbox().receive(path.read_bytes(), Closed())
