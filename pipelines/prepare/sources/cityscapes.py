"""``mose-med prepare cityscapes``: from ``leftImg8bit`` and ``gtFine`` to the datalist of multimodal Cityscapes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.cityscapes.classes import CLASSES
from data_prep.cityscapes.frames import Frame, find_frames, find_predictions
from data_prep.cityscapes.pictures import read_frame
from data_prep.datalist import write_datalist, write_volume
from data_prep.split import require_training_and_validation
from mose_med.data.class_flips import CITYSCAPES_FLIPS, mode_probabilities
from mose_med.data.datalist import PARTS
from mose_med.errors import DataError
from mose_med.files.run_lock import only_run
from pipelines.common.runs.content import Content
from pipelines.common.runs.run_folder import OPTIONS_NAME
from pipelines.prepare.description import describe
from pipelines.prepare.failures import Failures
from pipelines.prepare.folder import PreparedDatalist, earlier_result, newly_prepared, progress_bar, written_whole
from pipelines.prepare.source_options import PrepareCityscapesOptions

__all__ = ["PrepareCityscapesOptions", "prepare_cityscapes"]

_CITATION = "Cityscapes: Cordts et al. 2016, www.cityscapes-dataset.com, its own licence; not to be passed on."
_FOLDER = "frames"


@only_run(beside=True)
def prepare_cityscapes(options: PrepareCityscapesOptions) -> PreparedDatalist:
    """Write the datalist of multimodal Cityscapes.

    The 32 modes are not stored: an entry has one label map and the exact probability of every mode as its rater
    weights, and :class:`mose_med.data.FlippedClassDataset` makes the modes.

    Returns:
        The datalist; an earlier one if the folder holds it, made with the same options.

    Raises:
        ConfigError: if an option, the root or the output folder does not fit.
        DataError: if a frame cannot be used, unless ``keep_going``.
    """
    frames = find_frames(options.root)
    predictions = None if options.predictions is None else find_predictions(options.predictions)
    require_training_and_validation(Counter(frame.part for frame in frames), "picture")
    content = _content(options, frames, predictions or {})
    done = earlier_result(options.output_dir, options.record(), content, overwrite=options.overwrite)
    if done is not None:
        return done
    with written_whole(options.output_dir, anew=options.overwrite) as folder, progress_bar(options.quiet) as progress:
        content.note(folder)
        shutil.rmtree(folder / _FOLDER, ignore_errors=True)
        (folder / _FOLDER).mkdir()
        failures = Failures(keep_going=options.keep_going)
        entries: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
        pixels = np.zeros(len(CLASSES), dtype=np.int64)
        for frame in progress.track(frames, description="Preparing pictures"):
            with failures.case(frame.frame_id):
                if predictions is not None and frame.frame_id not in predictions:
                    raise DataError(f"{frame.frame_id} has no prediction")
                prediction = None if predictions is None else predictions[frame.frame_id]
                picture, label = read_frame(frame, options.size, prediction)
                entries[frame.part].append(_write_frame(folder, frame, picture, label))
                pixels += np.bincount(label.ravel(), minlength=len(CLASSES))
        counts = _finish(folder, entries, pixels, failures)
    return newly_prepared(options.output_dir, counts, len(failures))


def _content(options: PrepareCityscapesOptions, frames: Sequence[Frame], predictions: Mapping[str, Path]) -> Content:
    """What pictures, labels and predictions hold."""
    files = {frame.image.relative_to(options.root).as_posix(): frame.image for frame in frames}
    files |= {frame.label.relative_to(options.root).as_posix(): frame.label for frame in frames}
    files |= {f"prediction of {name}": path for name, path in predictions.items()}
    return Content.of_files(options.output_dir, {name: path for name, path in files.items() if path.is_file()})


def _write_frame(folder: Path, frame: Frame, picture: NDArray[np.uint8], label: NDArray[np.uint8]) -> dict[str, Any]:
    paths = {"image": f"{_FOLDER}/{frame.frame_id}.nii", "label": f"{_FOLDER}/{frame.frame_id}_label.nii"}
    write_volume(folder / paths["image"], np.ascontiguousarray(picture[:, :, None]), np.eye(4))
    write_volume(folder / paths["label"], np.ascontiguousarray(label[:, :, None, None]), np.eye(4))
    weights = mode_probabilities(CITYSCAPES_FLIPS).tolist()
    return {
        **paths,
        "slice": 0,
        "z_mm": None,
        "rater_weights": weights,
        "raters_present": len(weights),
        "nodule_id": frame.frame_id,
        "patient_id": frame.city,
        "series_uid": "",
    }


def _finish(
    folder: Path, entries: dict[str, list[dict[str, Any]]], pixels: NDArray[np.int64], failures: Failures
) -> dict[str, Any]:
    sizes = {part: len(of_part) for part, of_part in entries.items()}
    failures.require_some_left(sum(sizes.values()))
    require_training_and_validation(sizes, "picture")
    write_datalist(
        folder,
        name="multimodal Cityscapes",
        source=_CITATION,
        classes=CLASSES,
        num_raters=2 ** len(CITYSCAPES_FLIPS),
        parts=entries,
        nodules=None,
        flips=CITYSCAPES_FLIPS,
    )
    failures.write(folder)
    counts = {
        "pictures": sum(sizes.values()),
        "pictures_by_part": sizes,
        "cities": len({entry["patient_id"] for of_part in entries.values() for entry in of_part}),
        "pixels_by_class": {name: int(number) for name, number in zip(CLASSES, pixels, strict=True) if number},
        "modes": 2 ** len(CITYSCAPES_FLIPS),
        "flips": {CLASSES[flip.label]: flip.probability for flip in CITYSCAPES_FLIPS},
        "left_out": {"cases_failed": len(failures)},
    }
    record = json.loads((folder / OPTIONS_NAME).read_text(encoding="utf-8"))
    packages = ("numpy", "nibabel", "pillow")
    describe(folder, counts=counts, options=record, packages=packages, licences=(_CITATION,))
    return counts
