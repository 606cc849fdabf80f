from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from mose_med.errors import ConfigError, DataError
from mose_med.files.hashes import file_sha256
from pipelines.infer.cohort.workers.preflight import preflight


def test_weights_are_tried_and_known_by_their_hash(infer_checkpoint: Path):
    assert preflight(infer_checkpoint, "cpu", 600.0) == (file_sha256(infer_checkpoint), ["cpu"])


@pytest.mark.parametrize("device", ["gpu", "cuda:77"])
def test_a_device_that_is_not_there_is_refused(infer_checkpoint: Path, device: str):
    with pytest.raises(ConfigError, match=f"device.*{device}"):
        preflight(infer_checkpoint, device, 600.0)


def test_damaged_weights_are_refused(tmp_path: Path):
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"weights.pt cannot be read"):
        preflight(tmp_path / "weights.pt", "cpu", 600.0)


def test_weights_that_take_too_long_end_with_a_word(infer_checkpoint: Path):
    with pytest.raises(ConfigError, match=r"weights.pt was not loaded within 0.1 s: check its storage"):
        preflight(infer_checkpoint, "cpu", 0.1)
    assert multiprocessing.active_children() == []
