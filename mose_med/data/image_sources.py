"""Images for MONAI's commands: lists of files, and loading and orientation of a CT volume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from monai.transforms import Compose, LoadImaged, Orientationd, Spacingd

from mose_med.data.datalist import load_datalist
from mose_med.errors import ConfigError
from mose_med.preprocessing import Preprocessing

__all__ = ["VolumePreprocessing", "image_files"]

_NIFTI = (".nii", ".nii.gz")
_DICOM_MAGIC, _DICOM_MAGIC_AT = b"DICM", 128
_KEY = "image"
_READERS = ("PydicomReader", "NibabelReader")  # the last is tried first


class VolumePreprocessing(Compose):  # type: ignore[misc]  # monai has no types here
    """Load a volume in the orientation and the in-plane spacing of the network.

    A volume is a NIfTI file, or a folder with the DICOM files of one series. Values stay in HU: windows are
    preprocessed when they are cut, see :class:`~mose_med.inferers.PreprocessedWindows`.

    Args:
        settings: of :class:`~mose_med.preprocessing.Preprocessing`, which is kept as the attribute ``settings``.

    Example:
        >>> VolumePreprocessing(orientation="LPS", roi_size=[64, 64]).settings.roi_size
        (64, 64)
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = Preprocessing(**settings)
        steps: list[Any] = [
            LoadImaged(keys=_KEY, reader=_READERS, ensure_channel_first=True),
            Orientationd(keys=_KEY, axcodes=self.settings.orientation, labels=None),
        ]
        if self.settings.spacing_mm is not None:  # -1 keeps the spacing between slices
            steps.append(Spacingd(keys=_KEY, pixdim=(self.settings.spacing_mm, self.settings.spacing_mm, -1)))
        super().__init__(steps)


def image_files(
    dataset_dir: str | os.PathLike[str] | None, datalist: str | os.PathLike[str], part: str
) -> list[dict[str, str]]:
    """Images of a folder and the folders below it, or of a datalist, as MONAI's datasets take them.

    Args:
        dataset_dir: with NIfTI files, and folders that hold the DICOM files of one series each; None for the datalist.
        datalist: file that every ``prepare`` writes.
        part: of the datalist.

    Raises:
        ConfigError: if there is no image, or the datalist does not fit.
    """
    if dataset_dir is None:
        return load_datalist(datalist).images(part)
    root = Path(dataset_dir)
    found: list[Path] = []
    for place, _, names in sorted(os.walk(root)):
        paths = [Path(place) / name for name in sorted(names)]
        found += [path for path in paths if path.name.lower().endswith(_NIFTI)]
        if any(_is_dicom(path) for path in paths):
            found.append(Path(place))
    if not found:
        raise ConfigError(f"dataset_dir {root} has no image: name a folder with NIfTI files or folders of DICOM files")
    return [{_KEY: str(path)} for path in found]


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(_DICOM_MAGIC_AT)
        return stream.read(len(_DICOM_MAGIC)) == _DICOM_MAGIC
