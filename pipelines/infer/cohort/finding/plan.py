"""The remaining work of a cohort: cases without a result of the same request, by journal and hash of the result."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

from mose_med.case_contents.maps import PROVENANCE_NAME
from pipelines.infer.cohort.finding.entries import Entry, Shard, find_entries, read_manifest
from pipelines.infer.cohort.finding.fingerprint import fingerprint
from pipelines.infer.cohort.finding.skipped_files import SkippedFiles
from pipelines.infer.cohort.journal import Record
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.store import ResultStore, is_url

__all__ = ["State", "list_entries", "state_of"]


class State(StrEnum):
    """Whether a case is to be done."""

    TO_DO = "to do"
    DONE = "already done"
    FAILED = "failed before"


def list_entries(options: CohortOptions) -> list[Entry]:
    """The cases of this run, sorted by name; what was skipped is reported.

    Raises:
        ConfigError: if the input folder or the manifest cannot be used.
    """
    if options.manifest is not None:
        entries = iter(read_manifest(options.manifest))
        skipped = None
    else:
        skipped = SkippedFiles()
        output = None if is_url(options.output_dir) else options.output_dir.removeprefix("file://")
        entries = find_entries(options.input_dir or Path(), options.case_depth, skipped, output)
    if options.shard is not None:
        entries = filter(Shard.parse(options.shard).holds, entries)
    found = sorted(entries)
    if skipped is not None:
        skipped.report(str(options.input_dir), quiet=options.quiet)
    return found


def state_of(entry: Entry, record: Record | None, store: ResultStore, *, retry_failed: bool) -> State:
    """Whether a case is to be done.

    A case is done if its files and its nodule list are as they were, and the ``provenance.json`` that was written then
    is still there, unchanged. (Options and weights are those of the whole output, or the run is refused.)
    """
    if record is None or record.fingerprint != fingerprint(entry):
        return State.TO_DO
    if record.failed:
        return State.TO_DO if retry_failed else State.FAILED
    provenance = store.read(f"{record.case}/{PROVENANCE_NAME}")
    if provenance is None or hashlib.sha256(provenance).hexdigest() != record.provenance_sha256:
        return State.TO_DO
    return State.DONE
