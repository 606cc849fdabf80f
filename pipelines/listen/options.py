"""Options of ``mose-med listen``."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Annotated

from mose_med.errors import ConfigError
from mose_med.options import Option, check_options
from pipelines.common.options import (
    AcceptVersion,
    CaBundle,
    CaseTimeout,
    Device,
    Dicomweb,
    OutputDir,
    Overwrite,
    Quiet,
    Report,
    RetryFailed,
    Samples,
    Seed,
    ShippedOrCheckpoint,
    WorkerThreads,
)
from pipelines.infer.cohort.options import CohortOptions

__all__ = ["QUEUE_NAME", "RESULTS_NAME", "ListenOptions", "PeerAddress"]

QUEUE_NAME, RESULTS_NAME = "queue", "results"
_AE_TITLE = re.compile(r"(?! )[ -\[\]-~]{1,16}(?<! )")
_PEER = re.compile(r"(?P<title>[^@]+)@(?P<host>[^@:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_Limit = functools.partial(Option, panel="Limits")
_Target = functools.partial(Option, panel="Where results go")


@dataclass(frozen=True)
class PeerAddress:
    """AE title, host and port of another node."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> PeerAddress:
        """Read ``AE@HOST:PORT``.

        Raises:
            ConfigError: if it is not of that form.

        Example:
            >>> PeerAddress.parse("ORTHANC@127.0.0.1:4242")
            PeerAddress(ae_title='ORTHANC', host='127.0.0.1', port=4242)
        """
        match = _PEER.fullmatch(text)
        if match is None or not 1 <= int(match["port"]) <= 65535:
            raise ConfigError(f"send_to must be AE@HOST:PORT, got {text!r}")
        return cls(_checked_title("send_to", match["title"]), match["host"].strip("[]"), int(match["port"]))


@dataclass(frozen=True)
class ListenOptions:
    """How the node answers, how it infers, and where results go.

    The folder gets ``queue`` with what is received, readable by the owner alone, and ``results``.
    """

    output_dir: OutputDir
    ae_title: Annotated[str, Option("AE title of this node.")] = "MOSE"
    host: Annotated[str, Option("Address to listen on; 0.0.0.0 for all addresses of this machine.")] = "127.0.0.1"
    port: Annotated[int, Option("Port to listen on; 0 chooses a free one.", at_least=0, at_most=65535)] = 11112
    allow_ae_title: Annotated[tuple[str, ...], Option("AE title of a node that may send; may be repeated.")] = ()
    any_ae_title: Annotated[bool, Option("Accept objects from any node.")] = False
    quiet_s: Annotated[
        float,
        Option("Seconds without an object after which a study is complete.", name="quiet_time", above=0),
    ] = 30.0
    send_to: Annotated[
        tuple[str, ...], _Target("Node that receives the DICOM objects, AE@HOST:PORT; may be repeated.")
    ] = ()
    dicomweb: Dicomweb = None
    ca_bundle: CaBundle = None
    keep_hours: Annotated[float, Option("Hours to keep images after results are made and sent.", at_least=0)] = 24.0
    max_object_mb: Annotated[int, _Limit("Largest object, in MB.", at_least=1)] = 256
    max_study_objects: Annotated[int, _Limit("Objects in one study.", at_least=1)] = 10_000
    max_queue_gb: Annotated[float, _Limit("Total size of stored images, in GB.", above=0)] = 100.0
    max_associations: Annotated[int, _Limit("Concurrent associations.", at_least=1)] = 10
    checkpoint: ShippedOrCheckpoint = None
    samples: Samples = 4
    report: Report = False
    seed: Seed = 0
    device: Device = "auto"
    threads: WorkerThreads = 1
    case_timeout_s: CaseTimeout = None
    retry_failed: RetryFailed = False
    overwrite: Overwrite = False
    accept_version: AcceptVersion = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def inference(self) -> CohortOptions:
        """Options of the cohort that studies are inferred with."""
        return CohortOptions(
            str(self.output_dir / RESULTS_NAME),
            self.checkpoint,
            self.output_dir / QUEUE_NAME,
            samples=self.samples,
            report=self.report,
            dicom_seg=True,
            seed=self.seed,
            device=self.device,
            threads=self.threads,
            in_flight=2,
            case_timeout_s=self.case_timeout_s,
            retry_failed=self.retry_failed,
            overwrite=self.overwrite,
            accept_version=self.accept_version,
            quiet=self.quiet,
        )

    def peers(self) -> list[PeerAddress]:
        """Nodes that get the objects.

        Raises:
            ConfigError: if an address is invalid.
        """
        return [PeerAddress.parse(text) for text in self.send_to]

    def check(self) -> None:
        """Check that options are compatible, and the options of the inference.

        Raises:
            ConfigError: naming the option, the rule and the value.
        """
        _checked_title("ae_title", self.ae_title)
        for title in self.allow_ae_title:
            _checked_title("allow_ae_title", title)
        if bool(self.allow_ae_title) == self.any_ae_title:
            raise ConfigError("say who may send: --allow-ae-title NAME for each node, or --any-ae-title")
        if self.ca_bundle is not None and self.dicomweb is None:
            raise ConfigError(f"--ca-bundle needs --dicomweb URL, got {self.ca_bundle} without it")
        self.inference.check()


def _checked_title(option: str, title: str) -> str:
    if not _AE_TITLE.fullmatch(title):
        raise ConfigError(f"{option} must be an AE title, 1 to 16 characters of ASCII, got {title!r}")
    return title
