"""``mose-med export nnunet``: a datalist in nnU-Net's raw layout, one consensus mask per image.

``imagesTr/<case>_0000.nii.gz`` and ``labelsTr/<case>.nii.gz`` hold the training and the validation part, ``imagesTs``
and ``labelsTs`` the test part, ``dataset.json`` is nnU-Net's, and ``splits_final.json`` (to be put into its folder of
preprocessed data) makes our split its only fold.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from data_prep.consensus import ConsensusMethod, majority, staple
from mose_med.data.datalist import PARTS, DatalistEntry, load_datalist
from mose_med.errors import ConfigError, DataError
from mose_med.files.hashes import file_sha256
from mose_med.files.run_lock import only_run
from mose_med.files.whole_files import write_json
from mose_med.io.nifti.damaged import named_nifti_errors
from mose_med.io.nifti.images import write_nifti
from mose_med.io.volumes import Volume, read_volume
from pipelines.common.runs.content import Content
from pipelines.common.runs.run_folder import COMMAND
from pipelines.export.options import ExportNnunetOptions
from pipelines.prepare.folder import claim_to_replace, progress_bar, written_whole

__all__ = ["ExportNnunetOptions", "export_nnunet"]

logger = logging.getLogger(__name__)

_CONTENT_NAME = "dataset.json"
_ENDING = ".nii.gz"
_OWN = (_CONTENT_NAME, "splits_final.json", *(f"{kind}T?/*{_ENDING}" for kind in ("images", "labels")))
_FOLDERS = {"training": "Tr", "validation": "Tr", "test": "Ts"}


@only_run(beside=True)
def export_nnunet(options: ExportNnunetOptions) -> Path:
    """Write a datalist in nnU-Net's raw layout; a case is a run of slices, at its true place in the patient.

    Returns:
        The output folder.

    Raises:
        ConfigError: if the datalist, an option or the output folder is not suitable.
        DataError: if an image cannot be read.
    """
    datalist = load_datalist(options.datalist)
    if datalist.flips:
        raise ConfigError(f"datalist {datalist.name} has class flips for raters: there is no consensus to export")
    record = {"datalist": str(options.datalist.resolve()), "consensus": options.consensus, "channel": options.channel}
    record[COMMAND] = "export nnunet"
    record["datalist_sha256"] = file_sha256(options.datalist)
    content_of_input = Content.of_datalist(options.output_dir, {"": datalist}, PARTS)
    claimed_before = claim_to_replace(
        options.output_dir, record, content_of_input, overwrite=options.overwrite, own=_OWN
    )
    if claimed_before and (options.output_dir / _CONTENT_NAME).is_file():
        logger.info("%s is already exported", options.output_dir)
        return options.output_dir
    with written_whole(options.output_dir, anew=options.overwrite) as folder, progress_bar(options.quiet) as progress:
        content_of_input.note(folder)
        cases = {part: _by_image(datalist.parts[part]) for part in PARTS}
        work = [(part, name, slices) for part in PARTS for name, slices in cases[part].items()]
        for part, name, slices in progress.track(work, description="Writing cases"):
            _write_case(folder, _FOLDERS[part], name, slices, options.consensus, len(datalist.classes))
        train, validation = sorted(cases["training"]), sorted(cases["validation"])
        content = {
            "name": datalist.name,
            "description": datalist.source,
            "channel_names": {"0": options.channel},
            "labels": {name: value for value, name in enumerate(datalist.classes)},
            "numTraining": len(train) + len(validation),
            "file_ending": _ENDING,
        }
        write_json(folder / _CONTENT_NAME, content)
        write_json(folder / "splits_final.json", [{"train": train, "val": validation}])
    return options.output_dir


def _by_image(entries: Sequence[DatalistEntry]) -> dict[str, list[DatalistEntry]]:
    """Entries of every image, by the image's name."""
    cases: defaultdict[str, list[DatalistEntry]] = defaultdict(list)
    for entry in entries:
        cases[entry.image.name.removesuffix(".gz").removesuffix(".nii")].append(entry)
    return dict(cases)


def _write_case(
    folder: Path, suffix: str, name: str, slices: Sequence[DatalistEntry], method: ConsensusMethod, num_classes: int
) -> None:
    image = read_volume(slices[0].image)
    masks = _read_masks(slices[0].label, image)
    weights = np.zeros((masks.shape[2], masks.shape[3]))
    for entry in slices:
        if entry.slice_index >= masks.shape[2]:
            raise DataError(f"{entry.image} has no slice {entry.slice_index}: its shape is {image.array.shape}")
        weights[entry.slice_index] = entry.rater_weights
    if method == "majority":
        consensus = majority(masks, weights, num_classes)
    else:
        consensus = staple(masks[..., weights.any(axis=0)], num_classes)
    for kind, ending, array in (("images", f"_0000{_ENDING}", image.array), ("labels", _ENDING, consensus)):
        target = folder / f"{kind}{suffix}" / f"{name}{ending}"
        target.parent.mkdir(exist_ok=True)
        write_nifti(target, [array], shape=array.shape, dtype=array.dtype, affine=image.affine)


def _read_masks(path: Path, image: Volume) -> NDArray[np.integer[Any]]:
    with named_nifti_errors(f"label {path} cannot be read"):
        masks = np.asarray(nib.load(path).dataobj)
    if masks.shape[:-1] != image.array.shape:
        raise DataError(f"{path} must have masks of {image.array.shape}, got shape {masks.shape}")
    return masks
