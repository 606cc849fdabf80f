"""Folders and files below a folder, including those behind links, each once.

A link to a folder is followed after all real folders, and not at all where its target is met anyway or holds the link
itself: links cannot lead in circles. A link to a file counts as a file, once for every target. Standard library alone,
since the run of a cohort finds its cases with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Files", "Folder", "FolderWalk", "files_below", "is_folder", "shown_in"]


_MACOS_NAME = "__MACOSX"


class Folder(NamedTuple):
    """A folder to list.

    Attributes:
        path: by which it was reached, through links perhaps.
        real: the same without links.
        depth: levels below the root.
    """

    path: str
    real: str
    depth: int


class FolderWalk:
    """Folders in the order in which they are to be listed; the caller that lists one adds its content.

    Args:
        root: where to begin.
        hidden: whether folders whose names begin with a dot are walked too.
    """

    def __init__(self, root: str, *, hidden: bool) -> None:
        self._hidden = hidden
        first = Folder(root, os.path.realpath(root), 0)
        self._begun = {first.real}
        self._waiting = [first]
        self._links: list[Folder] = []

    def __iter__(self) -> Iterator[Folder]:
        while self._waiting or self._links:
            if not self._waiting:
                self._follow_links()
                continue
            yield self._waiting.pop()

    def add(self, parent: Folder, name: str, *, is_link: bool) -> None:
        """Add a folder that lies in ``parent``."""
        path = os.path.join(parent.path, name)
        if is_link:
            real = os.path.realpath(path)
            if not _holds(real, parent.real):
                self._links.append(Folder(path, real, parent.depth + 1))
            return
        folder = Folder(path, os.path.join(parent.real, name), parent.depth + 1)
        if folder.real not in self._begun:
            self._waiting.append(folder)

    def meets(self, real: str) -> bool:
        """Whether a path without links lies below a folder that is walked, so that it needs no link."""
        shown = True
        while real not in self._begun:
            parent, name = os.path.split(real)
            if parent == real:
                return False
            shown &= self._hidden or not name.startswith(".")
            real = parent
        return shown

    def add_folders(self, folder: Folder) -> None:
        """Add all folders that lie in a folder.

        Raises:
            OSError: if it cannot be listed.
        """
        with os.scandir(folder.path) as entries:
            for entry in entries:
                if is_folder(entry):
                    self.add(folder, entry.name, is_link=entry.is_symlink())

    def _follow_links(self) -> None:
        # A folder comes before those below it, which are then met.
        for link in sorted(self._links, key=lambda link: (link.real, link.path)):
            if not self.meets(link.real):
                self._begun.add(link.real)
                self._waiting.append(link)
        self._links = []


class Files(NamedTuple):
    """Files below a folder, sorted by path; links to nothing apart."""

    files: list[Path]
    broken_links: list[Path]


def shown_in(folder: Path) -> list[Path]:
    """What lies in a folder and is not hidden, sorted: file systems and programs leave files of their own there.

    The folder in which macOS puts such files into an archive is hidden, too.
    """
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != _MACOS_NAME)


def files_below(folder: Path) -> Files:
    """All files below a folder, hidden ones included.

    Raises:
        OSError: if a folder cannot be listed.
    """
    found: list[str] = []
    links: list[str] = []
    broken: list[str] = []
    walk = FolderWalk(str(folder), hidden=True)
    for current in walk:
        with os.scandir(current.path) as entries:
            for entry in entries:
                if is_folder(entry):
                    walk.add(current, entry.name, is_link=entry.is_symlink())
                elif entry.is_symlink():
                    (links if Path(entry.path).exists() else broken).append(entry.path)
                elif entry.is_file():
                    found.append(entry.path)
    targets = {os.path.realpath(path): path for path in sorted(links, reverse=True)}
    found += [path for real, path in targets.items() if Path(real).is_file() and not walk.meets(real)]
    return Files(sorted(map(Path, found)), sorted(map(Path, broken)))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _holds(folder: str, path: str) -> bool:
    """Whether a path is a folder or lies below it."""
    return path == folder or path.startswith(os.path.join(folder, ""))
