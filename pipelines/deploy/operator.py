"""The operator of MONAI Deploy: it takes the selected series and writes what :mod:`pipelines.deploy.folders` makes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mose_med.errors import DataError, MissingDependencyError
from pipelines.deploy.folders import FolderOptions, process_folder, remove_results

try:
    from monai.deploy.core import Operator
except ImportError as error:
    raise MissingDependencyError("monai-deploy-app-sdk", "dicom") from error

__all__ = ["INPUT_NAME", "MoseOperator"]

#: As the SDK's DICOMSeriesSelectorOperator names its output.
INPUT_NAME = "study_selected_series_list"


class MoseOperator(Operator):  # type: ignore[misc]
    """Distribution of segmentations of each selected CT series: SEG, fractional SEG, TID 1500 report and review page.

    Its output is files: one series goes into ``output_folder``, several into a numbered folder each. Results of an
    earlier study are removed before.

    Args:
        fragment: the application.
        output_folder: for the files.
        checkpoint: weights; None for those that are shipped.
        device: ``auto``, ``cpu`` or ``cuda[:n]``.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        output_folder: Path,
        checkpoint: Path | None = None,
        device: str = "auto",
        **kwargs: Any,
    ) -> None:
        # The SDK calls setup from its own constructor.
        self._output = Path(output_folder)
        self._checkpoint = checkpoint
        self._device = device
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: Any) -> None:
        """Declare the input."""
        spec.input(INPUT_NAME)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Infer every selected series.

        Raises:
            DataError: if none is selected, or one cannot be used.
        """
        selected = list(_series_of(op_input.receive(INPUT_NAME)))
        if not selected:
            raise DataError("no CT series was selected")
        for folder in (self._output, *self._output.glob("series-*")):
            remove_results(folder)
        for number, series in enumerate(selected, start=1):
            target = self._output if len(selected) == 1 else self._output / f"series-{number}"
            self._infer(series, target)

    def _infer(self, series: Any, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="mose-med-") as folder:
            for number, instance in enumerate(series.get_sop_instances()):
                instance.get_native_sop_instance().save_as(Path(folder) / f"{number:06d}.dcm", enforce_file_format=True)
            process_folder(FolderOptions(Path(folder), target, self._checkpoint, device=self._device))


def _series_of(studies: Any) -> Iterator[Any]:
    for study in studies:
        for selected in study.selected_series:
            yield selected.series
