"""Two processes that train together give the weights of one that takes both halves of every batch itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from mose_med.checkpoint import read_checkpoint
from mose_med.errors import ConfigError
from mose_med.networks.distributed import distributed_network
from pipelines.train_config import bundle_configs, config_files

EPOCHS = 2
PARTS = (
    "batch_norm",
    "network_def",
    "loss",
    "optimizer",
    "lr_scheduler",
    "annealing",
    "train::sampler",
    "train::dataloader",
    "train::prepare_batch",
)


def settings(datalist: Path, folder: Path) -> dict[str, Any]:
    return {"datalist": str(datalist), "output_dir": str(folder), "device_name": "cpu", "max_epochs": EPOCHS}


def half(rank: int, datalist: Path, overlay: Path, folder: Path) -> dict[str, Any]:
    """Parts of a training on one half of every batch."""
    paths = config_files("lidc", (str(overlay),), tracking=False)
    config = ConfigParser.load_config_files([str(path) for path in paths]) | settings(datalist, folder)
    parser = ConfigParser(config | {"rank": rank, "num_replicas": 2})
    torch.manual_seed(0)
    parts = {name: parser.get_parsed_content(name) for name in PARTS}
    parts["batch_norm"]()
    return parts


def averaged(values: tuple[torch.Tensor, torch.Tensor]) -> None:
    mean = (values[0] + values[1]) / 2
    for value in values:
        value.copy_(mean)


@torch.no_grad()
def train_epoch(halves: list[dict[str, Any]], epoch: int) -> None:
    """One epoch of both: gradients are averaged in every step, running statistics at the end."""
    networks = [part["network_def"].train() for part in halves]
    for part in halves:
        part["annealing"]["gamma"].begin_epoch()
        for name in ("sampler", "prepare_batch"):
            part[f"train::{name}"].set_epoch(epoch)
    for batches in zip(*(part["train::dataloader"] for part in halves), strict=True):
        for part, network, batch in zip(halves, networks, batches, strict=True):
            image, target, _, arguments = part["train::prepare_batch"](batch, "cpu")
            part["optimizer"].zero_grad()
            with torch.enable_grad():
                part["loss"](network(image, **arguments), target).backward()
        for pair in zip(*(network.parameters() for network in networks), strict=True):
            averaged((pair[0].grad, pair[1].grad))
        for part in halves:
            part["optimizer"].step()
    for part in halves:
        part["lr_scheduler"].step()
        part["annealing"]["gamma"].schedule.step(0.0)
    for pair in zip(*(network.buffers() for network in networks), strict=True):
        if pair[0].is_floating_point():
            averaged(pair)


def torchrun(*command: str) -> None:
    """Run a command in two processes of one thread each."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *launcher, *command], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def expected(tiny_datalist: Path, tiny_overlay: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("halves")
    halves = [half(rank, tiny_datalist, tiny_overlay, folder) for rank in (0, 1)]
    for epoch in range(1, EPOCHS + 1):
        train_epoch(halves, epoch)
    return halves[0]["network_def"].state_dict()


def test_monai_in_two_processes(tiny_datalist: Path, tiny_overlay: Path, expected: dict[str, Any], tmp_path: Path):
    files = [str(bundle_configs("lidc") / f"{name}.yaml") for name in ("train", "multi_gpu_train")]
    values = [f"--{name}={value}" for name, value in settings(tiny_datalist, tmp_path / "run").items()]
    torchrun("-m", "monai.bundle", "run", f"--config_file={[*files, str(tiny_overlay)]}", *values)
    found = read_checkpoint(tmp_path / "run" / "last.pt")
    assert found.epoch == EPOCHS
    torch.testing.assert_close(found.model, dict(expected), rtol=0, atol=1e-5)


def test_mose_med_in_two_processes(tiny_datalist: Path, tiny_overlay: Path, expected: dict[str, Any], tmp_path: Path):
    (tmp_path / "cli.py").write_text("from pipelines.cli import main\nmain()\n")
    options = ("--datalist", str(tiny_datalist), "--output-dir", str(tmp_path / "run"), "--config", str(tiny_overlay))
    torchrun(str(tmp_path / "cli.py"), "train", *options, "--device", "cpu", "--no-tracking", "--quiet")
    found = read_checkpoint(tmp_path / "run" / "last.pt")
    torch.testing.assert_close(found.model, dict(expected), rtol=0, atol=1e-5)


def test_shared_statistics_are_refused_without_cuda():
    with pytest.raises(ConfigError, match="sync_batch_norm must be false but on CUDA devices, got device cpu"):
        distributed_network(nn.BatchNorm2d(2), torch.device("cpu"), sync_batch_norm=True)
