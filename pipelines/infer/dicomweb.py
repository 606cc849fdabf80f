"""A study of a DICOM archive for ``mose-med infer``: credentials, retrieval to a private folder, results sent back.

Credentials come from the environment, ``MOSE_MED_DICOMWEB_TOKEN`` (a bearer token) or ``MOSE_MED_DICOMWEB_USER`` with
``MOSE_MED_DICOMWEB_PASSWORD``, or else from ``~/.netrc``. They are never an argument and never logged.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mose_med.errors import ConfigError

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from mose_med.io.dicom.web import Archive

__all__ = ["open_archive", "retrieved_study"]

_USER, _PASSWORD, _TOKEN = (f"MOSE_MED_DICOMWEB_{name}" for name in ("USER", "PASSWORD", "TOKEN"))


def open_archive(url: str, ca_bundle: Path | None = None, environment: Mapping[str, str] = os.environ) -> Archive:
    """Client of an archive, with the credentials of the environment.

    Raises:
        MissingDependencyError: if the extra ``dicom`` is not installed.
        ConfigError: if the URL or the CA bundle is invalid, or one of user and password is missing.
    """
    from mose_med.io.dicom.web import Archive

    return Archive(url, auth=_credentials(environment), ca_bundle=ca_bundle)


def _credentials(environment: Mapping[str, str]) -> AuthBase | None:
    from requests.auth import HTTPBasicAuth

    from mose_med.io.dicom.web import BearerToken

    if environment.get(_TOKEN):
        return BearerToken(environment[_TOKEN])
    user, password = environment.get(_USER), environment.get(_PASSWORD)
    if not user and not password:
        return None
    for name, value, other in ((_USER, user, _PASSWORD), (_PASSWORD, password, _USER)):
        if not value:
            raise ConfigError(f"{name} must be set, since {other} is: set both, or neither for ~/.netrc")
    return HTTPBasicAuth(user, password)


@contextmanager
def retrieved_study(archive: Archive, study_uid: str, series_uid: str | None = None) -> Iterator[Path]:
    """The CT series of a study, or one of them, in a folder that only this user may read and that is then removed.

    Raises:
        ConfigError: if a UID is invalid, or there is no such CT series.
        DataError: if the study cannot be retrieved.
    """
    with tempfile.TemporaryDirectory(prefix="mose-med-") as name:
        archive.retrieve_ct(study_uid, Path(name), series_uid)
        yield Path(name)
