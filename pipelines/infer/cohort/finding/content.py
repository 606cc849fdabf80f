"""The content of one folder of a cohort, and whether it is a case."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mose_med.files.dicom_signature import HEAD_BYTES, begins_as_dicom
from mose_med.files.file_tree import is_folder
from pipelines.common.runs.run_folder import OPTIONS_NAME
from pipelines.infer.cohort.finding.skipped_files import Reason, SkippedFiles

__all__ = ["NODULES_NAME", "VOLUME_SUFFIXES", "Content", "list_of_volume"]

NODULES_NAME = "nodules.csv"
#: Ends the name of a list that is next to its case.
_OF_CASE = f".{NODULES_NAME}"
#: Files that are a case by themselves.
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
#: Values of a volume whose header is a .nhdr or .mhd next to them.
_VALUES = (".raw", ".zraw", ".raw.gz")
#: Never slices: they need not be opened.
_NO_SLICES = (".csv", ".json", ".txt", ".md", ".pdf", ".xml", ".html", ".log", ".jpg", ".png", ".yaml", ".yml")
#: Slices, as their names say: they need not be opened.
_SLICE = re.compile(r"dicomdir|.*\.(dcm|dicom|ima)")
#: Slices often have no ending, or a number (of a UID) in its place.
_SLICE_LIKE = re.compile(r"[^.]*|.*\.\d+|.*\.(dcm|dicom|ima)")


class Content:
    """What a folder holds; paths are strings, since there may be very many.

    No file is opened where names tell enough: those of slices, or, in a folder without folders and volumes, those that
    may be of slices.

    Args:
        folder: to list.
        brief: stop at the first file that makes the folder a case.

    Attributes:
        folders: names, and whether each is a link.
        files: paths of volumes and archives.
        linked_files: those that are links.
        has_options: whether there is a file with the options of a run, as output folders have.

    Raises:
        PermissionError: if the folder may not be listed.
    """

    def __init__(self, folder: str, *, brief: bool) -> None:
        self.folders: list[tuple[str, bool]] = []
        self._folder = folder
        self.files: list[str] = []
        self.linked_files: list[str] = []
        self.has_options = False
        self._slices: list[str] = []
        #: Named as slices often are, or links to nothing of such a name.
        self._doubtful: list[str] = []
        self._broken: list[str] = []
        self._stray: list[str] = []
        #: Of other endings.
        self._unknown: list[str] = []
        self._nodules = ""
        #: Lists that are named after a case.
        self._lists: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    self._add(entry)
                if brief and self._slices:
                    return
        if self.folders or self.num_volumes or not self._doubtful:
            self._open_some()

    @property
    def num_volumes(self) -> int:
        """How many volumes and archives the folder holds."""
        return len(self.files) + len(self.linked_files)

    @property
    def is_case(self) -> bool:
        """Whether the folder, with everything below it, is one case."""
        if self._slices:
            return True
        return not self.num_volumes and bool(self._nodules or (self._doubtful and not self.folders))

    def report(self, skipped: SkippedFiles) -> None:
        """Report what belongs to no case, of a folder that is not a case itself."""
        skipped.add(Reason.LOOSE, *self._slices, *sorted({*self._doubtful} - {*self._broken}))
        skipped.add(Reason.BROKEN, *self._broken)
        unused = [self._nodules] if self._nodules and self.num_volumes > 1 else []
        if self._lists:
            volumes = (*self.files, *self.linked_files)
            folders = (str(Path(self._folder, name)) for name, _ in self.folders)
            named = {f"{path}{_OF_CASE}" for path in (*volumes, *folders)} | set(map(list_of_volume, volumes))
            unused += [path for path in self._lists if path not in named]
        skipped.add(Reason.STRAY, *self._stray, *self._unknown, *unused)

    def _add(self, entry: os.DirEntry[str]) -> None:
        name = entry.name.lower()
        if is_folder(entry):
            self.folders.append((entry.name, entry.is_symlink()))
        elif entry.is_symlink() and not Path(entry.path).exists():
            self._broken.append(entry.path)
            if _SLICE_LIKE.fullmatch(name):
                self._doubtful.append(entry.path)
        elif name.endswith(VOLUME_SUFFIXES):
            (self.linked_files if entry.is_symlink() else self.files).append(entry.path)
        elif name == NODULES_NAME:
            self._nodules = entry.path
        elif name.endswith(_OF_CASE):
            self._lists.append(entry.path)
        elif entry.is_file() and not name.endswith(_VALUES):
            self._add_other(name, entry.path)

    def _add_other(self, name: str, path: str) -> None:
        self.has_options |= name == OPTIONS_NAME
        if name.endswith(_NO_SLICES):
            self._stray.append(path)
        elif _SLICE.fullmatch(name):
            self._slices.append(path)
        elif _SLICE_LIKE.fullmatch(name):
            self._doubtful.append(path)
        else:
            self._unknown.append(path)

    def _open_some(self) -> None:
        """Find a slice among the files whose names do not say what they are."""
        for paths in (self._doubtful, self._unknown):
            found = next((path for path in paths if path not in self._broken and _begins_as_dicom(path)), None)
            if found is not None:
                self._slices.append(found)
                paths.remove(found)
                return


def list_of_volume(path: str) -> str | None:
    """List that is named as a volume is, without its ending, if it is there and no other volume has that name."""
    ending = max((end for end in VOLUME_SUFFIXES if path.lower().endswith(end)), key=len, default=None)
    stem = "" if ending is None else path[: -len(ending)]
    if not stem or not Path(f"{stem}{_OF_CASE}").is_file():
        return None
    # Looked for by name: a folder may hold very many files.
    others = (f"{stem}{named}" for end in VOLUME_SUFFIXES if end != ending for named in (end, end.upper()))
    return None if any(Path(other).exists() for other in others) else f"{stem}{_OF_CASE}"


def _begins_as_dicom(path: str) -> bool:
    try:
        with Path(path).open("rb") as stream:
            return begins_as_dicom(stream.read(HEAD_BYTES))
    except OSError:
        # Reading the study gives the reason.
        return True
