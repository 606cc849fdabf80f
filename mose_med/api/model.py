"""A model: a network with what its weights mean, on the device that computes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mose_med.api.case import Case
from mose_med.api.options import ResultOptions
from mose_med.api.reading import CaseInput, CaseRequest, read_case
from mose_med.api.stages import Stages
from mose_med.api.writers import InferredCase
from mose_med.checkpoint import ModelConfig, build_network, read_checkpoint
from mose_med.errors import ConfigError
from mose_med.inferers import CaseDistribution, infer_case
from mose_med.inferers.precision import AskedPrecision, Precision, chosen_precision
from mose_med.io import Nodule, Study
from mose_med.io.channels import joined_channels
from mose_med.io.memory import study_in_memory
from mose_med.networks import StochasticNetwork
from mose_med.networks.protocol import device_of
from mose_med.options import Declared, Limits
from mose_med.preprocessing import Preprocessing
from mose_med.runtime.device import choose_device
from mose_med.runtime.progress import Progress
from mose_med.weights.files import weights_file
from mose_med.weights.model_files import model_sha256
from mose_med.weights.shipped import chosen_checkpoint

__all__ = ["Model", "load_model"]

_LOGGER = logging.getLogger(__name__)
_IN_MEMORY = "the image in memory"
_REGISTERED = "models:/"


@dataclass(frozen=True)
class Model:
    """A network in eval mode on its device, what its weights mean, and the hash of their file."""

    network: StochasticNetwork
    config: ModelConfig
    weights_sha256: str
    _tried: dict[AskedPrecision, Precision] = field(default_factory=dict, init=False, repr=False, compare=False)

    def precision(self, asked: AskedPrecision = "auto") -> Precision:
        """Precision of the network; ``auto`` is measured once.

        Raises:
            ConfigError: if there is no such precision.
        """
        if asked not in self._tried:
            choice = chosen_precision(self.network, asked, self.preprocessing)
            _LOGGER.info("precision: %s (%s)", *choice)
            self._tried[asked] = choice.precision
        return self._tried[asked]

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of HU values for the network."""
        return self.config.preprocessing

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of every class, background first."""
        return self.config.classes

    def infer(
        self,
        image: Any,
        nodules: Any = None,
        *,
        series: str | int | None = None,
        acquisition: int | None = None,
        lung_mask: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Case:
        """Infer the distribution of segmentations of one study.

        Args:
            image: path of a DICOM folder or zip, or of a NIfTI, NRRD or MetaImage file; or a MetaTensor (1, i, j, k), a
                SimpleITK image or a nibabel image. In HU. For a network of several channels a NIfTI file or image
                (i, j, k, channel), a MetaTensor (C, i, j, k), or a list with the path or image of each channel.
            nodules: where to look: positions in RAS mm, shape (M, 3), or the path of a CSV or JSON list. None searches.
            series: of a DICOM study, the SeriesInstanceUID or the number of the series; None takes the first.
            acquisition: of a DICOM series, the number of the acquisition.
            lung_mask: path of a volume that is not 0 in the lungs; without one they are found by threshold.
            options: those of ``mose-med infer`` by their Python names (:class:`~mose_med.api.options.ResultOptions`).

        Raises:
            ConfigError: if an option is invalid.
            DataError: if the study, a list or a position cannot be used.
            GeometryError: if the geometry of the study is not supported.
        """
        if nodules is not None and "region" in options:
            raise ConfigError("region applies only without nodules, got both: pass one of them")
        result = ResultOptions.of(options)
        Declared("acquisition", int | None, Limits(at_least=0), None).check(acquisition)
        channels = list(image) if isinstance(image, list | tuple) else [image]
        paths = [Path(one) for one in channels if isinstance(one, str | os.PathLike)]
        study = None if channels and len(paths) == len(channels) else _study(channels, result)
        in_file = isinstance(nodules, str | os.PathLike)
        request = CaseRequest(
            source=paths[0] if study is None else Path(_IN_MEMORY),
            channels=tuple(paths[1:]) if study is None else (),
            nodules=Path(nodules) if in_file else None,
            series=None if series is None else str(series),
            options=result,
            lung_mask=None if lung_mask is None else Path(lung_mask),
            origin=None if study is None else _IN_MEMORY,
            acquisition=acquisition,
        )
        stages = Stages()
        with stages.enter("read"):
            listed = None if nodules is None or in_file else _positions(nodules)
            read = self.read(request, study=study, nodules=listed)
        with stages.enter("infer"):
            return self.infer_input(request, read, stages)

    def read(
        self, request: CaseRequest, *, study: Study | None = None, nodules: Sequence[Nodule] | None = None
    ) -> CaseInput:
        """Read the inputs of a case, as :func:`~mose_med.api.reading.read_case`, with the channels of the network."""
        return read_case(
            request,
            study=study,
            nodules=nodules,
            num_channels=self.network.in_channels,
            in_hu=not self.preprocessing.channels,
        )

    def infer_input(self, request: CaseRequest, read: CaseInput, stages: Stages) -> Case:
        """Infer what was read.

        Args:
            request: what is asked for.
            read: of the request.
            stages: the time of each stage, and who is told how far it is.
        """
        distribution = _distribution(self, request.options, read, stages.progress)
        if read.nodules is not None:
            distribution = distribution.named([nodule.nodule_id for nodule in read.nodules])
        environment = {
            "device": device_of(self.network).type,
            "threads": torch.get_num_threads(),
            "precision": self.precision(request.options.precision),
        }
        inferred = InferredCase(request, read, self.config, self.weights_sha256, environment, distribution, stages)
        return Case.of(inferred)


def load_model(
    path: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    *,
    threads: int | None = None,
    tracking_uri: str | os.PathLike[str] | None = None,
) -> Model:
    """Read a model and put its network on the device.

    Args:
        path: checkpoint of ``mose-med train``, bundle folder or zip, or ``models:/name@alias`` (or ``models:/name/3``)
            for a version of a registry; None for the weights that are shipped.
        device: ``auto``, ``cpu`` or ``cuda[:n]``, or a device of PyTorch.
        threads: of the CPU, for this process; as they are if None.
        tracking_uri: MLflow server, SQLite URI or folder of the registry.

    Raises:
        ConfigError: if there is no checkpoint, it is not of this project, or an argument is invalid.
        DataError: if the file is damaged, or the registry cannot be reached.
        MissingDependencyError: if a registry is named and MLflow is not installed.
    """
    Declared("threads", int | None, Limits(at_least=1), None).check(threads)
    if threads is not None:
        torch.set_num_threads(int(threads))
    where = choose_device(str(device) if isinstance(device, torch.device) else device)
    if path is not None and str(path).startswith(_REGISTERED):
        from mose_med.api.registry import registered_bundle

        with registered_bundle(str(path), tracking_uri) as bundle:
            return _loaded(bundle, where, str(path))
    if tracking_uri is not None:
        raise ConfigError(f"tracking_uri applies only to {_REGISTERED}name@alias, got {path}: leave it out")
    checkpoint = chosen_checkpoint(None if path is None else Path(path))
    return _loaded(checkpoint, where, str(checkpoint))


def _loaded(checkpoint: Path, device: torch.device, name: str) -> Model:
    with weights_file(checkpoint) as file:
        content, sha256 = read_checkpoint(file), model_sha256(file)
    return Model(build_network(content, name).to(device), content.config, sha256)


def _study(channels: Sequence[Any], options: ResultOptions) -> Study:
    """The study of images in memory, one for each channel, or of one image with all of them."""
    if not channels:
        raise ConfigError("image must have a path or an image for each channel, got an empty list")
    studies = [
        study_in_memory(image, gantry_tilt=options.gantry_tilt, nifti_transform=options.nifti_transform)
        for image in channels
    ]
    return joined_channels(studies, [f"channel {number}" for number in range(1, len(studies) + 1)])


def _positions(nodules: Iterable[Sequence[float]]) -> list[Nodule]:
    """Positions of a list in memory, numbered from 1."""
    if not isinstance(nodules, Iterable):
        raise ConfigError(f"nodules must be positions (x, y, z) in RAS mm, or a path, got {nodules!r}")
    listed = []
    for number, position in enumerate(nodules, start=1):
        try:
            x, y, z = (float(value) for value in position)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"nodules must be positions (x, y, z) in RAS mm, got {position!r}") from error
        listed.append(Nodule(str(number), (x, y, z)))
    return listed


def _distribution(model: Model, options: ResultOptions, read: CaseInput, progress: Progress) -> CaseDistribution:
    return infer_case(
        model.network,
        read.study.image,
        preprocessing=model.preprocessing,
        nodules=None if read.nodules is None else [nodule.position_mm for nodule in read.nodules],
        region=options.region if read.nodules is None else "nodules",
        lungs=read.lungs,
        samples_per_expert=options.samples,
        seed=options.seed,
        codes=options.codes,
        sw_batch_size=options.sw_batch_size,
        overlap=options.overlap,
        depth_mm=options.depth_mm,
        reach_mm=options.reach_mm,
        lesion_threshold=options.lesion_threshold,
        min_lesion_ml=options.min_lesion_ml,
        classes=model.classes[1:],
        precision=model.precision(options.precision),
        num_standard=model.network.num_experts * options.samples if options.form == "standard" else 0,
        progress=progress,
    )
