"""The files of a model: light to import, without PyTorch.

A checkpoint says itself what its weights mean. Weights alone, as bundles hold them for MONAI's own commands, have it in
a JSON file beside them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["MODEL_CONFIG_NAME", "model_sha256"]

#: What weights alone mean, in the same folder.
MODEL_CONFIG_NAME = "model_config.json"


def model_sha256(weights: Path) -> str:
    """SHA-256 of a checkpoint file; of weights alone, of their bytes and then those of the file of what they mean."""
    digest = hashlib.sha256()
    for path in (weights, weights.with_name(MODEL_CONFIG_NAME)):
        if path == weights or path.is_file():
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
