"""Two processes that train together give the weights of one that takes both halves of every batch itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from mose_med.checkpoint import read_checkpoint
from mose_med.errors import ConfigError
from mose_med.networks.distributed import distributed_network
from pipelines.train.config import bundle_configs, config_files

EPOCHS = 2
PARTS = (
    "batch_norm",
    "network_def",
    "loss",
    "optimizer",
    "lr_scheduler",
    "annealing",
    "seeded",
    "train::dataloader",
    "train::prepare_batch",
)


def settings(datalist: Path, folder: Path) -> dict[str, Any]:
    return {"datalist": str(datalist), "output_dir": str(folder), "device_name": "cpu", "max_epochs": EPOCHS}


def half(rank: int, datalist: Path, overlays: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Parts of a training on one half of every batch."""
    paths = config_files("lidc", overlays, tracking=False)
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


def begin_epoch(part: dict[str, Any], epoch: int) -> None:
    for annealing in part["annealing"].values():
        annealing.begin_epoch()
    for seeded in part["seeded"]:
        seeded.set_epoch(epoch)


def end_epoch(part: dict[str, Any]) -> None:
    part["lr_scheduler"].step()
    for annealing in part["annealing"].values():
        annealing.schedule.step(0.0)


@torch.no_grad()
def train_epoch(halves: list[dict[str, Any]], epoch: int) -> None:
    """One epoch of both: gradients are averaged in every step, running statistics at the end."""
    networks = [part["network_def"].train() for part in halves]
    for part in halves:
        begin_epoch(part, epoch)
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
        end_epoch(part)
    for pair in zip(*(network.buffers() for network in networks), strict=True):
        if pair[0].is_floating_point():
            averaged(pair)


#: One agent that starts two processes, or two agents, as of two machines, that find each other and start one each.
MACHINES = {
    "one machine": [("--standalone", "--nproc-per-node=2")],
    "two machines": [("--nnodes=2", f"--node-rank={rank}", "--nproc-per-node=1") for rank in (0, 1)],
}


def torchrun(*command: str, machines: str = "one machine") -> None:
    """Run a command in two processes of one thread each, which tell where they were if they crash."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meeting = ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{probe.getsockname()[1]}", "--rdzv-id=test")
    launcher = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run"]
    agents = MACHINES[machines]
    running = [
        subprocess.Popen(
            [*launcher, *agent, *(meeting if len(agents) > 1 else ()), *command],
            env=os.environ | {"PYTHONFAULTHANDLER": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for agent in agents
    ]
    try:
        errors = [process.communicate(timeout=150)[1] for process in running]
    finally:
        for process in running:
            process.terminate()  # an agent ends its processes, too
    assert [process.returncode for process in running] == [0] * len(agents), errors


@contextmanager
def one_thread() -> Iterator[None]:
    """Other numbers of threads round differently, and Adam scales rounding errors up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def expected(
    tiny_datalist: Path, tiny_overlay: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, Any]]:
    """Weights of both halves, trained in this process, as of one thread, with overlays of the bundle's own."""

    def train_halves(*names: str) -> dict[str, Any]:
        with one_thread():
            return train_both(*names)

    def train_both(*names: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("halves")
        halves = [half(rank, tiny_datalist, (*names, str(tiny_overlay)), folder) for rank in (0, 1)]
        for epoch in range(1, EPOCHS + 1):
            train_epoch(halves, epoch)
        return dict(halves[0]["network_def"].state_dict())

    return train_halves


def test_monai_in_two_processes_tracks_one_run(
    tiny_datalist: Path, tiny_overlay: Path, expected: Callable[..., dict[str, Any]], tmp_path: Path
):
    mlflow = pytest.importorskip("mlflow")
    files = [str(bundle_configs("lidc") / f"{name}.yaml") for name in ("train", "mlflow", "multi_gpu_train")]
    values = [f"--{name}={value}" for name, value in settings(tiny_datalist, tmp_path / "run").items()]
    torchrun("-m", "monai.bundle", "run", f"--config_file={[*files, str(tiny_overlay)]}", *values)
    found = read_checkpoint(tmp_path / "run" / "last.pt")
    assert found.epoch == EPOCHS
    assert_equal_weights(found.model, expected())
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/run/mlflow.db")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert run.info.status == "FINISHED"
    for name in ("train_loss", "val_ged"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == [1, 2]


@pytest.fixture
def command(tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """A training of ``mose-med`` in ``run``, with overlays of the bundle's own, as torchrun takes it."""

    def build(*overlays: str) -> list[str]:
        (tmp_path / "cli.py").write_text("from pipelines.cli import main\nmain()\n")
        options = ["--datalist", str(tiny_datalist), "--output-dir", str(tmp_path / "run"), "--device", "cpu"]
        for overlay in (*overlays, str(tiny_overlay)):
            options += ["--config", overlay]
        return [str(tmp_path / "cli.py"), "train", *options, "--quiet"]

    return build


def assert_trained(folder: Path, expected: dict[str, Any]) -> None:
    assert_equal_weights(read_checkpoint(folder / "last.pt").model, expected)


def assert_equal_weights(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Equal but for biases that a normalisation removes: their gradients are rounding errors, which Adam scales up."""
    removed = {
        name
        for name in expected
        if name.removesuffix(".conv.bias").removesuffix(".linear.bias") + ".norm.weight" in expected
    }
    assert removed < set(expected)
    torch.testing.assert_close(
        {name: value for name, value in found.items() if name not in removed},
        {name: value for name, value in expected.items() if name not in removed},
        rtol=0,
        atol=1e-5,
    )


def test_mose_med_in_two_processes_evaluates_and_exports_once(
    command: Callable[..., list[str]], expected: Callable[..., dict[str, Any]], tmp_path: Path
):
    mlflow = pytest.importorskip("mlflow")
    torchrun(*command("standard_form"))
    assert_trained(tmp_path / "run", expected("standard_form"))
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/run/mlflow.db")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert len(client.get_metric_history(run.info.run_id, "test/compact 16/ged")) == 1
    assert (tmp_path / "run" / "bundle.zip").is_file()


@pytest.mark.slow
def test_two_machines(command: Callable[..., list[str]], expected: Callable[..., dict[str, Any]], tmp_path: Path):
    torchrun(*command(), "--no-tracking", machines="two machines")
    assert_trained(tmp_path / "run", expected())


@pytest.mark.slow
def test_two_processes_that_stop_go_on(
    command: Callable[..., list[str]], expected: Callable[..., dict[str, Any]], tmp_path: Path
):
    torchrun(*command("standard_form"), "--no-tracking", "--max-minutes", "1e-6")
    assert read_checkpoint(tmp_path / "run" / "last.pt").epoch == 1
    torchrun(*command("standard_form"), "--no-tracking")
    assert_trained(tmp_path / "run", expected("standard_form"))


def test_shared_statistics_are_refused_without_cuda():
    with pytest.raises(ConfigError, match="sync_batch_norm applies only to CUDA devices, got device cpu"):
        distributed_network(nn.BatchNorm2d(2), torch.device("cpu"), sync_batch_norm=True)
