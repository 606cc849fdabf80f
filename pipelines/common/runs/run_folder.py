"""Output folders that know which options made them.

A command that is run again with the same options resumes, or returns at once if it has finished. Other options in the
same folder, or another version of this project, are refused with the first difference, unless the folder may be
overwritten or the other version is accepted. A folder that may be overwritten is emptied, and the work is done again;
if that run is stopped, the same command without ``--overwrite`` continues it. Commands that build a folder beside it
keep it until that one is whole: :mod:`pipelines.prepare.folder`.

A folder of another command is always refused, and so is one with a file that the command does not write: neither is
emptied.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Container, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mose_med import __version__
from mose_med.errors import ConfigError
from mose_med.files.run_lock import PLACE_NAME
from mose_med.files.whole_files import write_json

__all__ = [
    "ANY_FILE",
    "COMMAND",
    "KEY_ID",
    "OPTIONS_NAME",
    "claim_folder",
    "command_of",
    "conflict_of",
    "differing_option",
    "emptying_record",
    "files_of",
    "is_emptying",
    "may_be_emptied",
    "options_record",
    "other_version",
    "read_options",
    "remedy_for",
    "require_own_files",
    "require_replaceable",
]

#: Name of the file, inside the folder, that holds the options.
OPTIONS_NAME = "options.json"
#: In the file, but no option: which key names the cases of the folder.
KEY_ID = "case_key_sha256"
#: In the file, but no option: which command made the folder.
COMMAND = "command"
#: Pattern of a command that says nothing of the files that it writes.
ANY_FILE = ("*",)
#: What the file holds while a folder is being emptied, beside the command: no options of any run.
_EMPTYING = "emptying"
#: Records that do not change the result; the batch size, which version 0.1.0 recorded, can change the last bits alone.
_DECIDES_NOTHING = frozenset({KEY_ID, COMMAND, "sw_batch_size"})
#: Commands of records that do not name one, by an option that only they have; the first that fits.
_BY_OPTION = {
    "references": "evaluate",
    "checkpoint_sha256": "evaluate",
    "promote": "retrain",
    "bundle": "train",
    "consensus": "export nnunet",
    "weights_sha256": "infer",
}
_OTHER_COMMAND = "was made by mose-med "
#: Name of this project's version among the options, and the version that did not record it.
_VERSION = "version"
_FIRST_VERSION = "0.1.0"


def claim_folder(
    folder: Path,
    options: Mapping[str, Any],
    *,
    overwrite: bool = False,
    replace_other: bool = False,
    accept_version: bool | None = None,
    built_beside: bool = False,
    own: Iterable[str] = ANY_FILE,
) -> bool:
    """Make ``folder`` the output of a run with these ``options``.

    No other run may do so at the same time: :mod:`mose_med.files.run_lock` sees to that.

    Args:
        folder: created with its parents if it does not exist.
        options: what decides the result; values that JSON can hold.
        overwrite: empty a folder that a run made, whatever its options, so that the work is done again. A folder that
            no run of ours made is never emptied.
        replace_other: empty a folder only if it was made with other options, or if a stopped run was emptying it.
        accept_version: continue in a folder that another version made; None if the command has no option to say so.
        built_beside: what the command says of ``--overwrite``: that it replaces the folder, not that it empties it.
        own: patterns of the files that the command writes, from the folder; a folder with others is never emptied.

    Returns:
        Whether the folder was there already with the same options, so that the run can resume.

    Raises:
        ConfigError: if the folder holds something else and may not be overwritten.
    """
    wanted, own = options_record(options), tuple(own)
    if _is_taken(folder):
        conflict = conflict_of(_record_of(folder), wanted, accept_version=bool(accept_version))
        if conflict is None and not overwrite:
            return True
        if conflict is not None and not may_be_emptied(conflict, overwrite=overwrite or replace_other):
            remedy = remedy_for(conflict, accept_version, built_beside)
            raise ConfigError(f"output folder {folder} {conflict}: {remedy}")
        require_replaceable(folder, options, own)
        _empty(folder, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / OPTIONS_NAME, wanted)
    return False


def require_replaceable(folder: Path, options: Mapping[str, Any], own: Iterable[str]) -> None:
    """Refuse a folder that a run with these options may not empty; nothing is changed.

    Args:
        folder: as in :func:`claim_folder`.
        options: what decides the result.
        own: patterns of the files that the command writes.

    Raises:
        ConfigError: if it is no folder of the command, or holds another file.
    """
    if not _is_taken(folder):
        return
    record = _record_of(folder)
    conflict = conflict_of(record, options_record(options), accept_version=True)
    if conflict is not None and not may_be_emptied(conflict, overwrite=True):
        raise ConfigError(f"output folder {folder} {conflict}: {remedy_for(conflict)}")
    if not is_emptying(record):
        require_own_files(f"output folder {folder}", files_of(folder), own)


def _is_taken(folder: Path) -> bool:
    """Whether a folder holds more than the signs of runs."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output folder {folder} is a file: name another")
    return folder.is_dir() and any(not _is_allowed_in_new_folder(entry.name) for entry in folder.iterdir())


def _record_of(folder: Path) -> bytes:
    record = folder / OPTIONS_NAME
    if not record.is_file():
        raise ConfigError(f"output folder {folder} is not empty and has no {OPTIONS_NAME}: name another")
    return record.read_bytes()


def _is_allowed_in_new_folder(name: str) -> bool:
    """Whether a folder with a file of this name may still be claimed: by a run that is just doing so."""
    return name == PLACE_NAME or name.startswith(f".{OPTIONS_NAME}.")


