"""Volumes as text inside a page: gzipped NIfTI in base64.

CT stays in whole HU, clipped to :data:`HU_RANGE`. Maps become whole numbers of 0 to 255 with the scale in the header,
so that a value is off by half of a 255th of its maximum at most; masks stay what they are.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import nibabel as nib
import numpy as np
from isal import igzip
from numpy.typing import NDArray

from mose_med.case_contents.maps import maps_of_kind
from mose_med.geometry import Affine
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["HU_RANGE", "MapLayer", "embedded_volumes", "gzip_base64", "map_layers"]

HU_RANGE = (-1024, 3071)
_LEVELS = 255
#: Of isal: in a twentieth of the time of zlib's level 6, pages are a twentieth to an eighth larger.
_COMPRESSION_LEVEL = 2
_SCANNER_COORDINATES = 1


class MapLayer(NamedTuple):
    """A map that can be laid over the CT.

    Attributes:
        name: as its file is named.
        label: for the reader.
        unit: of its values; empty for a probability.
        maximum: largest possible value; the smallest is 0.
        colours: name of the colour table in NiiVue; not black at low values, since it lies over the CT.
    """

    name: str
    label: str
    unit: str
    maximum: float
    colours: Literal["viridis", "plasma"]


def map_layers(num_experts: int) -> list[MapLayer]:
    """The maps of a case with K experts: those of the whole mixture first."""
    entropy, of_all = math.log(2), "probability, all experts" if num_experts > 1 else "probability"
    layers = [
        MapLayer("probability", of_all, "", 1.0, "viridis"),
        MapLayer("entropy", "entropy", "nats", entropy, "plasma"),
    ]
    for name in maps_of_kind("entropy_between_experts", num_experts):
        layers.append(MapLayer(name, "entropy between experts", "nats", entropy, "plasma"))
    for k, name in enumerate(maps_of_kind("foreground_probability", num_experts), start=1):
        layers.append(MapLayer(name, f"probability, expert {k}", "", 1.0, "viridis"))
    return layers


def embedded_volumes(volumes: LesionVolumes) -> dict[str, str]:
    """Every volume of a lesion by its name: ``ct``, ``consensus``, ``samples`` (i, j, k, K S) and the maps."""
    depth = volumes.image.shape[2]
    image = np.clip(np.rint(volumes.image), *HU_RANGE).astype(np.int16)
    samples = volumes.samples.swapaxes(3, 4).reshape(*volumes.image.shape[:2], depth, -1, order="F")
    texts = {
        "ct": _nifti_text(image, volumes.affine),
        "consensus": _nifti_text(volumes.consensus.astype(np.uint8), volumes.affine),
        "samples": _nifti_text(samples.astype(np.uint8), volumes.affine),
    }
    for layer, values in _maps(volumes):
        whole = np.rint(np.clip(values / layer.maximum, 0, 1) * _LEVELS).astype(np.uint8)
        texts[layer.name] = _nifti_text(whole, volumes.affine, layer.maximum / _LEVELS)
    return texts


def gzip_base64(content: bytes) -> str:
    """Compress, the same bytes for the same content, and encode."""
    return base64.b64encode(igzip.compress(content, compresslevel=_COMPRESSION_LEVEL, mtime=0)).decode("ascii")


def _maps(volumes: LesionVolumes) -> Iterator[tuple[MapLayer, NDArray[np.float32]]]:
    means, between = volumes.expert_probability, volumes.entropy_between_experts
    values = {"probability": volumes.probability, "entropy": volumes.entropy}
    if between is not None:
        values["entropy_between_experts"] = between
    if means is not None:
        names = maps_of_kind("foreground_probability", means.shape[3])
        values |= {name: means[..., k] for k, name in enumerate(names)}
    return ((layer, values[layer.name]) for layer in map_layers(volumes.samples.shape[3]) if layer.name in values)


def _nifti_text(values: NDArray[np.generic], affine: Affine, slope: float = 1.0) -> str:
    header = nib.Nifti1Header()
    header.set_data_shape(values.shape)
    header.set_data_dtype(values.dtype)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=_SCANNER_COORDINATES, strip_shears=True)
    header.set_sform(affine, code=_SCANNER_COORDINATES)
    header.set_slope_inter(slope, 0)
    header["magic"] = b"n+1"
    header["vox_offset"] = header.sizeof_hdr + 4
    return gzip_base64(header.binaryblock + bytes(4) + values.tobytes(order="F"))
