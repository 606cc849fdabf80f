"""Precision of a network: float32, or a shorter type if a trial shows that it pays off.

A shorter type is used by autocast: convolutions and the products of the heads are of that type, with sums in float32;
normalisation and all that follows the logits stay in float32.

``auto`` takes bfloat16 if, on a few windows, it is faster *and* agrees with float32: no more than :data:`OFF_SHARE` of
the foreground probabilities of samples differ by more than :data:`TOLERANCE`, and no more than :data:`MASK_SHARE` of
the voxels of their masks change sides. A trained network is so steep at an edge that a few single voxels of a sample
always differ by more: what moves is its outline, by a fraction of a voxel. Where no hardware multiplies bfloat16
matrices (a CPU without AMX, an old GPU), nothing is tried.

How long something takes is never twice the same. A trial is therefore made once for a device and a network, and kept in
the user's cache folder: later runs, and all workers of a cohort, take the same precision and give the same results.
"""

from __future__ import annotations

import copy
import hashlib
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mose_med import __version__
from mose_med.errors import ConfigError
from mose_med.files.user_cache import kept_once
from mose_med.networks.memory import lay_channels_last
from mose_med.networks.protocol import StochasticNetwork, device_of, draw_fields, samples_of, standard_deviates
from mose_med.preprocessing import Preprocessing

__all__ = [
    "MASK_SHARE",
    "OFF_SHARE",
    "TOLERANCE",
    "AskedPrecision",
    "Precision",
    "PrecisionChoice",
    "Trial",
    "chosen_precision",
    "computing_in",
    "multiplies_bfloat16",
    "tried",
]

AskedPrecision = Literal["auto", "fp32", "bf16", "fp16"]
Precision = Literal["fp32", "bf16", "fp16"]
#: How far a foreground probability may be off, which share of them by more, and which share of mask voxels may change.
TOLERANCE = 0.02
OFF_SHARE = 1e-3
MASK_SHARE = 1e-4
#: Largest share of float32's time at which a shorter type pays off.
_WORTH = 0.9
_WINDOWS = 4
_REPEATS = 3
_DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Trial(NamedTuple):
    """A shorter type compared with float32.

    Attributes:
        time_share: its time, as a share of float32's.
        largest_difference: of a sample's foreground probability.
        off_share: of these probabilities, those that are off by more than :data:`TOLERANCE`.
        changed_share: of the voxels of the samples' masks.
        date: of the trial.
    """

    time_share: float
    largest_difference: float
    off_share: float
    changed_share: float
    date: str = ""

    def is_good(self) -> bool:
        """Whether the shorter type is faster and agrees."""
        agrees = self.off_share <= OFF_SHARE and self.changed_share <= MASK_SHARE
        return agrees and self.time_share <= _WORTH

    def __str__(self) -> str:
        """In words."""
        return (
            f"{self.time_share:.2f} of float32's time, {self.off_share:.1e} of probabilities off by more than "
            f"{TOLERANCE} ({self.largest_difference:.4f} at most), {self.changed_share:.1e} of mask voxels changed"
        )


class PrecisionChoice(NamedTuple):
    """The chosen precision, and the reason."""

    precision: Precision
    reason: str


def chosen_precision(
    network: StochasticNetwork, asked: AskedPrecision, preprocessing: Preprocessing
) -> PrecisionChoice:
    """The precision for a network on its device.

    Args:
        network: on its device; it is left as it is.
        asked: ``auto`` runs a trial, anything else is used as given.
        preprocessing: of the network: the size of its windows.

    Raises:
        ConfigError: if there is no such precision.
    """
    if asked not in get_args(AskedPrecision):
        raise ConfigError(f"precision must be auto, fp32, bf16 or fp16, got {asked!r}")
    if asked != "auto":
        return PrecisionChoice(asked, "requested")
    device = device_of(network)
    if not multiplies_bfloat16(device):
        return PrecisionChoice("fp32", f"this {device.type} has no bfloat16 matrix units")
    trial = _tried_once(network, preprocessing)
    return PrecisionChoice("bf16" if trial.is_good() else "fp32", f"trial of bf16 on {trial.date}: {trial}")


def _tried_once(network: StochasticNetwork, preprocessing: Preprocessing) -> Trial:
    """The trial of bfloat16 that was made first for a device and a network."""
    name = f"precision/{_key(network, preprocessing)}"
    kept = kept_once(name, lambda: _record(tried(network, "bf16", preprocessing)))
    try:
        return _trial(kept)
    except (KeyError, TypeError, ValueError):  # a file of another version, or none of ours
        return _trial(_record(tried(network, "bf16", preprocessing)))


def _record(trial: Trial) -> dict[str, Any]:
    return trial._replace(date=datetime.now(UTC).date().isoformat())._asdict()


def _trial(record: dict[str, Any]) -> Trial:
    time_share, largest, off, changed = (float(record[name]) for name in Trial._fields[:4])
    return Trial(time_share, largest, off, changed, str(record["date"]))


def _key(network: StochasticNetwork, preprocessing: Preprocessing) -> str:
    """Hash of all that a trial depends on: device, versions, the kind of network, its weights, the size of windows."""
    versions = (__version__, torch.__version__)
    told = (_device_name(device_of(network)), versions, type(network).__name__, preprocessing.roi_size)
    digest = hashlib.sha256(repr(told).encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has hardware that multiplies matrices of bfloat16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    has_amx: Callable[[], bool] | None = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device.type == "cpu" and has_amx is not None and bool(has_amx())


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """The context in which a network computes in a precision."""
    dtype = _DTYPES[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32)


def tried(network: StochasticNetwork, precision: Precision, preprocessing: Preprocessing) -> Trial:
    """Time and results of a precision on windows with discs in noise, alternating with float32."""
    network = copy.deepcopy(network).eval()
    device = device_of(network)
    lay_channels_last(network)
    images = _windows(network.in_channels, preprocessing.roi_size).to(device)
    generator = torch.Generator().manual_seed(0)
    deviates = standard_deviates(network, 1, generator=generator)[0].to(device)
    fields = draw_fields(network, images, 1, generator)

    def run(way: Precision) -> tuple[float, Tensor]:
        with torch.inference_mode(), computing_in(way, device):
            start = _now(device)
            samples = samples_of(network, images, deviates, fields)
            probs = samples.logits.float().softmax(dim=3)
            return _now(device) - start, 1 - probs[:, :, :, 0]

    (_, exact), (_, short) = run("fp32"), run(precision)
    pairs = [(run("fp32")[0], run(precision)[0]) for _ in range(_REPEATS)]
    exact_s, short_s = (min(seconds) for seconds in zip(*pairs, strict=True))
    differences, changed = (exact - short).abs(), (exact > 0.5) != (short > 0.5)
    off_share, changed_share = (float(found.float().mean()) for found in (differences > TOLERANCE, changed))
    return Trial(short_s / exact_s, float(differences.max()), off_share, changed_share)


def _windows(channels: int, size: tuple[int, int]) -> Tensor:
    """Standardised windows (B, channels, H, W), the same for every trial."""
    rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, length) for length in size), indexing="ij")
    images = 0.2 * torch.randn(_WINDOWS, channels, *size, generator=torch.Generator().manual_seed(0)) - 0.5
    for image, radius in zip(images, torch.linspace(0.05, 0.5, _WINDOWS), strict=True):
        image[:, rows**2 + columns**2 < radius**2] += 3
    return images


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
