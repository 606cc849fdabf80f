"""``mose-med prepare community``: from ``data_lidc.pickle`` or ``data_lidc.hdf5`` to the datalist."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.community.hdf5_file import open_hdf5_nodules
from data_prep.community.nodules import (
    CITATION,
    NUM_RATERS,
    BrokenNodule,
    CommunityNodule,
    SliceStack,
    slice_stacks,
)
from data_prep.community.pickle_file import read_pickle_nodules
from data_prep.datalist import write_datalist, write_run
from data_prep.split import read_split, require_training_and_validation, split_by_hash
from mose_med.data.datalist import PARTS
from mose_med.errors import DataError
from mose_med.files.run_lock import only_run
from pipelines.common.runs.content import Content
from pipelines.prepare.description import describe
from pipelines.prepare.failures import Failures
from pipelines.prepare.folder import PreparedDatalist, earlier_result, newly_prepared, progress_bar, written_whole
from pipelines.prepare.source_options import PrepareCommunityOptions

__all__ = ["PrepareCommunityOptions", "prepare_community"]

logger = logging.getLogger(__name__)

_NAME = "LIDC-IDRI slices of the community"


@dataclass
class _Tally:
    """What has been written so far."""

    entries: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {part: [] for part in PARTS})
    names: set[str] = field(default_factory=set)
    num_nodules: int = 0
    num_nodules_not_in_split: int = 0
    num_without_spacing: int = 0


@only_run(beside=True)
def prepare_community(options: PrepareCommunityOptions) -> PreparedDatalist:
    """Write the datalist of a community file.

    Returns:
        The datalist; an earlier one if the folder holds it, made with the same options.

    Raises:
        ConfigError: if an option, the split or the output folder does not fit.
        DataError: if the file is damaged or refused, or, unless ``keep_going``, one of its nodules cannot be used.
        MissingDependencyError: if the file is HDF5 and h5py is not installed.
    """
    record = options.record()
    content = Content.of_files(options.output_dir, {options.file.name: options.file})
    done = earlier_result(options.output_dir, record, content, overwrite=options.overwrite)
    if done is not None:
        return done
    with written_whole(options.output_dir, anew=options.overwrite) as folder:
        content.note(folder)
        shutil.rmtree(folder / "nodules", ignore_errors=True)
        tally, failures = _Tally(), Failures(keep_going=options.keep_going)
        split = None if options.split_csv is None else read_split(options.split_csv)
        with _open_nodules(options) as nodules, progress_bar(options.quiet) as progress:
            for nodule in progress.track(nodules, description="Preparing nodules", total=None):
                with failures.case(nodule.nodule_id):
                    if isinstance(nodule, BrokenNodule):
                        raise nodule.error
                    _write_nodule(folder, nodule, _part(nodule, options, split), options, tally)
        counts = _finish(folder, record, tally, failures)
    return newly_prepared(options.output_dir, counts, len(failures))


def _open_nodules(options: PrepareCommunityOptions) -> AbstractContextManager[Iterator[CommunityNodule | BrokenNodule]]:
    return open_hdf5_nodules(options.file) if options.is_hdf5 else nullcontext(read_pickle_nodules(options.file))


def _part(nodule: CommunityNodule, options: PrepareCommunityOptions, split: dict[str, str] | None) -> str | None:
    if nodule.part is not None:
        return nodule.part
    if split is not None:
        return split.get(nodule.series_uid)
    return split_by_hash([nodule.series_uid], options.split_salt, options.fractions)[nodule.series_uid]


def _write_nodule(
    folder: Path, nodule: CommunityNodule, part: str | None, options: PrepareCommunityOptions, tally: _Tally
) -> None:
    if part is None:
        tally.num_nodules_not_in_split += 1
        return
    stacks = list(slice_stacks(nodule, undo_mask_offset=options.undo_mask_offset))
    if stacks[0].name in tally.names:
        raise DataError(f"{nodule.nodule_id}: another nodule of the file has the name {stacks[0].name}")
    tally.names |= {stack.name for stack in stacks}
    for stack in stacks:
        paths = write_run(folder, stack.name, stack.image, stack.masks, stack.affine)
        tally.entries[part] += [{**paths, **fields} for fields in _slice_fields(nodule, stacks[0].name, stack)]
    tally.num_nodules += 1
    tally.num_without_spacing += nodule.spacing_mm is None


def _slice_fields(nodule: CommunityNodule, nodule_id: str, stack: SliceStack) -> Iterator[dict[str, Any]]:
    for index, present in enumerate(stack.raters_present):
        yield {
            "slice": index,
            "z_mm": None,
            "rater_weights": [1 / NUM_RATERS] * NUM_RATERS,
            "raters_present": present,
            "nodule_id": nodule_id,
            "patient_id": nodule.series_uid,
            "series_uid": nodule.series_uid,
            "padded": False,
        }


def _finish(folder: Path, record: dict[str, Any], tally: _Tally, failures: Failures) -> dict[str, Any]:
    sizes = {part: len(entries) for part, entries in tally.entries.items()}
    failures.require_some_left(sum(sizes.values()))
    require_training_and_validation(sizes, "slice")
    parts, everything = tally.entries, [entry for part in PARTS for entry in tally.entries[part]]
    write_datalist(
        folder,
        name=_NAME,
        source=CITATION,
        classes=("background", "nodule"),
        num_raters=NUM_RATERS,
        parts=parts,
        nodules=None,
    )
    failures.write(folder)
    series = {part: {entry["series_uid"] for entry in entries} for part, entries in parts.items()}
    shared = sum(count > 1 for count in Counter(uid for uids in series.values() for uid in uids).values())
    if shared:
        logger.warning("%d series are in more than one part of the file's own split: scores will be optimistic", shared)
    counts = {
        "series": len(set().union(*series.values())),
        "series_in_more_than_one_part": shared,
        "nodules": tally.num_nodules,
        "nodules_without_pixel_spacing": tally.num_without_spacing,
        "slices": sum(sizes.values()),
        "slices_by_part": sizes,
        "slices_where_every_outline_is_empty": sum(entry["raters_present"] == 0 for entry in everything),
        "left_out": {"nodules_not_in_split": tally.num_nodules_not_in_split, "cases_failed": len(failures)},
    }
    packages = ("numpy", "nibabel")
    describe(folder, counts=counts, options=record, packages=packages, licences=(CITATION,), window=(0, 1))
    return counts
