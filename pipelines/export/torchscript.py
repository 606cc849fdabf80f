"""The network of a checkpoint as TorchScript that needs only PyTorch, with the same bytes for the same weights.

``python -m pipelines.export.torchscript CHECKPOINT TARGET METADATA``: a separate process, since PyTorch numbers the
classes that a process has scripted, and the numbers end up in the file. So does the order of Python's sets, which is
why the process has a fixed hash seed, and so would the paths of the source files, which is why debug records are
dropped. The module is not frozen: freezing is not deterministic.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import torch

from mose_med.checkpoint import read_checkpoint
from mose_med.errors import MoseError
from mose_med.networks.marginal import marginal_network
from pipelines.common.processes import keep_current_folder_out

__all__ = ["METADATA_RECORD", "torchscript_bytes"]

#: Name that MONAI's ``load_net_with_metadata`` looks for.
METADATA_RECORD = "metadata.json"


def torchscript_bytes(checkpoint: Path, metadata: Path) -> bytes:
    """Script a checkpoint's marginal network in a fresh interpreter.

    Args:
        checkpoint: with the weights to use under ``model``.
        metadata: JSON that is kept in the file.

    Raises:
        MoseError: if PyTorch cannot script the network.
    """
    target = checkpoint.with_suffix(".ts")
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(checkpoint), str(target), str(metadata)]
    keep_current_folder_out()
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = result.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise MoseError(f"the network cannot be written as TorchScript: {reason[0]}")
    return target.read_bytes()


def _scripted(checkpoint: Path) -> torch.jit.ScriptModule:
    found = read_checkpoint(checkpoint)
    network = marginal_network(found.config.to_dict()["network"])
    network.load_state_dict(found.model)
    return network.eval().to_torchscript(torch.zeros(1, network.in_channels, *found.config.preprocessing.roi_size))


def _without_debug_records(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    saved, stripped = io.BytesIO(), io.BytesIO()
    torch.jit.save(module, saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(stripped, "w") as kept:
        for name in source.namelist():
            if not name.endswith(".debug_pkl"):
                kept.writestr(name, source.read(name))
    stripped.seek(0)
    read: torch.jit.ScriptModule = torch.jit.load(stripped)  # type: ignore[no-untyped-call]
    return read


def _main(checkpoint: str, target: str, metadata: str) -> None:
    module = _without_debug_records(_scripted(Path(checkpoint)))
    saved = io.BytesIO()
    extra = {METADATA_RECORD: Path(metadata).read_bytes()}
    torch.jit.save(module, saved, _extra_files=extra)
    Path(target).write_bytes(saved.getvalue())


if __name__ == "__main__":
    _main(*sys.argv[1:])
