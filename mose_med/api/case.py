"""One case: its lesions, and what is known of each of them, in memory or in a folder."""

from __future__ import annotations

import base64
import dataclasses
import html
import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mose_med.api.crops import PlacedArray
from mose_med.api.options import ResultOptions
from mose_med.api.reading import with_objects_source
from mose_med.api.writers import InferredCase, record_of, write_folder
from mose_med.case_contents.lesion_rules import LESIONS_NAME
from mose_med.case_contents.maps import PROVENANCE_NAME, maps_of_kind
from mose_med.case_contents.provenance import difference_of_voxels
from mose_med.ct_image import PlacedImage, plain_tensor
from mose_med.errors import ConfigError, DataError, ShapeError
from mose_med.files.whole_files import folder_written_whole
from mose_med.geometry import Affine, translated
from mose_med.inferers import Lesion
from mose_med.io.case.folder import CaseFolder, open_folder
from mose_med.io.case.maps import CaseMaps, class_if_several
from mose_med.io.channels import read_channels
from mose_med.io.memory import study_in_memory
from mose_med.io.study import ReadingOptions
from mose_med.options import Declared, Limits

if TYPE_CHECKING:
    from mose_med.report import LesionFigure

__all__ = ["Case", "open_case"]

#: Options that decide what is written of a case, not what is inferred.
_OF_READING = ("slice_spacing", "gantry_tilt", "nifti_transform")
_OF_WRITING = ("dicom", "dicom_seg", "dicom_seg_obstacle", "keep_identity", "maps", "outputs", "report")


