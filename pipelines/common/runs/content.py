"""The content of the input of a run, so that a run of the same options does not mistake other data for the same.

Beside the options, in ``private/`` of the output folder, stand size, time of change and SHA-256 of every file. Run
again, a file is read only where its size or its time differs. Where a digest would cost more than the run itself, a
group of files is identified by its names, sizes and times.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.datalist import MANIFEST_NAME
from mose_med.data.datalist import Datalist
from mose_med.errors import ConfigError, DataError
from mose_med.files.hashes import file_sha256
from pipelines.common.case_names import PRIVATE_NAME, private_folder, write_private
from pipelines.common.runs.run_folder import (
    ANY_FILE,
    claim_folder,
    differing_option,
    options_record,
    read_options,
    remedy_for,
)
from pipelines.infer.cohort.finding.fingerprint import file_lines

__all__ = ["CONTENT", "Content", "claim_with_content", "is_note", "remove_note", "require_same_files"]

#: Option that stands for the content of all files.
CONTENT = "content_sha256"
_NOTE_NAME = "input_files.json"


class _Seen(NamedTuple):
    """A file, or a group of files, as it was."""

    size: int
    mtime_ns: int
    sha256: str


class Content:
    """What files hold.

    Args:
        seen: every file or group of files, by name.
        earlier: what an earlier run saw.
    """

    def __init__(self, seen: Mapping[str, _Seen], earlier: Mapping[str, _Seen]) -> None:
        self._seen = dict(sorted(seen.items()))
        self._earlier = earlier

    @classmethod
    def of_files(
        cls,
        output_dir: Path,
        files: Mapping[str, Path],
        known: Mapping[str, str] | None = None,
        beside: Mapping[str, str] | None = None,
    ) -> Content:
        """The content of files, which are read where it is not known.

        Args:
            output_dir: of the run; may have a note of an earlier one.
            files: by name.
            known: SHA-256 of some, by name.
            beside: SHA-256 of other inputs that count, by name.

        Raises:
            DataError: if a file cannot be read.
        """
        earlier = _read_note(output_dir)
        seen = {name: _Seen(0, 0, sha256) for name, sha256 in (beside or {}).items()}
        for name, path in files.items():
            try:
                seen[name] = _seen(path, earlier.get(name), (known or {}).get(name))
            except FileNotFoundError as error:
                raise DataError(
                    f"image {path} does not exist: was the data folder moved, or prepared only in part?"
                ) from error
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}") from error
        return cls(seen, earlier)

    @classmethod
    def of_datalist(cls, output_dir: Path, datalists: Mapping[str, Datalist], parts: Sequence[str]) -> Content:
        """The content of images and masks of datalists, by role; the manifest of a folder lists what it has written."""
        files: dict[str, Path] = {}
        known: dict[str, str] = {}
        for role, datalist in datalists.items():
            root = datalist.root.resolve()
            manifest = _manifest(root)
            for path in {
                path for part in parts for entry in datalist.parts[part] for path in (entry.image, entry.label)
            }:
                inside = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
                files[f"{role}{inside}"] = path
                if inside in manifest and _is_older(path, root / MANIFEST_NAME):
                    known[f"{role}{inside}"] = manifest[inside]
        return cls.of_files(output_dir, files, known)

    @classmethod
    def of_folders(cls, output_dir: Path, folders: Mapping[str, Sequence[Path]]) -> Content:
        """Names, sizes and times of change of all files below folders, none of which is read."""
        seen = {}
        for name, paths in folders.items():
            lines = [line for path in paths for line in sorted(file_lines(str(path)))]
            digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape"))
            seen[name] = _Seen(len(lines), 0, digest.hexdigest())
        return cls(seen, _read_note(output_dir))

    @classmethod
    def of_nothing(cls) -> Content:
        """The content of a run that reads no file."""
        return cls({}, {})

    @property
    def sha256(self) -> str:
        """Hash of all names and their content."""
        content = [(name, seen.sha256) for name, seen in self._seen.items()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def sha256_of(self, name: str) -> str:
        """Hash of one file."""
        return self._seen[name].sha256

    def change(self) -> str | None:
        """Difference from an earlier run, in words; None if there is none, or no earlier run left a note."""
        if not self._earlier:
            return None
        changed = [f"{name} has changed" for name in self._seen.keys() & self._earlier if self._differs(name)]
        changed += [f"{name} is new" for name in self._seen.keys() - self._earlier]
        changed += [f"{name} is gone" for name in self._earlier.keys() - self._seen]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return f"{min(changed)}{more}" if changed else None

    def note(self, output_dir: Path) -> None:
        """Leave a note for later runs."""
        text = json.dumps(self._seen, indent=0)
        write_private(private_folder(output_dir) / _NOTE_NAME, text)

    def _differs(self, name: str) -> bool:
        return self._seen[name].sha256 != self._earlier[name].sha256


def claim_with_content(
    folder: Path,
    options: Mapping[str, Any],
    content: Content,
    *,
    overwrite: bool,
    replace_other: bool = False,
    accept_version: bool | None = None,
    built_beside: bool = False,
    own: Iterable[str] = ANY_FILE,
) -> bool:
    """:func:`~pipelines.common.runs.run_folder.claim_folder` for a run whose result its input's content decides, too.

    Raises:
        ConfigError: if the folder holds something else and may not be overwritten; where that is the content of files
            alone, the first one is named.
    """
    wanted = {**options, CONTENT: content.sha256}
    found, change = read_options(folder), content.change()
    if found is not None and change is not None and not (overwrite or replace_other):
        wanted[CONTENT] = found.get(CONTENT)  # other options are reported before other files
        if differing_option(found, options_record(wanted), accept_version=bool(accept_version)) is None:
            raise _other_files(folder, change, built_beside=built_beside)
    resumed = claim_folder(
        folder,
        wanted,
        overwrite=overwrite,
        replace_other=replace_other,
        accept_version=accept_version,
        built_beside=built_beside,
        own=(f"{PRIVATE_NAME}/{_NOTE_NAME}", *own),
    )
    content.note(folder)
    return resumed


def require_same_files(folder: Path, content: Content) -> None:
    """Refuse input files that are others than those that a folder was made from.

    Raises:
        ConfigError: naming the first.
    """
    change = content.change()
    if change is not None:
        raise _other_files(folder, change)


def _other_files(folder: Path, change: str, *, built_beside: bool = False) -> ConfigError:
    remedy = remedy_for(change, built_beside=built_beside)
    return ConfigError(f"output folder {folder} was made from other files: {change}: {remedy}")


def is_note(path: Path) -> bool:
    """Whether this is a ``private/`` that holds the note of a run and nothing else."""
    return path.name == PRIVATE_NAME and all(_NOTE_NAME in entry.name for entry in path.iterdir())


def remove_note(output_dir: Path) -> None:
    """Remove the ``private/`` of a folder, if it holds the note of a run and nothing else."""
    folder = output_dir / PRIVATE_NAME
    if folder.is_dir() and is_note(folder):
        shutil.rmtree(folder)


def _seen(path: Path, earlier: _Seen | None, known: str | None) -> _Seen:
    status = path.stat()
    size, mtime_ns = status.st_size, status.st_mtime_ns
    if earlier is not None and (size, mtime_ns) == earlier[:2]:
        return earlier
    return _Seen(size, mtime_ns, known or file_sha256(path))


def _is_older(path: Path, manifest: Path) -> bool:
    return path.is_file() and path.stat().st_mtime_ns <= manifest.stat().st_mtime_ns


def _read_note(output_dir: Path) -> dict[str, _Seen]:
    try:
        note = json.loads((output_dir / PRIVATE_NAME / _NOTE_NAME).read_text(encoding="utf-8"))
        return {name: _Seen(*seen) for name, seen in note.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _manifest(root: Path) -> Mapping[str, str]:
    try:
        hashes: dict[str, str] = json.loads((root / MANIFEST_NAME).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return hashes
