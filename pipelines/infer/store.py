"""Destination of case folders: a folder, or a location that fsspec reaches (``s3://``, ``gs://``, ``memory://``).

A case is complete or absent. In a folder it is written under a temporary name and renamed. Object storage has no
renaming: a case's files are uploaded one by one, each whole, and ``provenance.json`` last; a case without it counts as
not there, and is uploaded again.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import secrets
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mose_med.case_contents.maps import PROVENANCE_NAME
from mose_med.errors import ConfigError, MissingDependencyError
from mose_med.files.file_tree import is_folder
from mose_med.files.whole_files import folder_written_whole
from pipelines.common.case_names import PRIVATE_NAME
from pipelines.common.runs.run_folder import (
    OPTIONS_NAME,
    claim_folder,
    conflict_of,
    emptying_record,
    is_emptying,
    may_be_emptied,
    options_record,
    remedy_for,
    require_own_files,
)

__all__ = ["Destination", "FolderStore", "ResultStore", "UrlStore", "is_url", "open_store"]

_TEMPORARY_SUFFIX = ".tmp"


class Destination(NamedTuple):
    """Destination of case folders; picklable.

    Attributes:
        location: a folder or a URL.
        key: of the hash that names cases.
        overwrite: infer a case again that is there, and replace it.
        mark: in the names of temporary files, by which a run knows its own.
    """

    location: str
    key: bytes
    overwrite: bool = False
    mark: str = ""

    def store(self) -> ResultStore:
        """The store at the location; see :func:`open_store`."""
        return open_store(self.location, self.mark)


def is_url(location: str) -> bool:
    """Whether a location is one for fsspec.

    Example:
        >>> is_url("s3://bucket/results"), is_url("results"), is_url("file:///results")
        (True, False, False)
    """
    return "://" in location and not location.startswith("file://")


def open_store(location: str, mark: str = "") -> ResultStore:
    """The store of a folder, a ``file://`` URL or any other URL.

    Args:
        location: folder or URL.
        mark: in the names of temporary files.

    Raises:
        ConfigError: if the URL is of no known kind.
        MissingDependencyError: if the package that reaches it is not installed.
    """
    return UrlStore(location) if is_url(location) else FolderStore(Path(location.removeprefix("file://")), mark)


class ResultStore(ABC):
    """Folders of cases and tables beside them."""

    @abstractmethod
    def claim(self, options: Mapping[str, Any], *, overwrite: bool, accept_version: bool = False) -> bool:
        """Make this the output of a run with these options; return whether it was that already.

        An output of the same options is never emptied: it may hold cases of other runs.

        Raises:
            ConfigError: if it holds something else and may not be overwritten.
        """

    def conflict(self, options: Mapping[str, Any], *, accept_version: bool = False) -> str | None:
        """How the options of the run that made this differ from others; None if they do not, or no run made it."""
        record = self.read(OPTIONS_NAME)
        if record is None:
            return None
        return conflict_of(record, options_record(options), accept_version=accept_version)

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Content of a file, named from the store's root; None if there is none."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file at the root, whole or not at all."""

    @abstractmethod
    def cases(self) -> list[str]:
        """Names of the cases that are there whole, sorted."""

    @abstractmethod
    def files(self, case: str) -> set[str]:
        """Names of the files of a case, without those in its folders; none if it is not there."""

    @abstractmethod
    def require_no_link(self, case: str) -> None:
        """Refuse a case that is a link, which no folder can replace.

        Raises:
            ConfigError: naming the link.
        """

    @abstractmethod
    def remove(self, case: str) -> None:
        """Remove a case, if it is there whole."""

    @abstractmethod
    def publish(self, case: str, *, overwrite: bool) -> Any:
        """Context of a temporary folder whose content becomes the case's if all goes well.

        Raises:
            FileExistsError: on leaving, if the case came to be there meanwhile and may not be overwritten.
        """

    @abstractmethod
    def clean(self, mark: str = "") -> None:
        """Remove what was left half done: by any run if no other may be writing, else by the run of a mark."""


