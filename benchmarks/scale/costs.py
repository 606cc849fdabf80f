"""What a cohort of whole chest CT costs on GPUs and on CPU cores, and what holds it up.

On a GPU some workers ("actors") share the device. A study needs reading, the network on the GPU, the CPU's part of
inference, and writing. Four things bound the rate:

- *reading*, *inference* (the network and the CPU's part of it, in turn) or *writing*: an actor does each of these for
  one study at a time and overlaps them, so that the slowest of them sets its pace;
- *GPU*: the network alone, of all actors together;
- *cores* beside the GPU;
- *storage*: what goes in and out of all machines together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.scale.model import Seconds

READ_FORM = "DICOM, uncompressed"
LISTED, LUNGS = "three listed positions", "search of the lungs"


@dataclass(frozen=True)
class Workload:
    """A study and what is asked of it; seconds are of one core.

    Attributes:
        name: what is asked.
        windows: that the network is shown.
        read_s: reading and decoding.
        beside_s: of inference, all but the network.
        network_s: the network on one core.
        write_s: compressing and writing.
        input_mb: that is read.
        output_mb: that is written.
        files: that are written.
    """

    name: str
    windows: int
    read_s: float
    beside_s: float
    network_s: float
    write_s: float
    input_mb: float
    output_mb: float
    files: int

    @property
    def core_s(self) -> float:
        """Seconds of a core, without a GPU."""
        return self.read_s + self.beside_s + self.network_s + self.write_s

    def gpu_s(self, window_ms: float) -> float:
        """Seconds that the GPU is busy."""
        return self.windows * window_ms / 1000

    def stages(self, window_ms: float) -> Seconds:
        """Stages of an actor."""
        return Seconds(self.read_s, self.gpu_s(window_ms) + self.beside_s, self.write_s)


@dataclass(frozen=True)
class Hardware:
    """What works on a cohort; none of it was measured.

    Attributes:
        window_ms: of the network on the GPU.
        actors: workers that share a GPU.
        cores: CPU cores for each GPU.
        storage_mb_per_s: of all machines together.
    """

    window_ms: float = 2.0
    actors: int = 1
    cores: int = 8
    storage_mb_per_s: float = 2000.0


class Rate(NamedTuple):
    """Studies a second, and what allows no more."""

    per_s: float
    bottleneck: str


def workloads(chest: Mapping[str, Any]) -> dict[str, Workload]:
    """Workloads from ``benchmarks/scale/chest_stages.py``.

    The CPU's part of inference was timed over the lungs and is carried over to listed positions by the window; the
    network was timed at listed positions and is carried over to the lungs.
    """
    form = next(form for form in chest["forms"] if form["form"] == READ_FORM)
    cases = {case["case"]: case for case in chest["cases"]}
    beside_s = cases[LUNGS]["infer_s"] / cases[LUNGS]["windows"]
    network_s = cases[LISTED]["infer_s"] / cases[LISTED]["windows"] - beside_s
    return {
        name: Workload(
            name=name,
            windows=case["windows"],
            read_s=form["read_s"],
            beside_s=beside_s * case["windows"],
            network_s=network_s * case["windows"],
            write_s=case["write_s"],
            input_mb=form["mb"],
            output_mb=case["output_mb"],
            files=case["files"],
        )
        for name, case in cases.items()
    }


def rate(workload: Workload, hardware: Hardware, gpus: int = 1) -> Rate:
    """How many studies a second so many GPUs do."""
    stages = workload.stages(hardware.window_ms)
    busy_core_s = workload.read_s + workload.beside_s + workload.write_s
    seconds = {
        **{
            name: stage / (gpus * hardware.actors)
            for name, stage in zip(("reading", "inference", "writing"), stages, strict=True)
        },
        "GPU": workload.gpu_s(hardware.window_ms) / gpus,
        "cores": busy_core_s / (gpus * hardware.cores),
        "storage": (workload.input_mb + workload.output_mb) / hardware.storage_mb_per_s,
    }
    bottleneck = max(seconds, key=lambda name: seconds[name])
    return Rate(1 / seconds[bottleneck], bottleneck)


def gpu_bound_from_ms(workload: Workload, actors: int, cores: int) -> float:
    """Time of a window above which the GPU is what holds up a machine; infinite for one actor, who never fills it."""
    if actors == 1:
        return float("inf")
    seconds = (
        workload.read_s / actors,
        workload.write_s / actors,
        workload.beside_s / (actors - 1),
        (workload.read_s + workload.beside_s + workload.write_s) / cores,
    )
    return 1000 * max(seconds) / workload.windows
