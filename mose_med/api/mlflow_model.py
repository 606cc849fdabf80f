"""A registered bundle as a model of MLflow: ``mlflow.pyfunc.load_model("models:/lung@champion")``.

MLflow reads ``MLmodel`` beside the bundle, which names this module as the one that loads it. Nothing is unpickled, and
no code is stored with the model: the network is that of the installed mose_med, its weights are read as tensors alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from mose_med import __version__
from mose_med.api.case import Case
from mose_med.api.model import Model, load_model
from mose_med.case_contents.lesion_rules import LESIONS_NAME
from mose_med.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from pandas import DataFrame

__all__ = ["OUTPUT_COLUMNS", "MlflowModel", "write_description"]

#: What a row of the answer holds.
OUTPUT_COLUMNS = ("path", "folder", "lesions", "files")

_OUTPUT_DIR = "predictions"
_HASH_SHOWN = 8


class MlflowModel:
    """The interface that MLflow expects of a model.

    Args:
        model: that infers.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, model_input: DataFrame, params: Mapping[str, Any] | None = None) -> DataFrame:
        """Infer studies and write the folder of each case.

        Args:
            model_input: a row for each study: its ``path``, and in ``nodules``, if there is such a column, the path of
                the list of positions. Without one, the study is searched.
            params: ``output_dir``, where the folders are written, and ``options``, a JSON object of those of
                ``mose-med infer`` by their Python names.

        Returns:
            A row for each study: its path, the folder of its case, the entries of ``lesions.json``, and the paths of
            all files. The same study is written to the same folder again.

        Raises:
            MoseError: if a study cannot be inferred; the message names it.
        """
        from pandas import DataFrame

        settings = dict(params or {})
        options = _options(settings.get("options") or "{}")
        target = Path(settings.get("output_dir") or _OUTPUT_DIR)
        nodules = model_input["nodules"] if "nodules" in model_input else [None] * len(model_input)
        rows = [
            _answer(path, self.model.infer(path, _given(listed), **options), target)
            for path, listed in zip(model_input["path"], nodules, strict=True)
        ]
        return DataFrame(rows, columns=list(OUTPUT_COLUMNS))

    def get_raw_model(self) -> MlflowModel:
        """This object, for :meth:`predict_array`: MLflow's own call takes tables alone."""
        return self

    def predict_array(
        self,
        image_hu: NDArray[Any],
        affine: NDArray[Any],
        nodules: Sequence[Sequence[float]] | None = None,
        **options: Any,
    ) -> Case:
        """Infer an array.

        Args:
            image_hu: of the study, (i, j, k), in HU.
            affine: from voxels to RAS mm, (4, 4).
            nodules: positions in RAS mm, (M, 3); None searches.
            options: as :meth:`mose_med.Model.infer` takes them.
        """
        image = torch.as_tensor(np.asarray(image_hu))[None]
        return self.model.infer(MetaTensor(image, affine=torch.as_tensor(np.asarray(affine))), nodules, **options)


def write_description(folder: Path) -> None:
    """Write what MLflow needs beside a bundle: ``MLmodel``, signature, input example and requirements.

    Args:
        folder: to make; the bundle is not in it.
    """
    from pandas import DataFrame

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own types at its import, and of its use of pandas
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=__name__,
            signature=_signature(),
            input_example=DataFrame({"path": ["study.nii.gz"]}),
            pip_requirements=[f"mose-med=={__version__}", f"mlflow=={version('mlflow')}"],
        )


def _load_pyfunc(path: str) -> MlflowModel:
    """The entry that MLflow calls, with the folder that holds ``MLmodel`` and the bundle."""
    bundles = sorted(Path(path).glob("*.zip"))
    if len(bundles) != 1:
        raise DataError(f"{path} must hold one bundle, got {len(bundles)}: register it with `mose-med models register`")
    return MlflowModel(load_model(bundles[0]))


def _signature() -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

    text = DataType.string
    inputs = Schema([ColSpec(text, "path"), ColSpec(text, "nodules", required=False)])
    path, folder, lesions, files = OUTPUT_COLUMNS
    outputs = [ColSpec(text, path), ColSpec(text, folder), ColSpec(AnyType(), lesions), ColSpec(Array(text), files)]
    params = ParamSchema([ParamSpec("output_dir", text, _OUTPUT_DIR), ParamSpec("options", text, "{}")])
    return ModelSignature(inputs, Schema(outputs), params)


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"options must be a JSON object, got {text!r}: {error}") from error
    if not isinstance(options, dict):
        raise ConfigError(f"options must be a JSON object, got {text!r}")
    return options


def _given(path: Any) -> str | None:
    """The path of a list of positions; a table has NaN or an empty text where there is none."""
    return path if isinstance(path, str) and path else None


def _answer(path: str, case: Case, output_dir: Path) -> tuple[str, str, list[Any], list[str]]:
    digest = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:_HASH_SHOWN]  # noqa: PTH100
    name = Path(path).name.partition(".")[0] or "study"
    folder = case.save(output_dir / f"{name}-{digest}", overwrite=True)
    lesions = json.loads((folder / LESIONS_NAME).read_text(encoding="utf-8"))["lesions"]
    files = sorted(str(file) for file in folder.rglob("*") if file.is_file())
    return path, str(folder), lesions, files
