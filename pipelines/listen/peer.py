"""Another node that receives results: C-STORE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mose_med.errors import DataError, MissingDependencyError
from mose_med.io.dicom.objects.saving import read_to_send

try:
    from pynetdicom import AE
except ImportError as error:
    raise MissingDependencyError("pynetdicom", "node") from error

__all__ = ["Peer"]

_UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_TIMEOUT_S = 60


class Peer(NamedTuple):
    """A node by its AE title, host and port, and the AE title that calls it."""

    ae_title: str
    host: str
    port: int
    calling: str

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.ae_title}@{self.host}:{self.port}"

    def store(self, files: Sequence[Path]) -> None:
        """Send DICOM files; one whose compression the node does not accept is sent uncompressed.

        Raises:
            DataError: if the node cannot be reached, refuses the association, or does not store a file.
        """
        datasets = [(file.name, read_to_send(file)) for file in files]
        association = self._associate([dataset for _, dataset in datasets])
        try:
            for name, dataset in datasets:
                self._send_one(association, name, dataset)
        finally:
            association.release()

    def _associate(self, datasets: list[pydicom.FileDataset]) -> Any:
        caller = AE(ae_title=self.calling)
        caller.acse_timeout = caller.dimse_timeout = caller.network_timeout = caller.connection_timeout = _TIMEOUT_S
        for sop_class in {dataset.SOPClassUID for dataset in datasets}:
            own = {dataset.file_meta.TransferSyntaxUID for dataset in datasets if dataset.SOPClassUID == sop_class}
            for syntax in sorted({*own, *_UNCOMPRESSED}):
                caller.add_requested_context(sop_class, syntax)
        association = caller.associate(self.host, self.port, ae_title=self.ae_title)
        if not association.is_established:
            why = "refuses the association" if association.is_rejected else "cannot be reached"
            raise DataError(f"{self.name} {why}: check its address, and that it knows {self.calling}")
        return association

    def _send_one(self, association: Any, name: str, dataset: pydicom.FileDataset) -> None:
        accepted = {
            context.transfer_syntax[0]
            for context in association.accepted_contexts
            if context.abstract_syntax == dataset.SOPClassUID
        }
        if not accepted:
            raise DataError(f"{self.name} does not accept objects like {name}")
        if dataset.file_meta.TransferSyntaxUID not in accepted and dataset.file_meta.TransferSyntaxUID.is_compressed:
            dataset.decompress(generate_instance_uid=False)
        status = association.send_c_store(dataset)
        code = getattr(status, "Status", None)
        if code is None:
            raise DataError(f"{self.name} ended the association during the transfer of {name}")
        if code != 0x0000 and code >> 12 != 0xB:
            raise DataError(f"{self.name} did not store {name} (status {code:04X})")