def may_be_emptied(conflict: str, *, overwrite: bool) -> bool:
    """Whether a folder of other options may be emptied: not if another command made it.

    Args:
        conflict: as :func:`differing_option` says it.
        overwrite: whether the user, or the command, wants it so.
    """
    return overwrite and not conflict.startswith(_OTHER_COMMAND)


def require_own_files(whose: str, files: Iterable[str], own: Iterable[str]) -> None:
    """Refuse to remove a file that no command put into its folder.

    Args:
        whose: the folder, in words.
        files: from the folder, hidden ones apart, which programs leave everywhere.
        own: patterns of files that the command writes there.

    Raises:
        ConfigError: naming the first other file.
    """
    patterns = (OPTIONS_NAME, ".*", "*/.*", *own)
    for name in sorted(files):
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            raise ConfigError(f"{whose} holds {name}, which this command did not put there: move it")


def files_of(folder: Path) -> Iterator[str]:
    """Files and links below a folder, from there."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in (*links, *files))


def _empty(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Remove all but the record, which meanwhile marks the folder as incomplete, and the signs of runs."""
    write_json(folder / OPTIONS_NAME, emptying_record(wanted))
    for entry in (entry for entry in folder.iterdir() if entry.name != PLACE_NAME):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != OPTIONS_NAME:
            entry.unlink()


def conflict_of(record: bytes, wanted: Mapping[str, Any], *, accept_version: bool) -> str | None:
    """How the record of a folder differs from wanted options; None if it does not."""
    found = _read(record)
    if found is None:
        return f"has an unreadable {OPTIONS_NAME}"
    return differing_option(found, wanted, accept_version=accept_version)


def emptying_record(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder holds while it is being emptied for a run."""
    return {_EMPTYING: True} | {name: wanted[name] for name in (COMMAND,) if name in wanted}


def is_emptying(record: bytes) -> bool:
    """Whether a folder of this record was being emptied when a run was stopped."""
    found = _read(record)
    return found is not None and _EMPTYING in found


def _read(record: bytes) -> dict[str, Any] | None:
    """What a record holds; None if it is not readable."""
    try:
        found = json.loads(record)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def options_record(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they are recorded: in plain types, with the version of this project."""
    record: dict[str, Any] = json.loads(json.dumps(options, default=str))
    return record | {_VERSION: __version__}


def read_options(folder: Path) -> dict[str, Any] | None:
    """The record of a folder; None if there is no readable record."""
    try:
        return _read((folder / OPTIONS_NAME).read_bytes())
    except OSError:
        return None


def other_version(folder: Path) -> str | None:
    """The version that made a folder, if it is another than this one; None if it is not, or none has."""
    found = read_options(folder)
    version = __version__ if found is None else str(found.get(_VERSION, _FIRST_VERSION))
    return None if version == __version__ else version


def differing_option(
    found: Mapping[str, Any], wanted: Mapping[str, Any], *, accept_version: bool = False
) -> str | None:
    """How recorded options differ from the wanted ones, by the first that does; None if they are the same.

    Options that only one of two versions has are ignored if another version is accepted.

    Example:
        >>> differing_option({"seed": 0}, {"seed": 1})
        'was made with seed=0, not 1'
        >>> differing_option({"seed": 0}, {"seed": 0, "version": "0.2.0"})
        'was made by version 0.1.0, this is 0.2.0'
        >>> differing_option({"command": "train"}, {"command": "evaluate"})
        'was made by mose-med train, not by mose-med evaluate'
    """
    makers = command_of(found), command_of(wanted)
    if None not in makers and makers[0] != makers[1]:
        return f"{_OTHER_COMMAND}{makers[0]}, not by mose-med {makers[1]}"
    if _EMPTYING in found:
        return "was being emptied when a run was stopped"
    made_by, this = found.get(_VERSION, _FIRST_VERSION), wanted.get(_VERSION, _FIRST_VERSION)
    if made_by != this and not accept_version:
        return f"was made by version {made_by}, this is {this}"
    before, now = (_single(options, _DECIDES_NOTHING | {_VERSION}) for options in (found, wanted))
    for name in sorted(now.keys() | before.keys() if made_by == this else now.keys() & before.keys()):
        if now.get(name) != before.get(name):
            return f"was made with {name}={before.get(name)!r}, not {now.get(name)!r}"
    return None


def command_of(record: Mapping[str, Any]) -> str | None:
    """The command that made a folder with this record; None if it is not known."""
    if COMMAND in record:
        return str(record[COMMAND])
    if "source" in record:
        return f"prepare {str(record['source']).removeprefix('known ')}"
    return next((command for option, command in _BY_OPTION.items() if option in record), None)


def _single(options: Mapping[str, Any], without: Container[str] = ()) -> dict[str, Any]:
    """Options one by one: those within an option are named ``option::name``, as in a config."""
    single: dict[str, Any] = {}
    for name, value in options.items():
        if name in without:
            continue
        if isinstance(value, Mapping) and value:
            single |= {f"{name}::{inner}": content for inner, content in _single(value).items()}
        else:
            single[name] = value
    return single


def remedy_for(conflict: str, accept_version: bool | None = None, built_beside: bool = False) -> str:
    """What a user can do about a conflict.

    Args:
        conflict: as :func:`differing_option` says it.
        accept_version: None if the command cannot accept another version.
        built_beside: whether ``--overwrite`` replaces the folder by one that is built beside it.
    """
    if conflict.startswith(_OTHER_COMMAND):
        return "name another"
    if accept_version is not None and conflict.startswith("was made by version"):
        return "name another, or add --accept-version to continue or --overwrite to empty it and start over"
    return f"name another or add --overwrite, which {'replaces' if built_beside else 'empties'} it"
