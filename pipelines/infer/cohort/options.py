"""Options of ``mose-med infer`` for many cases."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from mose_med.api.options import ResultOptions
from mose_med.errors import ConfigError
from mose_med.options import Option
from mose_med.weights.shipped import chosen_checkpoint
from pipelines.common.options import (
    AcceptVersion,
    CaseTimeout,
    Device,
    Overwrite,
    Quiet,
    RetryFailed,
    ShippedOrCheckpoint,
    WorkerThreads,
)
from pipelines.common.typed_paths import expanded
from pipelines.infer.store import is_url

__all__ = ["CohortOptions"]

_Option = functools.partial(Option, panel="Many cases")


@dataclass(frozen=True)
class CohortOptions(ResultOptions):
    """Which cases to infer, where, and who works on them; ``threads`` are those of each worker."""

    output_dir: Annotated[str, Option("Folder for all output.", parse=expanded, metavar="FOLDER or URL")]
    checkpoint: ShippedOrCheckpoint = None
    input_dir: Annotated[Path | None, _Option("Folder to search for cases: DICOM folders, zips, NIfTI files.")] = None
    manifest: Annotated[Path | None, _Option("CSV of cases: path; case, series, nodules, lung_mask are optional.")] = (
        None
    )
    case_depth: Annotated[
        int | None,
        _Option("Levels below --input-dir at which a folder is one case.", default_text="by content", at_least=1),
    ] = None
    shard: Annotated[str | None, _Option("i/n: do part i of n.")] = None
    private_dir: Annotated[Path | None, _Option("Folder for private/ if the output is a URL.")] = None
    engine: Annotated[Literal["local", "ray"], _Option("Processes on this machine, or a Ray cluster.")] = "local"
    workers: Annotated[
        int | None, _Option("Processes or actors.", default_text="one per GPU, or CPU cores / threads", at_least=1)
    ] = None
    in_flight: Annotated[int, _Option("Cases in flight per worker; 1 needs the least memory.", at_least=1)] = 3
    ray_address: Annotated[
        str | None, _Option("Address of a Ray cluster.", default_text="one is started on this machine")
    ] = None
    gpu_share: Annotated[float, _Option("Share of a GPU for each Ray actor.", above=0, at_most=1)] = 1.0
    start_timeout_s: Annotated[
        float, _Option("Time limit in seconds for a worker to load the model.", name="start_timeout", above=0)
    ] = 600.0
    case_timeout_s: CaseTimeout = None
    retry_failed: RetryFailed = False
    dry_run: Annotated[bool, _Option("Only count the cases that would run.")] = False
    device: Device = "auto"
    threads: WorkerThreads = 1
    quiet: Quiet = False
    overwrite: Overwrite = False
    accept_version: AcceptVersion = False

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
        if is_url(self.output_dir) and self.private_dir is None:
            raise ConfigError(
                f"private_dir must be given with the output {self.output_dir}: it holds names of patients"
            )
