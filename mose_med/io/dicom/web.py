"""A DICOM archive over the web: CT series out of it (QIDO-RS, WADO-RS), objects back into it (STOW-RS).

The certificate of the archive is always verified. Instances come as the archive holds them, compressed ones included,
and go straight to files: no more than one is in memory.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydicom.errors import InvalidDicomError

from mose_med.errors import ConfigError, DataError, MissingDependencyError
from mose_med.io.dicom.files import silenced, without_remarks
from mose_med.io.dicom.objects.saving import read_to_send

try:
    import requests
    from dicomweb_client.web import DICOMwebClient
    from requests.auth import AuthBase
except ImportError as error:
    raise MissingDependencyError("dicomweb-client", "dicom") from error

__all__ = ["Archive", "BearerToken"]

_LOGGER = logging.getLogger(__name__)
_AS_STORED = (("application/dicom", "*"),)
_UID = re.compile(r"[0-9.]{1,64}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MODALITY, _SERIES_UID, _INSTANCES = "00080060", "0020000E", "00201209"


class BearerToken(AuthBase):  # type: ignore[misc]
    """Credentials that are a token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token into a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Archive:
    """Client of one archive.

    Args:
        url: of its DICOMweb service, ``http`` or ``https``, without user and password.
        auth: that requests carry; None leaves it to ``~/.netrc``.
        ca_bundle: file with the certificates of the authorities to trust; the usual ones if None.
        timeout_s: that a request may wait for an answer.

    Raises:
        ConfigError: if the URL or the bundle does not fit.
    """

    def __init__(
        self, url: str, *, auth: AuthBase | None = None, ca_bundle: Path | None = None, timeout_s: float = 60.0
    ) -> None:
        self.name = _checked(url, ca_bundle)
        session = _Session()
        session.auth = auth
        session.verify = True if ca_bundle is None else str(ca_bundle)
        self._client = DICOMwebClient(url.rstrip("/"), session=session, timeout=timeout_s, permissive_uid=True)
        self._client.set_http_retry_params(max_attempts=3, wait_exponential_multiplier=500)

    def retrieve_ct(self, study_uid: str, folder: Path, series_uid: str | None = None) -> int:
        """Write the CT series of a study, or one of them, into a folder.

        Args:
            study_uid: StudyInstanceUID.
            folder: that exists; files are numbered.
            series_uid: SeriesInstanceUID; all CT series if None.

        Returns:
            Number of files.

        Raises:
            ConfigError: if a UID is none, or the study has no such CT series.
            DataError: if the archive cannot be reached, refuses, has no such study, none of CT, or sends less than it
                says to have.
        """
        for option, uid in (("study", study_uid), ("series", series_uid)):
            if uid is not None and not _UID.fullmatch(uid):
                raise ConfigError(f"{option} must be a UID, digits and dots, got {uid!r}")
        count = 0
        for series, expected in self._ct_series(study_uid, series_uid):
            received = 0
            with self._asking("a series"):
                for dataset in self._client.iter_series(study_uid, series, media_types=_AS_STORED):
                    dataset.save_as(folder / f"{count + received:06d}.dcm", enforce_file_format=True)
                    received += 1
            if received < expected:
                raise DataError(f"{self.name} sent {received} of {expected} images of a series: try again")
            count += received
        return count

    def _ct_series(self, study_uid: str, series_uid: str | None) -> list[tuple[str, int]]:
        """UID and number of instances (0 if unknown) of the series to retrieve."""
        with self._asking("the series of a study"):
            found = self._client.search_for_series(study_uid, fields=[_INSTANCES])
        if not found:
            raise DataError(f"{self.name} has no such study: check --study")
        chosen = [entry for entry in found if series_uid in (None, _value(entry, _SERIES_UID))]
        if not chosen:
            raise ConfigError(f"{self.name} has no such series in the study: check --series")
        ct = [entry for entry in chosen if _value(entry, _MODALITY) == "CT"]
        if not ct:
            modalities = ", ".join(sorted({str(_value(entry, _MODALITY)) for entry in chosen}))
            raise DataError(f"no CT series in the study at {self.name}: Modality must be CT, got {modalities}")
        return [(str(_value(entry, _SERIES_UID)), int(_value(entry, _INSTANCES) or 0)) for entry in ct]

    def store(self, files: Sequence[Path]) -> None:
        """Send DICOM files to the archive.

        Raises:
            DataError: if the archive cannot be reached, refuses, or does not store a file.
        """
        for file in files:
            with self._asking(f"to store {file.name}"):
                answer = self._client.store_instances([read_to_send(file)])
            failed = answer.get("FailedSOPSequence") or ()
            if failed:
                reason = failed[0].get("FailureReason", "unknown")
                raise DataError(f"{self.name} did not store {file.name} (failure reason {reason})")

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Describe the faults of a request in one line that holds neither UIDs nor credentials."""
        try:
            with without_remarks(), silenced("retrying", "dicomweb_client"):
                yield
        except requests.HTTPError as error:
            raise DataError(self._refusal(what, int(error.response.status_code))) from error
        except requests.exceptions.SSLError as error:
            raise DataError(f"{self.name} has no certificate that can be trusted: name its --ca-bundle") from error
        except requests.RequestException as error:
            kind = type(error).__name__
            raise DataError(
                f"{self.name} cannot be reached ({kind}): check the URL and that the archive runs"
            ) from error
        except (ValueError, KeyError, InvalidDicomError) as error:
            raise DataError(f"{self.name} gave no DICOMweb answer when asked {what}: check the URL") from error

    def _refusal(self, what: str, status: int) -> str:
        if status in (401, 403):
            return (
                f"{self.name} refuses these credentials (HTTP {status}): set MOSE_MED_DICOMWEB_USER and "
                "MOSE_MED_DICOMWEB_PASSWORD, or MOSE_MED_DICOMWEB_TOKEN, or an entry in ~/.netrc"
            )
        if status == 404:
            return f"{self.name} has nothing there when asked for {what} (HTTP 404): check the URL and --study"
        return f"{self.name} answers HTTP {status} when asked for {what}: see the log of the archive"


class _Session(requests.Session):  # type: ignore[misc]
    """A named certificate bundle takes precedence over that of the environment; requests does the opposite."""

    def merge_environment_settings(self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any) -> dict[str, Any]:
        settings: dict[str, Any] = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return settings if self.verify is True else settings | {"verify": self.verify}


def _checked(url: str, ca_bundle: Path | None) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ConfigError("dicomweb must be a URL without user and password: give them in the environment or ~/.netrc")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"dicomweb must be a URL such as https://host/dicom-web, got {url!r}")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        _LOGGER.warning("%s is not encrypted: images and credentials can be read on their way; use https", url)
    if ca_bundle is not None and not ca_bundle.is_file():
        raise ConfigError(f"ca_bundle {ca_bundle} does not exist")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def _value(entry: dict[str, dict[str, Any]], tag: str) -> Any:
    values = entry.get(tag, {}).get("Value") or [None]
    return values[0]
