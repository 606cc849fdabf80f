"""Which cases a cohort has: found below a folder, or listed in a manifest.

Below a folder, a case is

- a NIfTI, NRRD or MetaImage file (``.nii``, ``.nii.gz``, ``.nrrd``, ``.nhdr``, ``.mha``, ``.mhd``) or a zip archive;
- a folder that holds other files directly, taken for DICOM, with everything below it;
- a folder with a ``nodules.csv`` but none of these files: its subfolders are one study.

Names that begin with a dot and files of the kinds in ``_PASSED_OVER`` do not count. The nodule list of a case lies in
its folder as ``nodules.csv``, or beside it as ``<name>.nodules.csv``; a volume or archive that is the only one of
its folder may have ``nodules.csv`` beside it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mose_med.errors import ConfigError
from mose_med.tables import Row, read_table
from pipelines.case_names import PRIVATE_NAME

__all__ = ["Entry", "Shard", "find_entries", "read_manifest"]

_NODULES_NAME = "nodules.csv"
_FILE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
#: Values of a volume whose header lies in a .nhdr or .mhd beside them.
_VALUES = (".raw", ".zraw", ".raw.gz")
_PASSED_OVER = (".csv", ".json", ".txt", ".md", ".pdf", ".xml", ".html", ".log", ".jpg", ".png", ".yaml", ".yml")
_COLUMNS = ("path", "case", "series", "nodules", "lung_mask")
_CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Entry(NamedTuple):
    """A case to infer.

    Attributes:
        name: by which shards are told: the path below the folder, or the row of the manifest. It may tell whose the
            case is.
        source: DICOM folder or zip, or NIfTI, NRRD or MetaImage file.
        series: SeriesInstanceUID to read; None chooses.
        nodules: CSV of positions.
        case: name of the case; None names it by a keyed hash of its identity.
        lung_mask: volume that is not 0 in the lungs; they are found by threshold if None.
    """

    name: str
    source: str
    series: str | None = None
    nodules: str | None = None
    case: str | None = None
    lung_mask: str | None = None

    @property
    def key(self) -> str:
        """By which the journal knows the case."""
        return "\t".join((os.path.abspath(self.source), self.series or "", self.case or ""))


class Shard(NamedTuple):
    """Part ``index`` (from 1) of ``count`` parts of a cohort; which case goes where depends on its name alone."""

    index: int  # type: ignore[assignment]  # a tuple has methods of these names, which nothing calls
    count: int  # type: ignore[assignment]

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``.

        Raises:
            ConfigError: if it is not of that form.

        Example:
            >>> Shard.parse("2/8")
            Shard(index=2, count=8)
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = cls(*map(int, match.groups())) if match else cls(0, 0)
        if not 1 <= shard.index <= shard.count:
            raise ConfigError(f"shard must be i/n with 1 <= i <= n, got {text!r}")
        return shard

    def holds(self, entry: Entry) -> bool:
        """Whether a case belongs to this part."""
        digest = hashlib.sha256(entry.name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8]) % self.count == self.index - 1


def find_entries(root: Path, case_depth: int | None = None) -> Iterator[Entry]:
    """Cases below a folder, as they are met; a folder's files are not listed further than needed.

    Args:
        root: folder to search.
        case_depth: levels below ``root`` at which each folder is one case; None follows the rules of this module.

    Raises:
        ConfigError: if there is no such folder.
    """
    if not root.is_dir():
        raise ConfigError(f"input folder {root} does not exist")
    top = str(root)
    waiting = [(top, 0)]
    followed: set[str] = set()
    while waiting:
        folder, depth = waiting.pop()
        content = _Content(folder, sniff=depth > 0 and case_depth is None)
        if depth > 0 and (content.is_case if case_depth is None else depth == case_depth):
            yield _entry(top, folder, _nodules_of(folder, os.path.join(folder, _NODULES_NAME)))
            continue
        for file in content.files:
            beside = os.path.join(folder, _NODULES_NAME) if len(content.files) == 1 else None
            yield _entry(top, file, _nodules_of(file, beside))
        waiting += [(path, depth + 1) for path in content.folders if _is_new(path, followed)]


class _Content:
    """What a folder holds; paths are strings, since there may be very many.

    Args:
        folder: to list.
        sniff: stop at the first file that makes the folder a case.
    """

    def __init__(self, folder: str, *, sniff: bool) -> None:
        self.folders: list[str] = []
        self.files: list[str] = []
        self._has_slices = self._has_nodules = False
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.startswith("."):
                    continue
                if entry.is_dir():
                    self.folders.append(entry.path)
                elif name.endswith(_FILE_SUFFIXES):
                    self.files.append(entry.path)
                elif name == _NODULES_NAME:
                    self._has_nodules = True
                elif not name.endswith(_PASSED_OVER + _VALUES):
                    self._has_slices = True
                    if sniff:
                        return

    @property
    def is_case(self) -> bool:
        return self._has_slices or (self._has_nodules and not self.files)


def _is_new(path: str, followed: set[str]) -> bool:
    """Whether a folder is to be searched; the target of a link is, once, so that links cannot go in circles."""
    if not os.path.islink(path):
        return True
    target = os.path.realpath(path)
    new = target not in followed and not os.path.realpath(os.path.dirname(path)).startswith(target)
    followed.add(target)
    return new


def _entry(root: str, path: str, nodules: str | None) -> Entry:
    return Entry(os.path.relpath(path, root).replace(os.sep, "/"), path, nodules=nodules)


def _nodules_of(path: str, other: str | None) -> str | None:
    for candidate in (f"{path}.{_NODULES_NAME}", other):
        if candidate is not None and os.path.isfile(candidate):
            return candidate
    return None


def read_manifest(path: Path) -> list[Entry]:
    """Cases of a CSV with the column ``path`` and, as wanted, ``case``, ``series``, ``nodules`` and ``lung_mask``.

    Relative paths are from the manifest's folder. Without ``nodules`` the list beside a study is taken.

    Raises:
        ConfigError: if the file is missing or not such a table, or a case is named wrongly or twice.
    """
    if not path.is_file():
        raise ConfigError(f"manifest {path} does not exist")
    table = read_table(path, "manifest", ConfigError, _COLUMNS)
    if "path" not in table.columns:
        raise ConfigError(f"manifest {path} must have the column path, got {','.join(table.columns) or 'none'}")
    entries = [_listed(row, path) for row in table.rows]
    _require_each_once(entries, path)
    return entries


def _listed(row: Row, manifest: Path) -> Entry:
    values = {name: row.text(name) or None for name in _COLUMNS}
    if values["path"] is None:
        raise ConfigError(f"manifest {manifest}, line {row.line}, row {row.number}: path must be given")
    case = values["case"]
    if case is not None and (not _CASE_NAME.fullmatch(case) or case == PRIVATE_NAME):
        raise ConfigError(
            f"manifest {manifest}, line {row.line}, row {row.number}: case must be up to 64 letters, digits, "
            f"'.', '_' and '-', got {case!r}"
        )
    source = str(manifest.parent / values["path"])
    nodules, lung_mask = (name and str(manifest.parent / name) for name in (values["nodules"], values["lung_mask"]))
    if nodules is None and lung_mask is None:
        nodules = _nodules_of(source, os.path.join(source, _NODULES_NAME))
    return Entry(case or values["path"], source, values["series"], nodules, case, lung_mask)


def _require_each_once(entries: list[Entry], manifest: Path) -> None:
    rows: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        for what, value in (("case", entry.case), ("study", entry.key)):
            if value is None:
                continue
            first = rows.setdefault(f"{what}\n{value}", number)
            if first != number:
                raise ConfigError(f"manifest {manifest} must list each {what} once, got rows {first} and {number}")
