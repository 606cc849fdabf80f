"""Options of ``mose-med infer`` for many cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mose_med.errors import ConfigError
from pipelines.common.shipped_weights import chosen_checkpoint
from pipelines.infer.options import ResultOptions
from pipelines.infer.store import is_url

__all__ = ["CohortOptions"]


@dataclass(frozen=True)
class CohortOptions(ResultOptions):
    """Which cases to infer, where, and who works on them.

    Attributes:
        output_dir: folder or URL that gets one folder a case.
        checkpoint: weights, made by ``mose-med train``.
        input_dir: folder to search for cases.
        manifest: CSV that lists cases, instead of ``input_dir``.
        case_depth: levels below ``input_dir`` at which each folder is one case; None finds out.
        shard: ``i/n``, the part of the cohort that this run does; None does all.
        private_dir: gets ``private/`` instead of ``output_dir``; must be given if that is a URL.
        engine: ``local`` for processes of this machine, ``ray`` for a Ray cluster.
        workers: processes or actors; None takes one for each GPU, or as many as CPU cores allow.
        in_flight: cases that a worker has in hand at once.
        ray_address: of an existing cluster; None starts one on this machine.
        gpu_share: part of a GPU that an actor takes.
        start_timeout_s: seconds that a worker may take to load the model.
        case_timeout_s: seconds that a case may have of its worker, from reading to its folder; None waits for ever.
        retry_failed: try again what failed before.
        dry_run: say what would be done, and do nothing.
        device: ``auto``, ``cpu`` or ``cuda[:n]``.
        threads: CPU threads of each worker.
        quiet: do not show progress.
        overwrite: replace results that were made with other options.
        accept_version: go on in an output that another version made; every case tells which version made it.
    """

    output_dir: str
    checkpoint: Path | None = None
    input_dir: Path | None = None
    manifest: Path | None = None
    case_depth: int | None = None
    shard: str | None = None
    private_dir: Path | None = None
    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    in_flight: int = 3
    ray_address: str | None = None
    gpu_share: float = 1.0
    start_timeout_s: float = 600.0
    case_timeout_s: float | None = None
    retry_failed: bool = False
    dry_run: bool = False
    device: str = "auto"
    threads: int = 1
    quiet: bool = False
    overwrite: bool = False
    accept_version: bool = False

    @property
    def home(self) -> Path:
        """Folder that has ``private/``."""
        return self.private_dir or Path(self.output_dir.removeprefix("file://"))

    @property
    def weights(self) -> Path:
        """The checkpoint.

        Raises:
            ConfigError: if none is given and none is shipped.
        """
        return chosen_checkpoint(self.checkpoint)

    def check(self) -> None:
        """Check the values, those that decide a result included.

        Raises:
            ConfigError: naming the option, the rule and the value.
        """
        super().check()
        if (self.input_dir is None) == (self.manifest is None):
            raise ConfigError("give either input_dir or manifest")
        for name, value, least in (
            ("case_depth", self.case_depth, 1),
            ("workers", self.workers, 1),
            ("in_flight", self.in_flight, 1),
            ("threads", self.threads, 1),
        ):
            if value is not None and value < least:
                raise ConfigError(f"{name} must be >= {least}, got {value}")
        for name, limit_s in (("case_timeout_s", self.case_timeout_s), ("start_timeout_s", self.start_timeout_s)):
            if limit_s is not None and not limit_s > 0:
                raise ConfigError(f"{name} must be > 0, got {limit_s}")
        if not 0 < self.gpu_share <= 1:
            raise ConfigError(f"gpu_share must be in (0, 1], got {self.gpu_share}")
        if is_url(self.output_dir) and self.private_dir is None:
            raise ConfigError(
                f"private_dir must be given with the output {self.output_dir}: it holds names of patients"
            )
