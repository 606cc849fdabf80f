"""Received studies on disk. They are complete objects, and survive any end of the node.

    <study>/new/<object>.dcm    received since the study was last complete
    <study>/r1/<object>.dcm     the complete study; r2 and so on where more of it came later, each with all there was
    <study>/r1.json             what became of it; without this file it is still to be inferred

Studies and objects are named by hashes of their UIDs. Folders and files may be read by their owner alone.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mose_med.files.whole_files import keep_as, written_whole

__all__ = ["Outcome", "Revision", "Spool"]

_REVISION = re.compile(r"r(\d+)")


class Revision(NamedTuple):
    """A complete study as it is to be inferred."""

    study: str
    number: int
    folder: Path

    @property
    def record(self) -> Path:
        """File with its outcome."""
        return self.folder.with_name(f"{self.folder.name}.json")


class Outcome(NamedTuple):
    """The outcome of a revision.

    Attributes:
        case: its name in the results.
        failed: it could not be inferred.
        sent: its objects are where they are to go.
        time: seconds since the epoch.
        sent_to: names of the targets that have them already; not in records of version 0.1.0.
    """

    case: str
    failed: bool
    sent: bool
    time: float
    sent_to: tuple[str, ...] = ()


class Spool:
    """The folder of received studies; one node at a time may use it.

    Args:
        folder: made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for left_over in [*folder.glob("*/new/.*.tmp"), *folder.glob("*/.r*.tmp")]:
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()

    @staticmethod
    def name_of(uid: str) -> str:
        """The name that a study or an object has here."""
        return hashlib.sha256(uid.encode()).hexdigest()[:32]

    def keep(self, study: str, instance: str, content: bytes) -> None:
        """Write an object; it is on the disk when this returns."""
        new = self.folder / study / "new"
        for folder in (new.parent, new):
            folder.mkdir(mode=0o700, exist_ok=True)
        with written_whole(new / f"{instance}.dcm", durable=True) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)

    def objects(self, study: str) -> set[str]:
        """Names of the objects that there are of a study."""
        latest = self._latest(study)
        folders = [self.folder / study / "new", *([latest.folder] if latest else [])]
        return {path.stem for folder in folders for path in folder.glob("*.dcm")}

    def num_bytes(self) -> int:
        """Bytes of all objects; an object of several revisions counts once."""
        found = (path.stat() for path in self.folder.glob("*/*/*.dcm"))
        return sum({status.st_ino: status.st_size for status in found}.values())

    def unfinished(self) -> list[str]:
        """Studies of which objects came that are in no revision."""
        return [path.parent.name for path in self.folder.glob("*/new") if any(path.iterdir())]

    def complete(self, study: str) -> None:
        """Make a revision of all that there is of a study.

        Where all of it was received before, there is none: results that were made are sent again.
        """
        new, latest = self.folder / study / "new", self._latest(study)
        if latest is not None and all(_same(path, latest.folder / path.name) for path in new.iterdir()):
            outcome = self.outcome(latest)
            if outcome is not None and not outcome.failed:
                self.settle(latest, outcome._replace(sent=False, sent_to=()))
        else:
            self._make_revision(study, new, latest)
        for path in new.iterdir():
            path.unlink()

    def _make_revision(self, study: str, new: Path, latest: Revision | None) -> None:
        number = max((revision for revision, _ in self._numbers(study)), default=0) + 1
        temporary = new.with_name(f".r{number}.tmp")
        temporary.mkdir(mode=0o700)
        for folder in ([latest.folder] if latest else []) + [new]:
            for path in folder.iterdir():
                keep_as(path, temporary / path.name)
        temporary.rename(new.with_name(f"r{number}"))

    def waiting(self) -> list[Revision]:
        """Revisions that are still to be inferred, the earliest first."""
        waiting = [revision for revision in self._revisions() if not revision.record.exists()]
        return sorted(waiting, key=lambda revision: revision.folder.stat().st_mtime)

    def unsent(self) -> list[tuple[Revision, Outcome]]:
        """Revisions that were inferred and whose objects are still to be sent."""
        return [(revision, outcome) for revision, outcome in self._settled() if not (outcome.failed or outcome.sent)]

    def outcome(self, revision: Revision) -> Outcome | None:
        """The outcome of a revision; None if it is still to be inferred."""
        if not revision.record.exists():
            return None
        outcome = Outcome(**json.loads(revision.record.read_text(encoding="utf-8")))
        return outcome._replace(sent_to=tuple(outcome.sent_to))

    def settle(self, revision: Revision, outcome: Outcome) -> None:
        """Record what became of a revision."""
        with written_whole(revision.record, durable=True) as temporary:
            temporary.write_text(json.dumps(outcome._asdict()) + "\n", encoding="utf-8")

    def forget(self, *, failed_only: bool) -> None:
        """Let revisions be inferred again whose objects are still here: those that failed, or all."""
        for revision, outcome in self._settled():
            if outcome.failed or not failed_only:
                revision.record.unlink()

    def remove_older(self, seconds: float) -> None:
        """Remove objects of studies that were inferred, and sent, at least that long ago; their records stay."""
        for revision, outcome in list(self._settled()):
            if not outcome.failed and outcome.sent and time.time() - outcome.time >= seconds:
                shutil.rmtree(revision.folder)

    def _settled(self) -> Iterator[tuple[Revision, Outcome]]:
        for revision in self._revisions():
            outcome = self.outcome(revision)
            if outcome is not None:
                yield revision, outcome

    def _revisions(self) -> Iterator[Revision]:
        for study in sorted(self.folder.iterdir()):
            yield from self._present(study.name)

    def _present(self, study: str) -> Iterator[Revision]:
        for number, path in self._numbers(study):
            if path.is_dir():
                yield Revision(study, number, path)

    def _latest(self, study: str) -> Revision | None:
        return max(self._present(study), key=lambda revision: revision.number, default=None)

    def _numbers(self, study: str) -> Iterator[tuple[int, Path]]:
        """Numbers of revisions, of those too whose objects were removed, and their folders or records."""
        folder = self.folder / study
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            match = _REVISION.fullmatch(path.name.removesuffix(".json"))
            if match is not None:
                yield int(match[1]), path


def _same(path: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(path, other, shallow=False)
