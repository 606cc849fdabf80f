"""What data loading and bookkeeping add to the bare training step.

    python -m benchmarks.speed.train [--bundle lidc_small] [--device cuda --num-workers 8] [--output train.json]

A bundle trains for real: prepared slices on disk, augmentation, handlers, checkpoints and MLflow tracking, as with
``mose-med train``. Every few steps the trainer pauses for as many bare steps - forward, loss, backward and update of a
copy of the network on one batch that stays where it is - so that both meet the same state of the machine. The first
epoch warms up; after it every epoch counts in whole, apart from its validation, which is computing of its own. Epochs
are short compared with those of LIDC-IDRI (some 500 steps): what comes once per epoch weighs more here than it does
there.

Target: training takes at most 1.08 times the bare steps.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from rich.console import Console
from rich.table import Table

from benchmarks.speed.busy import measure_busy
from mose_med.data import MultiRaterBatch
from pipelines.common.mlflow_settings import calm_mlflow
from pipelines.train.config import compose, config_files

TARGET = 1.08
RATERS = 4
SLICES_OF_NODULE = 8
AFFINE = np.diag([-0.7, -0.7, 2.5, 1.0])


class BareSteps:
    """Training steps without everything else: a copy of the network, and one batch that was loaded already."""

    def __init__(self, workflow: ConfigWorkflow) -> None:
        part = workflow.parser.get_parsed_content
        self.network = copy.deepcopy(part("network_def")).train()
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=part("learning_rate"), weight_decay=part("weight_decay")
        )
        self.loss, self.inferer, self.device = part("loss"), part("train::inferer"), part("device")
        batch = next(iter(part("train::dataloader")))
        self.image, self.target, _, self.arguments = MultiRaterBatch()(batch, self.device)

    def __call__(self) -> None:
        """One step."""
        self.optimizer.zero_grad(set_to_none=True)
        samples = self.inferer(self.image, self.network, **self.arguments)
        self.loss(samples, self.target).backward()
        self.optimizer.step()


class Stopwatch:
    """Pauses a trainer for bare steps, and times both sides in turn. Attach it last."""

    def __init__(self, bare: Callable[[], None], device: torch.device, every: int) -> None:
        self.bare, self.device, self.every = bare, device, every
        self.training_s: list[float] = []  # of each block of `every` steps, pauses and validation taken out
        self.bare_s: list[float] = []
        self.loading_s = self.validation_s = 0.0
        self.utilisation: list[float] = []
        self._steps, self._start, self._paused, self._loading_since, self._validating_since = 0, 0.0, 0.0, 0.0, 0.0

    def attach(self, trainer: Engine, validator: Engine) -> None:
        """Watch a trainer and its validation."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        trainer.add_event_handler(Events.GET_BATCH_STARTED, self.batch_wanted)
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, self.batch_came)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.step_done)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
        validator.add_event_handler(Events.STARTED, self.validation_started)
        validator.add_event_handler(Events.COMPLETED, self.validation_completed)

    def now(self) -> float:
        """Seconds, once the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def epoch_started(self, engine: Engine) -> None:
        """Begin to count with the second epoch."""
        if engine.state.epoch == 2:
            self.training_s, self.bare_s, self.utilisation = [], [], []
            self.loading_s = self.validation_s = self._paused = 0.0
            self._steps, self._start = 0, self.now()

    def batch_wanted(self) -> None:
        """The trainer begins to wait for its loader."""
        self._loading_since = time.perf_counter()

    def batch_came(self) -> None:
        """The trainer continues with a batch."""
        self.loading_s += time.perf_counter() - self._loading_since

    def validation_started(self) -> None:
        """What follows is computing that training does not have to hide."""
        self._validating_since = self.now()

    def validation_completed(self) -> None:
        """Take it out."""
        passed = self.now() - self._validating_since
        self.validation_s += passed
        self._paused += passed

    def step_done(self) -> None:
        """After each block of steps, as many bare ones."""
        self._steps += 1
        if self._steps % self.every == 0:
            self._end_of_block()

    def epoch_completed(self) -> None:
        """What was done at the end of the epoch belongs to its last block."""
        end = self.now()
        self.training_s[-1] += end - self._start - self._paused
        self._start, self._paused = end, 0.0

    def _end_of_block(self) -> None:
        end = self.now()
        self.training_s.append(end - self._start - self._paused)
        if self.device.type == "cuda":
            self.utilisation.append(gpu_utilisation_percent())
        start = self.now()
        for _ in range(self.every):
            self.bare()
        self._start, self._paused = self.now(), 0.0
        self.bare_s.append(self._start - start)


def gpu_utilisation_percent() -> float:
    """Share of the last moment in which a kernel ran on the first GPU, as its driver counts it."""
    query = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    return float(subprocess.run(query, check=True, capture_output=True, text=True).stdout)


def write_data(folder: Path, side: int, training: int, validation: int) -> Path:
    """A datalist of discs in noise, in the layout of ``mose-med prepare``: four raters, eight slices a nodule."""
    (folder / "nodules").mkdir(parents=True)
    random = np.random.default_rng(0)
    content: dict[str, Any] = {"name": "discs", "num_raters": RATERS, "classes": ["background", "nodule"]}
    content["source"] = "discs in noise"
    for part, slices in (("training", training), ("validation", validation), ("test", SLICES_OF_NODULE)):
        nodules = [f"{part}-{number}" for number in range(-(-slices // SLICES_OF_NODULE))]
        for nodule in nodules:
            write_nodule(folder / "nodules", nodule, side, random)
        entries = [entry(nodule, k) for nodule in nodules for k in range(SLICES_OF_NODULE)]
        content[part] = entries[:slices]
    path = folder / "dataset.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_nodule(folder: Path, nodule: str, side: int, random: np.random.Generator) -> None:
    i, j = np.mgrid[:side, :side]
    centre = random.uniform(0.4 * side, 0.6 * side, size=2)
    distance = np.hypot(i - centre[0], j - centre[1])
    masks = np.stack([distance < radius for radius in np.linspace(0.08, 0.14, RATERS) * side], axis=-1)
    label = np.repeat(masks[:, :, None], SLICES_OF_NODULE, axis=2).astype(np.uint8)
    image = (random.normal(-800, 50, (side, side, SLICES_OF_NODULE)) + 600.0 * label[..., 0]).astype(np.int16)
    nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{nodule}.nii")
    nib.save(nib.Nifti1Image(label, AFFINE), folder / f"{nodule}_raters.nii")


def entry(nodule: str, k: int) -> dict[str, Any]:
    paths = {"image": f"nodules/{nodule}.nii", "label": f"nodules/{nodule}_raters.nii"}
    weights = {"rater_weights": [1 / RATERS] * RATERS, "raters_present": RATERS, "padded": False}
    ids = {"nodule_id": nodule, "patient_id": nodule, "series_uid": "1.2"}
    return {**paths, "slice": k, "z_mm": 2.5 * k, **weights, **ids}


def train(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    paths = config_files(options.bundle, tuple(options.config), tracking=True)
    config = compose(paths, {} if options.batch_size is None else {"batch_size": options.batch_size})
    batch, side = config["batch_size"], config["preprocessing"]["roi_size"][0]
    values = {
        "datalist": str(write_data(folder / "data", side, training=options.steps * batch, validation=batch)),
        "output_dir": str(folder / "run"),
        "max_epochs": options.epochs + 1,
        "device_name": options.device,
        "num_workers": options.num_workers,
        "batch_size": batch,
    }
    files = [str(path) for path in paths]
    workflow = ConfigWorkflow(config_file=files, logging_file=False, workflow_type="train", **values)
    workflow.initialize()
    part = workflow.parser.get_parsed_content
    watch = Stopwatch(BareSteps(workflow), part("device"), options.block)
    watch.attach(part("train::trainer"), part("validate::evaluator"))
    workflow.run()
    return results(watch, options.block, batch)


def results(watch: Stopwatch, block: int, batch: int) -> dict[str, Any]:
    steps = block * len(watch.bare_s)
    training_s, bare_s = sum(watch.training_s), sum(watch.bare_s)
    blocks = [ours / bare for ours, bare in zip(watch.training_s, watch.bare_s, strict=True)]
    quartiles = statistics.quantiles(blocks, n=4)
    return {
        "steps": steps,
        "bare_ms": 1000 * bare_s / steps,
        "training_ms": 1000 * training_s / steps,
        "ratio": training_s / bare_s,
        "ratio_of_a_block_quartiles": [quartiles[0], quartiles[2]],
        "waiting_for_the_loader_ms": 1000 * watch.loading_s / steps,
        "images_per_s": batch * steps / training_s,
        "gpu_utilisation_percent": statistics.mean(watch.utilisation) if watch.utilisation else None,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", choices=["lidc", "lidc_small"], default="lidc")
    parser.add_argument("--config", action="append", default=[], help="overlay, by name or file; may be repeated")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-size", type=int, help="slices a step; the bundle's if not given")
    parser.add_argument("--num-workers", type=int, default=0, help="processes that load")
    parser.add_argument("--epochs", type=int, default=2, help="that count, after the one that warms up")
    parser.add_argument("--steps", type=int, default=24, help="of an epoch, a multiple of --block")
    parser.add_argument("--block", type=int, default=4, help="steps between two pauses")
    parser.add_argument("--busy", action="store_true", help="a step beside a busy process instead (busy.py)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.busy:
        found = measure_busy(options.threads, options.steps)
        if options.output is not None:
            options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        return
    calm_mlflow()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = train(options, Path(folder))
    low, high = found["ratio_of_a_block_quartiles"]
    used = found["gpu_utilisation_percent"]
    table = Table(f"{options.bundle} on {options.device}", f"{found['steps']} steps of each")
    table.add_row("bare step", f"{found['bare_ms']:.1f} ms")
    table.add_row("step of the training", f"{found['training_ms']:.1f} ms")
    table.add_row(f"ratio, target <= {TARGET}", f"{found['ratio']:.3f}")
    table.add_row("middle half of the blocks", f"{low:.3f} to {high:.3f}")
    table.add_row("of which waiting for the loader", f"{found['waiting_for_the_loader_ms']:.1f} ms")
    table.add_row("throughput", f"{found['images_per_s']:.1f} images/s")
    table.add_row("GPU utilisation", "-" if used is None else f"{used:.0f} %")
    Console().print(table)
    if options.output is not None:
        settings = {name: str(value) for name, value in vars(options).items()}
        settings |= {"torch": torch.__version__, "machine": platform.machine(), "date": datetime.now(UTC).isoformat()}
        text = json.dumps({"settings": settings, "results": found}, indent=2)
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
