"""A model of an MLflow registry, to be read; a version is a bundle zip that a run holds, never a pickle."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mose_med.errors import ConfigError, DataError
from mose_med.files.whole_files import written_whole
from mose_med.handlers.tracking.run_upload import require_reachable, store_client
from mose_med.handlers.tracking.store_files import find_artifacts, store_file
from mose_med.handlers.tracking.store_uri import store_uri
from mose_med.handlers.tracking.training_run import named_store_errors, require_mlflow
from mose_med.provenance import file_sha256

__all__ = ["BUNDLE_FOLDER", "BUNDLE_SHA256", "ModelVersion", "RegisteredModel", "registered_bundle"]

#: Tag of a version: the SHA-256 of its bundle; and the folder of the run's artifacts that holds it.
BUNDLE_SHA256 = "bundle_sha256"
BUNDLE_FOLDER = "bundle"
_ADDRESS = re.compile(r"models:/(?P<model>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<number>[0-9]+))")


@dataclass(frozen=True)
class ModelVersion:
    """One version.

    Attributes:
        number: counted from 1.
        run_id: of the run that holds its bundle.
        tags: what is known of it.
        aliases: names it goes by, such as ``champion``.
        created_ms: when it was registered, in milliseconds since 1970.
    """

    number: int
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created_ms: int = 0


class RegisteredModel:
    """One model of one store.

    Args:
        model: its name.
        store: server, folder or URI.
        create: make a store in a folder that has none.

    Raises:
        ConfigError: if the name of the store does not fit, or a folder has none.
        DataError: if the server cannot be reached.
        MissingDependencyError: if MLflow is not installed.
    """

    def __init__(self, model: str, store: str, *, create: bool = False) -> None:
        require_mlflow()
        if not model.strip() or set(model) & set("/:'\""):
            raise ConfigError(f"model must be a name without / : and quotes, got {model!r}")
        self.model = model
        self.uri = str(store_uri(store, create=create))
        file = store_file(self.uri)
        if not create and file is not None and not file.is_file():
            raise ConfigError(f"there is no store in {store}: name another, or `mose-med models register` makes one")
        require_reachable(self.uri)
        with self._named_errors():
            self._client = store_client(self.uri)

    def versions(self) -> list[ModelVersion]:
        """All versions, the oldest first.

        Raises:
            ConfigError: if there is no such model.
        """
        with self._named_errors():
            self._require_model()
            found = self._client.search_model_versions(f"name='{self.model}'")
            aliases = self._client.get_registered_model(self.model).aliases
        versions = [_version(entry, aliases) for entry in found]
        return sorted(versions, key=lambda version: version.number)

    def version(self, number: int) -> ModelVersion:
        """One version.

        Raises:
            ConfigError: if there is none of this number.
        """
        versions = {version.number: version for version in self.versions()}
        if number not in versions:
            known = ", ".join(map(str, versions)) or "none"
            raise ConfigError(f"model {self.model} has no version {number}: there are {known}")
        return versions[number]

    def aliased(self, alias: str) -> ModelVersion:
        """The version of an alias.

        Raises:
            ConfigError: if there is no such model or alias.
        """
        versions = self.versions()
        for version in versions:
            if alias in version.aliases:
                return version
        known = ", ".join(sorted(name for version in versions for name in version.aliases)) or "none"
        raise ConfigError(f"model {self.model} has no alias {alias}: there are {known}")

    def download(self, version: ModelVersion, target: Path) -> Path:
        """Write the bundle of a version, if it is not there yet.

        Raises:
            DataError: if the store does not give it, or gives another one than was registered.
        """
        if target.is_file() and file_sha256(target) == version.tags.get(BUNDLE_SHA256):
            return target
        with self._named_errors(), tempfile.TemporaryDirectory() as folder:
            files = find_artifacts(self._client, version.run_id, BUNDLE_FOLDER, Path(folder))
            bundles = [path for path in files if path.suffix == ".zip"]
            if len(bundles) != 1:
                raise DataError(f"version {version.number} of {self.model} must have one bundle, got {len(bundles)}")
            if file_sha256(bundles[0]) != version.tags.get(BUNDLE_SHA256):
                raise DataError(f"the bundle of version {version.number} of {self.model} is not the registered one")
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as temporary:
                shutil.copyfile(bundles[0], temporary)
        return target

    def _require_model(self) -> None:
        if self._client.search_registered_models(f"name='{self.model}'"):
            return
        known = ", ".join(sorted(model.name for model in self._client.search_registered_models())) or "none"
        raise ConfigError(f"there is no model {self.model}, known are {known}: `mose-med models register` adds one")

    def _named_errors(self) -> AbstractContextManager[None]:
        return named_store_errors(f"of model {self.model}")


def _version(entry: Any, aliases: Mapping[str, str]) -> ModelVersion:
    number = int(entry.version)
    names = tuple(sorted(name for name, version in aliases.items() if int(version) == number))
    return ModelVersion(number, str(entry.run_id), dict(entry.tags), names, int(entry.creation_timestamp))


@contextmanager
def registered_bundle(address: str, store: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The bundle that ``models:/name@alias`` or ``models:/name/number`` means, as a zip file for as long as it lasts.

    Raises:
        ConfigError: if the address does not fit, no store is given, or there is no such version.
        DataError: if the store does not give it.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"a registered model must be models:/name@alias or models:/name/number, got {address}")
    if store is None:
        raise ConfigError(f"{address} needs its registry: pass tracking_uri, a server, an SQLite URI or a folder")
    model = RegisteredModel(match["model"], os.fspath(store))
    version = model.version(int(match["number"])) if match["alias"] is None else model.aliased(match["alias"])
    with tempfile.TemporaryDirectory() as folder:
        yield model.download(version, Path(folder) / "bundle.zip")