class Case:
    """The distribution of segmentations of one study.

    ``lesion=`` is the number of a lesion, from 1, as in all files of a case. Nothing is expanded to the size of the
    study; what a folder holds is read when it is asked for.

    Args:
        maps: its lesions and maps, in memory or in a folder.
        name: of the case.
        inferred: what the maps were made of; None for a folder.
    """

    def __init__(self, maps: CaseMaps, name: str, inferred: InferredCase | None = None) -> None:
        self._maps = maps
        self._inferred = inferred
        self.name = name

    @classmethod
    def of(cls, inferred: InferredCase) -> Case:
        """A case that was inferred."""
        return cls(inferred.distribution, "case", inferred)

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """The lesion of each listed position, or those that were found, the largest first."""
        return self._maps.lesions

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the study's grid (i, j, k)."""
        return self._maps.shape

    @property
    def affine(self) -> Affine:
        """Affine of the study's grid, RAS mm, (4, 4)."""
        return self._maps.affine

    @property
    def num_experts(self) -> int:
        """K."""
        return self._maps.num_experts

    @property
    def samples_per_expert(self) -> int:
        """S."""
        return self._maps.samples_per_expert

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes, if they are known. Each lesion has one, its ``label``."""
        return self._maps.classes

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """What made the case, in plain types."""
        if isinstance(self._maps, CaseFolder):
            return self._maps.provenance
        return {} if self._inferred is None else record_of(self._inferred)

    def samples(self, lesion: int = 1) -> PlacedArray:
        """Masks of the lesion's class in all samples, bool (K, S, i, j, k) with ``.affine``, cut to the lesion.

        The box holds the lesion in every sample. A sample of expert k has the probability
        ``lesions[lesion - 1].expert_probs[k] / S``.
        """
        names = maps_of_kind("masks", self.num_experts)
        return self._placed(lesion, np.stack([np.moveaxis(self._crop(name, lesion), 3, 0) for name in names]) > 0)

    def probability(self, lesion: int = 1) -> PlacedArray:
        """Marginal probability of the lesion's class, float32 (i, j, k) with ``.affine``, cut to the lesion."""
        return self._placed(lesion, self._crop("probability", lesion))

    def entropy(self, lesion: int = 1) -> PlacedArray:
        """Entropy of that probability in nats, float32 (i, j, k) with ``.affine``, cut to the lesion."""
        return self._placed(lesion, self._crop("entropy", lesion))

    def _crop(self, name: str, lesion: int) -> NDArray[Any]:
        (crop,) = self._maps.own_crops(name, [_box(self._lesion(lesion), self.name)], [lesion])
        return crop

    def _placed(self, lesion: int, values: NDArray[Any]) -> PlacedArray:
        box = _box(self._lesion(lesion), self.name)
        return PlacedArray.of(values, translated(self.affine, box.start))

    def _lesion(self, number: int) -> Lesion:
        if not isinstance(number, int | np.integer) or not 1 <= number <= len(self.lesions):
            raise ConfigError(f"lesion must be the number of one of {len(self.lesions)} lesions, got {number}")
        return self.lesions[number - 1]

    def plot(self, lesion: int = 1, image: Any = None) -> LesionFigure:
        """Draw a lesion: its slices with the outlines of all samples, every expert, and its volume.

        A notebook shows what is returned; ``png()`` makes a file of it, and ``pixels()`` an array. It is no figure of
        Matplotlib's.

        Args:
            lesion: its number.
            image: the CT below the outlines: one image of any kind that :meth:`Model.infer` takes, or a folder with its
                series alone. A case that was inferred has its own; one from a folder shows the marginal probability
                instead.
        """
        from mose_med.report import lesion_figure, read_lesion_volumes  # here: they take long to import

        wanted = self._lesion(lesion)
        (volumes,) = read_lesion_volumes(self._maps, self._image_hu(image), [wanted])
        return lesion_figure(wanted, volumes, case=self.name, label=class_if_several(self._maps, wanted))

    def _image_hu(self, image: Any) -> NDArray[Any] | None:
        if image is None and self._inferred is None:
            return None
        if image is None and self._inferred is not None:
            ct = self._inferred.input.study.image
        else:
            in_file = isinstance(image, str | os.PathLike)
            before = self.provenance.get("options", {})
            treated = {name: before[name] for name in _OF_READING if name in before}
            ct = (read_channels([Path(image)], ReadingOptions(**treated)) if in_file else study_in_memory(image)).image
        if tuple(ct.shape[1:]) != self.shape:
            raise ShapeError(f"image must have the shape of the case, {self.shape}, got {tuple(ct.shape[1:])}")
        difference = None if image is None else difference_of_voxels(self.provenance, ct)
        if difference is not None:
            raise DataError(f"image must be the CT that {self.name} was inferred from: {difference}; name that one")
        return _values(ct)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False, **options: Any) -> Path:
        """Write the folder of the case as ``mose-med infer`` writes it, whole or not at all.

        Args:
            folder: of the case; its name is that of the case in the report.
            overwrite: replace an existing case folder; anything else is never replaced.
            options: ``dicom``, ``dicom_seg``, ``dicom_seg_obstacle``, ``keep_identity``, ``maps``, ``outputs`` and
                ``report``, where they are not those of :meth:`Model.infer`. A case from a folder is copied unchanged.

        Returns:
            The folder.

        Raises:
            ConfigError: if the folder exists or is a link, or an option is invalid.
            DataError: if DICOM objects are wanted and cannot be made.
        """
        Declared("overwrite", bool, Limits(), False).check(overwrite)
        target = Path(folder)
        case = self._with(options)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{target} cannot be written: {error.strerror}: name another folder") from error
        _require_room(target, overwrite=overwrite)
        try:
            with case._writing(), folder_written_whole(target, overwrite=overwrite) as temporary:
                case.write_files(temporary, target.name)
        except FileExistsError as error:
            raise _folder_exists_error(target) from error
        return target

    def write_files(self, folder: Path, name: str, run: str = "") -> None:
        """Write the files of a case into an existing folder, with the options that it was inferred with.

        Args:
            folder: to write to, perhaps under a temporary name.
            name: of the case, for its report.
            run: mark of the run, for ``run.json``.
        """
        if self._inferred is not None:
            write_folder(folder, self._inferred, name, run)
        elif isinstance(self._maps, CaseFolder):
            shutil.copytree(self._maps.folder, folder, dirs_exist_ok=True)

    def _writing(self) -> AbstractContextManager[object]:
        """The writing stage of an inferred case."""
        return nullcontext() if self._inferred is None else self._inferred.stages.enter("write")

    def _with(self, options: Mapping[str, Any]) -> Case:
        """The same case, to be written with other options."""
        other = next((name for name in options if name not in _OF_WRITING), None)
        if other is not None:
            known = other in {entry.name for entry in dataclasses.fields(ResultOptions)}
            advice = "pass it to infer" if known else "there is no such option"
            raise ConfigError(f"save takes {', '.join(_OF_WRITING)}, got {other!r}: {advice}")
        if self._inferred is None:
            if options:
                raise ConfigError(
                    f"a case read from a folder is copied unchanged, got {', '.join(options)}: infer it again"
                )
            return self
        request = dataclasses.replace(
            self._inferred.request, options=ResultOptions.of(options, self._inferred.request.options)
        )
        read = with_objects_source(request, self._inferred.input)
        return Case.of(self._inferred._replace(request=request, input=read))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        lesions = f"{len(self.lesions)} lesion{'' if len(self.lesions) == 1 else 's'}"
        several = self.num_experts > 1
        drawn = f"{self.num_experts} experts" if several else f"{self.samples_per_expert} samples"
        return f"<Case {self.name}: {shape} voxels, {drawn}, {lesions}>"

    def _repr_png_(self) -> bytes | None:
        return self.plot(1)._repr_png_() if self.lesions else None

    def _repr_html_(self) -> str:
        """A table of the lesions and a picture of the first."""
        several = len(self.classes) > 1
        names = ("class", *_COLUMNS) if several else _COLUMNS
        head = "".join(f"<th>{name}</th>" for name in names)
        cells = [[html.escape(lesion.label)] * several + [*_cells(lesion)] for lesion in self.lesions]
        rows = "".join(f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>" for row in cells)
        png = self._repr_png_()
        picture = "" if png is None else f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}"/>'
        return f"<p>{html.escape(repr(self)[1:-1])}</p><table><tr>{head}</tr>{rows}</table>{picture}"


