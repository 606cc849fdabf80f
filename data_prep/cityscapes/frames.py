"""The pictures, and the part of each.

Training: cities of the official training set but three, which are the validation part; test: the official validation
set. The official test set has no public annotations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mose_med.errors import ConfigError, DataError
from mose_med.files.file_tree import files_below

__all__ = ["VALIDATION_CITIES", "Frame", "find_frames", "find_predictions"]

VALIDATION_CITIES = ("darmstadt", "monchengladbach", "moenchengladbach", "ulm")

_IMAGE_SUFFIX = "_leftImg8bit.png"
_LABEL_SUFFIX = "_gtFine_labelIds.png"
_FRAME_ID = re.compile(r"(?P<frame>[a-zA-Z-]+_\d{6}_\d{6})")


@dataclass(frozen=True)
class Frame:
    """A picture with the place of its annotation, which may be missing."""

    frame_id: str
    city: str
    part: str
    image: Path
    label: Path


def find_frames(root: Path) -> list[Frame]:
    """Pictures with public annotations, sorted by part and name.

    Raises:
        ConfigError: if the folder does not hold ``leftImg8bit`` and ``gtFine``, or no picture.
    """
    for name in ("leftImg8bit", "gtFine"):
        if not (root / name).is_dir():
            raise ConfigError(f"cityscapes root {root} must hold the folders leftImg8bit and gtFine, lacks {name}")
    frames = [
        _frame(root, image)
        for split in ("train", "val")
        for image in root.glob(f"leftImg8bit/{split}/*/[!.]*{_IMAGE_SUFFIX}")
    ]
    if not frames:
        raise ConfigError(f"cityscapes root {root} has no picture leftImg8bit/train/<city>/*{_IMAGE_SUFFIX}")
    return sorted(frames, key=lambda frame: (frame.part, frame.frame_id))


def _frame(root: Path, image: Path) -> Frame:
    city, split = image.parent.name, image.parent.parent.name
    part = "test" if split == "val" else "validation" if city.lower() in VALIDATION_CITIES else "training"
    frame_id = image.name.removesuffix(_IMAGE_SUFFIX)
    return Frame(frame_id, city, part, image, root / "gtFine" / split / city / f"{frame_id}{_LABEL_SUFFIX}")


def find_predictions(folder: Path) -> Mapping[str, Path]:
    """Predictions of another model by frame: PNG files of label ids, whose names begin with the frame's.

    Raises:
        ConfigError: if there is none.
        DataError: if two are of one frame.
    """
    found: dict[str, Path] = {}
    for path in files_below(folder).files if folder.is_dir() else ():
        match = _FRAME_ID.match(path.name)
        if match is None or path.suffix != ".png":
            continue
        if match["frame"] in found:
            raise DataError(f"predictions {found[match['frame']].name} and {path.name} both belong to {match['frame']}")
        found[match["frame"]] = path
    if not found:
        raise ConfigError(f"predictions folder {folder} has no <city>_<number>_<number>*.png")
    return found
