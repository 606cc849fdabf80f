"""``mose-med listen``: receives studies over DICOM, infers them as a cohort, and sends their objects.

An object is on disk before its sender gets success. Whatever ends the node, the same command resumes with what
is there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from mose_med.files.run_lock import alone_in
from pipelines.common.case_names import case_name
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.run import CohortRun
from pipelines.infer.cohort.workers.preflight import preflight
from pipelines.infer.output import claimed_output
from pipelines.listen.completion import Completion
from pipelines.listen.inbox import Inbox, Limits
from pipelines.listen.options import QUEUE_NAME, ListenOptions
from pipelines.listen.sending import Sender
from pipelines.listen.spool import Outcome, Revision, Spool

if TYPE_CHECKING:
    from pipelines.listen.sending import Target

__all__ = ["listen"]

_LOGGER = logging.getLogger(__name__)
_MB, _GB = 10**6, 10**9
_HOUR_S = 3600.0
#: How often received images are checked for removal.
_TIDY_S = 60.0


def listen(options: ListenOptions) -> None:
    """Answer other nodes and infer what they send, until the process gets a signal to end.

    Raises:
        ConfigError: if an option is invalid, the port is taken, another node has the folder, or the results are of
            other options.
        DataError: if the checkpoint cannot be read.
        MissingDependencyError: if pynetdicom is not installed.
    """
    from pipelines.listen.server import serving

    options.check()
    targets = _targets(options)
    cohort = options.inference
    with alone_in(options.output_dir):
        found = preflight(cohort.weights, cohort.device, cohort.start_timeout_s)
        made_with = cohort.folder_options(found.weights_sha256)
        with claimed_output(
            cohort.output_dir,
            cohort.home,
            made_with,
            overwrite=cohort.overwrite,
            accept_version=cohort.accept_version,
        ) as output:
            node = _Node(options, CohortRun(cohort, output, made_with), output.key, sends=bool(targets))
            sender = Sender(node.spool, cohort.home, targets)
            address = options.host, options.port
            with serving(node.inbox, options.ae_title, address, options.allow_ae_title) as port, sender.running():
                _LOGGER.info("%s listens on %s:%d", options.ae_title, options.host, port)
                node.work(found.devices)


def _targets(options: ListenOptions) -> list[Target]:
    from pipelines.listen.peer import Peer

    targets: list[Target] = [Peer(to.ae_title, to.host, to.port, options.ae_title) for to in options.peers()]
    if options.dicomweb is not None:
        from pipelines.infer.dicomweb import open_archive

        targets.append(open_archive(options.dicomweb, options.ca_bundle))
    return targets


class _Node:
    """Received studies and the run that infers them."""

    def __init__(self, options: ListenOptions, run: CohortRun, key: bytes, *, sends: bool) -> None:
        limits = Limits(
            options.max_object_mb * _MB,
            options.max_study_objects,
            int(options.max_queue_gb * _GB),
            options.max_associations,
        )
        self.spool = Spool(options.output_dir / QUEUE_NAME)
        if options.overwrite or options.retry_failed:
            self.spool.forget(failed_only=not options.overwrite)
        self.inbox = Inbox(self.spool, Completion(options.quiet_s), limits)
        self._run = run
        self._key = key
        self._sends = sends
        self._keep_s = options.keep_hours * _HOUR_S
        self._in_hand: dict[str, Revision] = {}
        self._tables_are_old = True
        self._tidied = time.monotonic()

    def work(self, devices: list[str]) -> None:
        """Infer complete studies until the process ends."""
        num_workers = len(devices) if devices[0] != "cpu" else 1
        try:
            with closing(self._run.finished(self._entries(), devices, num_workers)) as finished:
                for entry, record in finished:
                    revision = self._in_hand.pop(entry.source)
                    sent = record.failed or not self._sends
                    self.spool.settle(revision, Outcome(record.case, record.failed, sent, time.time()))
                    self._tables_are_old = True
                    if not record.failed:
                        _LOGGER.info("%s is done", record.case)
        finally:
            self._run.write_tables()

    def _entries(self) -> Iterator[Entry | None]:
        """Studies as they become complete; None where none is."""
        while True:
            self.inbox.close_complete()
            waiting = [revision for revision in self.spool.waiting() if str(revision.folder) not in self._in_hand]
            if waiting:
                yield self._entry(waiting[0])
                continue
            self._tidy()
            yield None

    def _entry(self, revision: Revision) -> Entry:
        source = str(revision.folder)
        self._in_hand[source] = revision
        name = case_name(self._key, f"study {revision.study}")
        case = name if revision.number == 1 else f"{name}-{revision.number}"
        return Entry(case, source, case=case)

    def _tidy(self) -> None:
        """Clean up while no study waits."""
        if self._tables_are_old and not self._in_hand:
            self._run.refresh_tables()
            self._tables_are_old = False
        if time.monotonic() - self._tidied >= _TIDY_S:
            self._tidied = time.monotonic()
            self.inbox.remove_older(self._keep_s)
