"""Finds the cases of a cohort, below a folder or in a manifest.

Below a folder, a case is

- a NIfTI, NRRD or MetaImage file (``.nii``, ``.nii.gz``, ``.nrrd``, ``.nhdr``, ``.mha``, ``.mhd``) or a zip archive;
- a folder that holds DICOM files directly, with everything below it;
- a folder with a ``nodules.csv`` but none of these files: its subfolders are one study.

A file is DICOM by its ending or by how it begins, so that a table or text beside the studies changes nothing; what
belongs to no case is reported (:mod:`pipelines.infer.cohort.finding.skipped_files`). A folder without folders and
volumes, but with files that are named as slices are, is a case regardless of their content, so that a damaged study is
recorded. Output folders of ``mose-med infer`` hold no cases. Names that begin with a dot do not count. Folders and
files behind links are cases like others, each once.

The nodule list of a case is in its folder as ``nodules.csv``, or next to it as ``<name>.nodules.csv``, with or without
the ending of a volume's or archive's name; one that is the only one of its folder may have ``nodules.csv`` next to it.
Lists that are named after no case are reported.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mose_med.errors import ConfigError
from mose_med.files.file_tree import FolderWalk
from mose_med.files.tables import Row, read_table
from pipelines.common.case_names import PRIVATE_NAME
from pipelines.common.runs.run_folder import KEY_ID, OPTIONS_NAME, command_of, read_options
from pipelines.infer.cohort.finding.content import NODULES_NAME, VOLUME_SUFFIXES, Content, list_of_volume
from pipelines.infer.cohort.finding.skipped_files import Reason, SkippedFiles

__all__ = ["Entry", "Shard", "find_entries", "read_manifest", "source_of"]

_LOGGER = logging.getLogger(__name__)
_COLUMNS = ("path", "case", "series", "nodules", "lung_mask", "acquisition")
#: What the output folder has beside its cases.
_RESERVED = re.compile(rf"{PRIVATE_NAME}|{re.escape(OPTIONS_NAME)}|(summary|queue|failed)(\..*)?\.csv", re.IGNORECASE)
_CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Entry(NamedTuple):
    """A case to infer.

    Attributes:
        name: by which shards are assigned: the path below the folder, or the row of the manifest. It may identify the
            case is.
        source: DICOM folder or zip, or NIfTI, NRRD or MetaImage file.
        series: SeriesInstanceUID to read; None chooses.
        nodules: CSV of positions.
        case: name of the case; None names it by a keyed hash of its identity.
        lung_mask: volume that is not 0 in the lungs; they are found by threshold if None.
        acquisition: number of the acquisition to read of the series; all its slices if None.
    """

    name: str
    source: str
    series: str | None = None
    nodules: str | None = None
    case: str | None = None
    lung_mask: str | None = None
    acquisition: int | None = None

    @property
    def key(self) -> str:
        """Key of the case in the journal."""
        acquisition = () if self.acquisition is None else (str(self.acquisition),)
        return "\t".join((os.path.abspath(self.source), self.series or "", self.case or "", *acquisition))


def source_of(key: str) -> str:
    """Path of the study of an entry, by its key."""
    return key.partition("\t")[0]


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


def find_entries(
    root: Path, case_depth: int | None = None, skipped: SkippedFiles | None = None, output_dir: str | None = None
) -> Iterator[Entry]:
    """Cases below a folder, as they are met; a folder's files are not listed further than needed.

    Args:
        root: folder to search.
        case_depth: levels below ``root`` at which each folder is one case; None follows the rules of this module.
        skipped: gets what belongs to no case.
        output_dir: of the run, which may lie below ``root``.

    Raises:
        ConfigError: if there is no such folder.
    """
    if not root.is_dir():
        raise ConfigError(f"input folder {root} does not exist")
    top, skipped = str(root), SkippedFiles() if skipped is None else skipped
    walk = FolderWalk(top, hidden=False)
    own = None if output_dir is None else os.path.realpath(output_dir)
    linked: list[str] = []
    for folder in walk:
        try:
            content = Content(folder.path, brief=folder.depth > 0 and case_depth is None)
        except PermissionError:
            skipped.add(Reason.CLOSED, folder.path)
            continue
        if folder.real == own or (content.has_options and _is_output(folder.path)):
            skipped.add(Reason.OUTPUT, folder.path)
            continue
        if folder.depth > 0 and (content.is_case if case_depth is None else folder.depth == case_depth):
            yield _entry(top, folder.path)
            continue
        for file in content.files:
            yield _entry(top, file, alone=content.num_volumes == 1)
        linked += content.linked_files
        content.report(skipped)
        for name, is_link in content.folders:
            walk.add(folder, name, is_link=is_link)
    yield from _linked_entries(top, linked, walk, skipped)


def _is_output(folder: str) -> bool:
    """Whether ``mose-med infer`` made a folder, or was emptying it."""
    options = read_options(Path(folder))
    return options is not None and (KEY_ID in options or command_of(options) == "infer")


def _linked_entries(top: str, paths: list[str], walk: FolderWalk, skipped: SkippedFiles) -> Iterator[Entry]:
    """Cases that are links to files, one for every target that is not a case itself."""
    seen: set[str] = set()
    for path in sorted(paths):
        real = os.path.realpath(path)
        if real in seen or (walk.meets(real) and real.lower().endswith(VOLUME_SUFFIXES)):
            skipped.add(Reason.TWICE, path)
            continue
        seen.add(real)
        volumes = [name for name in os.listdir(os.path.dirname(path)) if name.lower().endswith(VOLUME_SUFFIXES)]
        yield _entry(top, path, alone=len(volumes) == 1)


def _entry(root: str, path: str, *, alone: bool = False) -> Entry:
    """A case; the nodule list is in its folder, or next to a file that is ``alone``."""
    folder = os.path.dirname(path) if alone else path
    nodules = _nodules_of(path, os.path.join(folder, NODULES_NAME))
    return Entry(os.path.relpath(path, root).replace(os.sep, "/"), path, nodules=nodules)


def _nodules_of(path: str, other: str | None) -> str | None:
    for candidate in (f"{path}.{NODULES_NAME}", list_of_volume(path), other):
        if candidate is not None and os.path.isfile(candidate):
            return candidate
    return None


def read_manifest(path: Path) -> list[Entry]:
    """Cases of a CSV with the column ``path`` and, optionally, the others of ``_COLUMNS``.

    Relative paths are from the manifest's folder. Without ``nodules`` the list beside a study is taken.

    Raises:
        ConfigError: if the file is missing or not such a table, or a case is named wrongly or twice.
    """
    if not path.is_file():
        raise ConfigError(f"manifest {path} does not exist")
    table = read_table(path, "manifest", ConfigError, _COLUMNS)
    if "path" not in table.columns:
        raise ConfigError(f"manifest {path} must have the column path, got {','.join(table.columns) or 'none'}")
    unknown = [column for column in table.columns if column and column not in _COLUMNS]
    if unknown:
        _LOGGER.warning(
            "the manifest has columns that are ignored: %s; known are %s", ", ".join(unknown), ", ".join(_COLUMNS)
        )
    entries = [_listed(row, path) for row in table.rows]
    _require_each_once(entries, path)
    return entries


def _listed(row: Row, manifest: Path) -> Entry:
    values = {name: row.text(name) or None for name in _COLUMNS}
    if values["path"] is None:
        raise ConfigError(f"manifest {manifest}, line {row.line}, row {row.number}: path must be given")
    case = values["case"]
    if case is not None and _RESERVED.fullmatch(case):
        raise ConfigError(
            f"manifest {manifest}, line {row.line}, row {row.number}: case must be another name than those of the "
            f"output folder's own files, got {case!r}"
        )
    if case is not None and not _CASE_NAME.fullmatch(case):
        raise ConfigError(
            f"manifest {manifest}, line {row.line}, row {row.number}: case must be up to 64 letters, digits, "
            f"'.', '_' and '-', got {case!r}"
        )
    acquisition = values["acquisition"]
    if acquisition is not None and not acquisition.isdecimal():
        raise ConfigError(
            f"manifest {manifest}, line {row.line}, row {row.number}: acquisition must be a number, got {acquisition!r}"
        )
    source = str(manifest.parent / values["path"])
    nodules, lung_mask = (name and str(manifest.parent / name) for name in (values["nodules"], values["lung_mask"]))
    if nodules is None and lung_mask is None:
        nodules = _nodules_of(source, os.path.join(source, NODULES_NAME))
    chosen = None if acquisition is None else int(acquisition)
    return Entry(case or values["path"], source, values["series"], nodules, case, lung_mask, chosen)


def _require_each_once(entries: list[Entry], manifest: Path) -> None:
    rows: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        for what, value in (("case", entry.case), ("study", entry.key)):
            if value is None:
                continue
            first = rows.setdefault(f"{what}\n{value}", number)
            if first != number:
                raise ConfigError(f"manifest {manifest} must list each {what} once, got rows {first} and {number}")
