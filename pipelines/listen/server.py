"""The node as other nodes see it: C-ECHO and C-STORE over associations of those that may send."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    LegacyConvertedEnhancedCTImageStorage,
    RLELossless,
)

from mose_med.errors import ConfigError, DataError, MissingDependencyError
from pipelines.listen.inbox import Inbox, QueueFullError

try:
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import Verification
except ImportError as error:
    raise MissingDependencyError("pynetdicom", "node") from error

__all__ = ["serving"]

_LOGGER = logging.getLogger(__name__)
_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
_SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    RLELossless,
]
#: Statuses of a C-STORE, PS3.4 table B.2-1.
_SUCCESS, _OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
#: Seconds that an association may be silent.
_SILENT_S = 60
_LAST_FRAGMENT, _COMMAND = 2, 1


@contextmanager
def serving(inbox: Inbox, ae_title: str, address: tuple[str, int], allowed: Collection[str]) -> Iterator[int]:
    """Serve other nodes inside the context.

    Args:
        inbox: that takes what they send.
        ae_title: of this node.
        address: host and port to listen on; port 0 for any that is free.
        allowed: AE titles of those that may open associations; empty for everybody.

    Yields:
        The port.

    Raises:
        ConfigError: if the port cannot be used.
    """
    node = AE(ae_title=ae_title)
    node.add_supported_context(Verification)
    for sop_class in _CLASSES:
        node.add_supported_context(sop_class, _SYNTAXES)
    node.require_calling_aet = sorted(allowed)
    node.maximum_associations = inbox.limits.associations
    node.network_timeout = _SILENT_S
    handlers = [
        (evt.EVT_C_STORE, _store, [inbox]),
        (evt.EVT_PDU_RECV, _limit_size, [inbox.limits.object_bytes]),
        (evt.EVT_REJECTED, _log_rejected),
    ]
    _require_free(address)
    server = node.start_server(address, block=False, evt_handlers=handlers)
    try:
        yield int(server.server_address[1])
    finally:
        node.shutdown()


def _require_free(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        socket.create_server(address, family=family).close()
    except OSError as error:
        host, port = address
        raise ConfigError(
            f"cannot listen on port {port} of {host} ({error.strerror}): name another --port or --host"
        ) from error


def _store(event: Any, inbox: Inbox) -> int:
    """Store an object; the sender gets success once it is on disk."""
    if getattr(event.assoc, "mose_over", False):
        return _OUT_OF_RESOURCES
    try:
        inbox.receive(event.encoded_dataset(), event.assoc)
    except DataError as error:
        _LOGGER.warning("refused: %s", error)
        return _CANNOT_UNDERSTAND
    except QueueFullError as error:
        _LOGGER.warning("refused: %s", error)
        return _OUT_OF_RESOURCES
    except OSError as error:
        _LOGGER.error("an object cannot be stored (%s)", error.strerror)
        return _OUT_OF_RESOURCES
    return _SUCCESS


def _limit_size(event: Any, limit: int) -> None:
    """End an association whose object grows beyond the limit, before it fills the memory."""
    association = event.assoc
    for item in getattr(event.pdu, "presentation_data_value_items", ()):
        value = item.presentation_data_value
        if value[0] & _COMMAND:
            continue
        size = getattr(association, "mose_bytes", 0) + len(value) - 1
        association.mose_bytes = 0 if value[0] & _LAST_FRAGMENT else size
        if size > limit and not association.is_aborted:
            _LOGGER.warning("an association was ended: an object has more than %d bytes", limit)
            association.mose_over = True
            association.abort(block=False)
            return


def _log_rejected(event: Any) -> None:
    calling = event.assoc.requestor.primitive.calling_ae_title
    _LOGGER.warning("an association of %r was refused", calling.strip())