class FolderStore(ResultStore):
    """A folder of the file system, which may be shared by machines."""

    def __init__(self, folder: Path, mark: str = "") -> None:
        self.folder = folder
        self._mark = mark

    def __str__(self) -> str:
        """The folder."""
        return str(self.folder)

    def claim(self, options: Mapping[str, Any], *, overwrite: bool, accept_version: bool = False) -> bool:
        """See :class:`ResultStore`."""
        own = _own_files(self.cases()) if overwrite and self.folder.is_dir() else ()
        return claim_folder(self.folder, options, replace_other=overwrite, accept_version=accept_version, own=own)

    def read(self, name: str) -> bytes | None:
        """See :class:`ResultStore`."""
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """See :class:`ResultStore`."""
        temporary = self._temporary(name)
        try:
            temporary.write_bytes(content)
            temporary.replace(self.folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def cases(self) -> list[str]:
        """See :class:`ResultStore`."""
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and self._is_own(entry)]
        return sorted(name for name in names if (self.folder / name / PROVENANCE_NAME).is_file())

    def _is_own(self, entry: os.DirEntry[str]) -> bool:
        """Whether it is a folder, and no link to another of these folders, which counts by itself."""
        if not is_folder(entry):
            return False
        return not entry.is_symlink() or Path(entry.path).resolve().parent != self.folder.resolve()

    def files(self, case: str) -> set[str]:
        """See :class:`ResultStore`."""
        try:
            with os.scandir(self.folder / case) as entries:
                return {entry.name for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def require_no_link(self, case: str) -> None:
        """See :class:`ResultStore`."""
        if (self.folder / case).is_symlink():
            raise ConfigError(f"{self.folder / case} is a link: put the folder itself there, or remove the link")

    def remove(self, case: str) -> None:
        """See :class:`ResultStore`."""
        folder, gone = self.folder / case, self._temporary(case)
        if (folder / PROVENANCE_NAME).is_file():
            folder.rename(gone)
            _delete(gone)

    @contextmanager
    def publish(self, case: str, *, overwrite: bool) -> Iterator[Path]:
        """See :class:`ResultStore`."""
        temporary = self._temporary(case)
        with folder_written_whole(self.folder / case, overwrite=overwrite, temporary=temporary):
            yield temporary

    def clean(self, mark: str = "") -> None:
        """See :class:`ResultStore`."""
        pattern = f".*{mark}*{_TEMPORARY_SUFFIX}" if mark else f".*{_TEMPORARY_SUFFIX}"
        for path in [*self.folder.glob(pattern), *self.folder.glob(f"private/{pattern}")]:
            _delete(path)

    def _temporary(self, name: str) -> Path:
        return self.folder / f".{name}.{self._mark}{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}"


def _own_files(cases: Iterable[str]) -> list[str]:
    """Patterns of the files of an output with these cases."""
    names = (glob.escape(case) for case in cases)
    tables = (f"{table}*.csv" for table in ("summary", "queue", "failed"))
    return [*tables, f"{PRIVATE_NAME}/*", *(pattern for name in names for pattern in (name, f"{name}/*"))]


def _delete(path: Path) -> None:
    """Remove a file or a folder; of a link, not what it leads to."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


class UrlStore(ResultStore):
    """A prefix of object storage.

    Raises:
        ConfigError: if the URL is of no known kind.
        MissingDependencyError: if the package that reaches it is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingDependencyError("fsspec", "remote") from error
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise MissingDependencyError(url.partition("://")[0] + " for fsspec", "remote") from error
        except ValueError as error:
            raise ConfigError(f"output {url} cannot be reached: {error}") from error
        self._root = root.rstrip("/")
        self._url = url

    def __str__(self) -> str:
        """The URL."""
        return self._url

    def claim(self, options: Mapping[str, Any], *, overwrite: bool, accept_version: bool = False) -> bool:
        """See :class:`ResultStore`."""
        wanted = options_record(options)
        self._files.invalidate_cache()
        record = self.read(OPTIONS_NAME)
        if record is not None:
            conflict = conflict_of(record, wanted, accept_version=accept_version)
            if conflict is None:
                return True
            if not may_be_emptied(conflict, overwrite=overwrite):
                raise ConfigError(f"output {self._url} {conflict}: {remedy_for(conflict, accept_version)}")
            self._empty(record, wanted)
        elif self._files.exists(self._root) and self._files.ls(self._root):
            raise ConfigError(f"output {self._url} is not empty and has no {OPTIONS_NAME}: name another")
        self.write(OPTIONS_NAME, (json.dumps(wanted, indent=2) + "\n").encode())
        return False

    def _empty(self, record: bytes, wanted: Mapping[str, Any]) -> None:
        """Remove all but the record, which meanwhile marks the output as incomplete."""
        others = [path for path in self._files.find(self._root) if path != f"{self._root}/{OPTIONS_NAME}"]
        if not is_emptying(record):
            files = (path.removeprefix(f"{self._root}/") for path in others)
            require_own_files(f"output {self._url}", files, _own_files(self.cases()))
        self.write(OPTIONS_NAME, json.dumps(emptying_record(wanted)).encode())
        if others:
            self._files.rm([glob.escape(path) for path in others])

    def read(self, name: str) -> bytes | None:
        """See :class:`ResultStore`."""
        try:
            return bytes(self._files.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """See :class:`ResultStore`."""
        self._files.pipe_file(f"{self._root}/{name}", content)

    def cases(self) -> list[str]:
        """See :class:`ResultStore`."""
        self._files.invalidate_cache()
        return sorted(
            path.split("/")[-2] for path in self._files.glob(f"{glob.escape(self._root)}/*/{PROVENANCE_NAME}")
        )

    def files(self, case: str) -> set[str]:
        """See :class:`ResultStore`."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(f"{self._root}/{case}", detail=True)
        except FileNotFoundError:
            return set()
        return {entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file"}

    def require_no_link(self, case: str) -> None:
        """See :class:`ResultStore`; object storage has no links."""

    def remove(self, case: str) -> None:
        """See :class:`ResultStore`."""
        if self._files.exists(self._marker(case)):
            self._files.rm_file(self._marker(case))
            others = self._files.find(f"{self._root}/{case}")
            if others:
                self._files.rm([glob.escape(path) for path in others])

    def _marker(self, case: str) -> str:
        """The file without which a case is not there."""
        return f"{self._root}/{case}/{PROVENANCE_NAME}"

    @contextmanager
    def publish(self, case: str, *, overwrite: bool) -> Iterator[Path]:
        """See :class:`ResultStore`."""
        with tempfile.TemporaryDirectory(prefix="mose-med-") as temporary:
            folder = Path(temporary)
            yield folder
            self._files.invalidate_cache()
            if self._files.exists(self._marker(case)):
                if not overwrite:
                    raise FileExistsError(errno.EEXIST, "the case already exists", case)
                self.remove(case)
            names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
            for name in sorted(names, key=lambda name: (name == PROVENANCE_NAME, name)):
                self._files.put_file(str(folder / name), f"{self._root}/{case}/{name}")

    def clean(self, mark: str = "") -> None:
        """Nothing is left half done here: see the module."""
