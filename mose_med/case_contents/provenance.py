"""The provenance of a result: versions, and the hash of an image."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from mose_med import __version__
from mose_med.ct_image import CtImage, PlacedImage, plain_tensor

__all__ = ["difference_of_voxels", "image_sha256", "tool_versions"]

_PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "pydicom", "isal")


def tool_versions() -> dict[str, str]:
    """Versions of this project, of Python and of the packages that take part in inference."""
    return {"mose-med": __version__, "python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def difference_of_voxels(provenance: Mapping[str, Any], image: PlacedImage) -> str | None:
    """How an image on the grid of a case differs from the one it was inferred from; None if it does not.

    Of channels in files of their own, one is shown, and its content cannot be checked. The last digits of the affine,
    which libraries compute differently, do not count.
    """
    recorded, read = provenance.get("request", {}).get("input_sha256"), provenance.get("input", {})
    values = plain_tensor(image)
    if recorded is None or read.get("channels", 1) != len(values):
        return None
    affine = np.asarray(read.get("affine_ras_mm", image.affine), dtype=np.float64)
    return None if image_sha256(CtImage(values, torch.from_numpy(affine))) == recorded else "its HU differ"


def image_sha256(image: PlacedImage) -> str:
    """SHA-256 of shape, affine and values (C, i, j, k) in float32, independent of their type and storage."""
    channels = plain_tensor(image).numpy()
    digest = hashlib.sha256(f"{channels.shape[1:]} float32".encode())
    digest.update(np.asarray(image.affine, dtype="<f8").tobytes())
    for values in channels:
        for k in range(values.shape[2]):
            digest.update(values[:, :, k].astype(np.float32).tobytes(order="F"))
    return digest.hexdigest()