_COLUMNS = ("lesion", "volume, ml", "5 to 95 %", "P(empty)", "entropy, nats")


def _cells(lesion: Lesion) -> tuple[str, ...]:
    volume, name = lesion.volume_ml, html.escape(lesion.name)
    spread = f"{volume.p05:.3f} to {volume.p95:.3f}"
    return name, f"{volume.mean:.3f}", spread, f"{lesion.p_empty:.2f}", f"{lesion.entropy.total:.3f}"


def _box(lesion: Lesion, case: str) -> Any:
    if lesion.box is None:
        raise DataError(f"{LESIONS_NAME} of {case} lacks box_voxels of lesion {lesion.number}: infer the case again")
    return lesion.box


def _values(image: PlacedImage) -> NDArray[Any]:
    values: NDArray[Any] = plain_tensor(image)[0].numpy()
    return values


def _require_room(folder: Path, *, overwrite: bool) -> None:
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a link: name the folder itself, or remove the link")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / PROVENANCE_NAME).is_file():
        raise ConfigError(f"{folder} already exists and is not a case folder: name another")
    if not overwrite:
        raise _folder_exists_error(folder)


def _folder_exists_error(folder: Path) -> ConfigError:
    return ConfigError(f"{folder} already exists: name another folder, or pass overwrite=True")


def open_case(folder: str | os.PathLike[str]) -> Case:
    """Open the folder of a case that ``mose-med infer`` or :meth:`Case.save` wrote; maps are read when asked for.

    Raises:
        DataError: if it is not a finished case: the message names the missing file or the invalid entry.
    """
    maps = open_folder(Path(folder))
    return Case(maps, maps.name)
