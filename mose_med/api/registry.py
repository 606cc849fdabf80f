"""A model of an MLflow registry, to be read; a version is a bundle zip that a run holds, never a pickle."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mose_med.errors import ConfigError, DataError
from mose_med.files.hashes import file_sha256
from mose_med.files.whole_files import written_whole
from mose_med.handlers.tracking.run_upload import require_reachable, store_client
from mose_med.handlers.tracking.store_files import find_artifacts, store_file
from mose_med.handlers.tracking.store_uri import store_uri
from mose_med.handlers.tracking.training_run import named_store_errors, require_mlflow

__all__ = ["BUNDLE_FOLDER", "BUNDLE_SHA256", "ModelVersion", "RegisteredModel", "registered_bundle"]

#: Tag of a version: the SHA-256 of its bundle; and the folder of the run's artifacts that holds it.
BUNDLE_SHA256 = "bundle_sha256"
BUNDLE_FOLDER = "bundle"
#: MLflow's error codes for a missing model, version or alias.
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
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
        ConfigError: if the name of the store is invalid, or a folder has none.
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
            raise ConfigError(
                f"there is no store in {store}: name another, or run `mose-med models register` to create one"
            )
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
        named: dict[int, list[str]] = {}
        for alias, number in aliases.items():
            named.setdefault(int(number), []).append(alias)
        versions = [_version(entry, named.get(int(entry.version), ())) for entry in found]
        return sorted(versions, key=lambda version: version.number)

    def version(self, number: int) -> ModelVersion:
        """One version.

        Raises:
            ConfigError: if there is none of this number.
        """
        found = self._found(lambda: self._client.get_model_version(self.model, str(number)))
        if found is None:
            known = ", ".join(str(version.number) for version in self.versions()) or "none"
            raise ConfigError(f"model {self.model} has no version {number}: there are {known}")
        return found

    def aliased(self, alias: str) -> ModelVersion:
        """The version of an alias.

        Raises:
            ConfigError: if there is no such model or alias.
        """
        found = self._of_alias(alias)
        if found is None:
            known = ", ".join(sorted(name for version in self.versions() for name in version.aliases)) or "none"
            raise ConfigError(f"model {self.model} has no alias {alias}: there are {known}")
        return found

    def _of_alias(self, alias: str) -> ModelVersion | None:
        """The version of an alias; None if there is no such model or alias."""
        return self._found(lambda: self._client.get_model_version_by_alias(self.model, alias))

    def _found(self, ask: Callable[[], Any]) -> ModelVersion | None:
        """The version that a call of the client gives; None if the store has none."""
        from mlflow.exceptions import MlflowException

        with self._named_errors():
            try:
                entry = ask()
            except MlflowException as error:
                if error.error_code not in _NOT_THERE:
                    raise
                return None
        return _version(entry, entry.aliases)

    def download(self, version: ModelVersion, target: Path) -> Path:
        """Write the bundle of a version, if it is not there yet.

        Raises:
            DataError: if the store does not return it, or returns a different one.
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
        raise ConfigError(
            f"there is no model {self.model}, known models are {known}: add one with `mose-med models register`"
        )

    def _named_errors(self) -> AbstractContextManager[None]:
        return named_store_errors(f"of model {self.model}")


def _version(entry: Any, aliases: Iterable[str]) -> ModelVersion:
    names, created = tuple(sorted(aliases)), int(entry.creation_timestamp)
    return ModelVersion(int(entry.version), str(entry.run_id), dict(entry.tags), names, created)


@contextmanager
def registered_bundle(address: str, store: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The bundle that ``models:/name@alias`` or ``models:/name/number`` means, as a zip file inside the context.

    Raises:
        ConfigError: if the address is invalid, no store is given, or there is no such version.
        DataError: if the store does not give it.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"a registered model must be models:/name@alias or models:/name/number, got {address}")
    if store is None:
        raise ConfigError(f"{address} needs a registry: pass tracking_uri (a server, an SQLite URI or a folder)")
    model = RegisteredModel(match["model"], os.fspath(store))
    version = model.version(int(match["number"])) if match["alias"] is None else model.aliased(match["alias"])
    with tempfile.TemporaryDirectory() as folder:
        yield model.download(version, Path(folder) / "bundle.zip")
