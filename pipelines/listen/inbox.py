"""Received objects: checked, stored on disk and counted, until their study is complete."""

from __future__ import annotations

import io
import logging
import threading
from typing import NamedTuple

import pydicom
from pydicom.errors import InvalidDicomError

from mose_med.errors import DataError
from pipelines.listen.completion import Association, Completion
from pipelines.listen.spool import Spool

__all__ = ["Inbox", "Limits", "QueueFullError"]

_LOGGER = logging.getLogger(__name__)
_TAGS = ["StudyInstanceUID", "SOPInstanceUID"]


class QueueFullError(Exception):
    """The limit of a study or of the node is reached."""


class Limits(NamedTuple):
    """Upper limits of what is accepted.

    Attributes:
        object_bytes: of one object.
        study_objects: of one study.
        queue_bytes: of all that is kept.
        associations: that are open at once.
    """

    object_bytes: int
    study_objects: int
    queue_bytes: int
    associations: int


class Inbox:
    """Takes objects of several associations at once.

    Args:
        spool: where they are kept.
        completion: the rule that says when a study is complete.
        limits: of what is taken.
    """

    def __init__(self, spool: Spool, completion: Completion, limits: Limits) -> None:
        self.limits = limits
        self._spool = spool
        self._completion = completion
        self._lock = threading.Lock()
        self._num_bytes = spool.num_bytes()
        self._objects: dict[str, set[str]] = {}
        for study in spool.unfinished():
            completion.received(study)

    def receive(self, content: bytes, association: Association) -> None:
        """Keep an object, a whole DICOM file; it is on the disk when this returns.

        Raises:
            DataError: if it does not name its study.
            QueueFullError: if a limit is reached.
        """
        study, instance = _named(content)
        with self._lock:
            if study not in self._objects:
                self._objects[study] = self._spool.objects(study)
            objects = self._objects[study]
            if len(objects | {instance}) > self.limits.study_objects:
                raise QueueFullError(f"a study has {len(objects)} objects already")
            if self._num_bytes + len(content) > self.limits.queue_bytes:
                raise QueueFullError(f"{self._num_bytes} bytes are kept already")
            self._spool.keep(study, instance, content)
            objects.add(instance)
            self._num_bytes += len(content)
            self._completion.received(study, association)

    def close_complete(self) -> None:
        """Make revisions of the studies that are complete."""
        with self._lock:
            for study in self._completion.take_complete():
                self._spool.complete(study)
                self._objects.pop(study, None)
                _LOGGER.info("a study is complete")

    def remove_older(self, seconds: float) -> None:
        """Remove what was done that long ago."""
        with self._lock:
            self._spool.remove_older(seconds)
            self._num_bytes = self._spool.num_bytes()


def _named(content: bytes) -> tuple[str, str]:
    """Names of the study and of the object."""
    try:
        header = pydicom.dcmread(io.BytesIO(content), specific_tags=list(_TAGS), stop_before_pixels=True)
        uids = [str(header[tag].value) for tag in _TAGS]
    except (InvalidDicomError, KeyError, ValueError, EOFError) as error:
        raise DataError(f"an object cannot be read ({type(error).__name__})") from error
    if not all(uids):
        raise DataError("an object does not name its study")
    study, instance = map(Spool.name_of, uids)
    return study, instance
