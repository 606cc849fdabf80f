"""The output that runs of ``mose-med infer`` share: its claim, its key, and its cleaning up.

One study, a cohort and a shard do the same: they take part in the output folder, and claim it, enter cases into
the map, write tables and clean up under its lock (:mod:`mose_med.files.run_lock`).
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mose_med.errors import ConfigError
from mose_med.files.run_lock import PLACE_NAME, RunLock, taking_part
from pipelines.common.case_names import KEY_NAME, PRIVATE_NAME, case_key, has_case_key, key_id
from pipelines.common.runs.run_folder import KEY_ID, OPTIONS_NAME
from pipelines.infer.store import FolderStore, ResultStore, open_store

__all__ = ["Output", "claimed_output", "require_key"]


class Output(NamedTuple):
    """A claimed output.

    Attributes:
        store: of the cases.
        key: of the hash that names them.
        mark: in the names of temporary files of this run.
        runs: that share the output.
        map_runs: that share its private folder.
    """

    store: ResultStore
    key: bytes
    mark: str
    runs: RunLock
    map_runs: RunLock


@contextmanager
def claimed_output(
    location: str,
    home: Path,
    options: Mapping[str, Any],
    *,
    overwrite: bool,
    accept_version: bool = False,
    keep_claim: bool = True,
    many: bool = True,
) -> Iterator[Output]:
    """Take part in an output; what killed runs left half done is removed when no other run is there.

    Args:
        location: folder or URL.
        home: folder that has ``private/``.
        options: that all cases have in common.
        overwrite: empty an output that was made with other options; one of the same options stays.
        accept_version: continue in an output that another version made.
        keep_claim: keep the claim of a new output if this run fails before anything was done there.
        many: the run is of many cases, and can have its private folder elsewhere.

    Raises:
        ConfigError: if the output holds results of other options or of another key, or may not be emptied now.
    """
    store = open_store(location)
    with ExitStack() as stack:
        map_runs = runs = stack.enter_context(taking_part(home))
        if isinstance(store, FolderStore) and store.folder.resolve() != home.resolve():
            runs = stack.enter_context(taking_part(store.folder))
        resumed, mark = True, secrets.token_hex(4)
        try:
            with runs.locked() as alone:
                resumed = _claim(
                    store, home, options, runs, overwrite=overwrite, accept_version=accept_version, many=many
                )
                output = Output(store, case_key(home), mark, runs, map_runs)
                _record_key(store, output.key)
                if alone:
                    store.clean()
            yield output
        except BaseException:
            if not (resumed or keep_claim):
                _withdraw(home, runs)
            raise
        finally:
            with runs.locked() as alone:
                store.clean("" if alone else mark)


def require_key(store: ResultStore, home: Path, *, many: bool = True) -> None:
    """Refuse a private folder without the key that names the cases of an output.

    Args:
        store: of the cases.
        home: folder that has ``private/``.
        many: the run can have its private folder elsewhere.

    Raises:
        ConfigError: if the output has cases, or has had, of another key.
    """
    if store.read(OPTIONS_NAME) is None:
        return
    known = _recorded(store).get(KEY_ID)
    same = known in (None, key_id(case_key(home))) if has_case_key(home) else known is None and not store.cases()
    if not same:
        back = f"put back {PRIVATE_NAME}/{KEY_NAME} of that folder"
        raise ConfigError(
            f"output {store} names its cases with a key that {home / PRIVATE_NAME} does not have: "
            f"{'pass the --private-dir of earlier runs' if many else back}, or name another output"
        )


def _claim(
    store: ResultStore,
    home: Path,
    options: Mapping[str, Any],
    runs: RunLock,
    *,
    overwrite: bool,
    accept_version: bool,
    many: bool,
) -> bool:
    """Claim the output; whether it was so before."""
    if store.conflict(options, accept_version=accept_version) is None:
        require_key(store, home, many=many)
    elif overwrite and (others := runs.others()):
        raise ConfigError(f"output {store} cannot be overwritten: it is in use by {others[0]}")
    return store.claim(options, overwrite=overwrite, accept_version=accept_version)


def _record_key(store: ResultStore, key: bytes) -> None:
    """Record which key names the cases, without revealing it."""
    record = _recorded(store)
    if KEY_ID not in record:
        store.write(OPTIONS_NAME, (json.dumps(record | {KEY_ID: key_id(key)}, indent=2) + "\n").encode())


def _recorded(store: ResultStore) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(store.read(OPTIONS_NAME) or b"{}")
    return record


def _withdraw(folder: Path, runs: RunLock) -> None:
    """Remove the claim of a folder if no other run is there and none has done anything."""
    private = folder / PRIVATE_NAME
    claim = [folder / OPTIONS_NAME, private / KEY_NAME]
    with contextlib.suppress(OSError), runs.locked() as alone:
        found = {*folder.iterdir(), *private.iterdir()} - {folder / PLACE_NAME, private}
        if alone and found <= set(claim):
            for path in claim:
                path.unlink(missing_ok=True)
            private.rmdir()
