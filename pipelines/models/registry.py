"""The versions of one model in an MLflow registry; a version is a bundle zip that a run holds, never a pickle.

The alias ``champion`` names the version in use. What a version descends from, and how it compared, stands in its tags.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mose_med.errors import ConfigError, DataError
from mose_med.files.whole_files import written_whole
from mose_med.handlers.tracking.run_upload import experiment_id, made_once, require_reachable, store_client
from mose_med.handlers.tracking.store_files import find_artifacts, keep_artifact, run_artifacts, store_file, store_lock
from mose_med.handlers.tracking.training_run import named_store_errors, require_mlflow
from pipelines.common.provenance import file_sha256
from pipelines.common.tracking_store import named_store, store_uri
from pipelines.export.archive import verify_zip

__all__ = ["CHAMPION", "DEFAULT_STORE", "PROMOTED_OVER", "ModelVersion", "Registry"]

#: Alias of the version in use.
CHAMPION = "champion"
#: Folder of the embedded store where no other is named.
DEFAULT_STORE = "registry"
#: Tag: the version that was champion when this one was promoted.
PROMOTED_OVER = "promoted_over"

_SHA256 = "bundle_sha256"
_FOLDER = "bundle"
_LOCK_SECONDS = 600.0


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


class Registry:
    """One model of one store.

    Args:
        model: its name.
        store: server, folder or URI; None for what the environment says, or a folder ``registry``.
        create: make a store in a folder that has none.

    Raises:
        ConfigError: if the name of the store does not fit.
        DataError: if the server cannot be reached.
        MissingDependencyError: if MLflow is not installed.
    """

    def __init__(self, model: str, store: str | None = None, *, create: bool = False) -> None:
        require_mlflow()
        if not model.strip() or set(model) & set("/:'\""):
            raise ConfigError(f"model must be a name without / : and quotes, got {model!r}")
        self.model = model
        name = named_store(store) or DEFAULT_STORE
        self.uri = str(store_uri(name, create=create))
        file = store_file(self.uri)
        if not create and file is not None and not file.is_file():
            raise ConfigError(f"there is no store in {name}: name another, or `mose-med models register` makes one")
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

    def champion(self) -> ModelVersion:
        """The version in use.

        Raises:
            ConfigError: if there is no such model, or no champion yet.
        """
        for version in self.versions():
            if CHAMPION in version.aliases:
                return version
        raise ConfigError(
            f"model {self.model} has no champion yet: name one with `mose-med models register --champion`"
        )

    def has_champion(self) -> bool:
        """Whether there is a version in use."""
        with self._named_errors():
            models = self._client.search_registered_models(f"name='{self.model}'")
        return bool(models) and CHAMPION in models[0].aliases

    def register(self, bundle: Path, tags: Mapping[str, str], run_id: str | None = None) -> ModelVersion:
        """Add a version, or return the one that has the same bundle already.

        Args:
            bundle: zip file of ``mose-med export bundle``.
            tags: what is known of it.
            run_id: run of this store that holds the bundle; None begins a run that does.

        Raises:
            DataError: if the bundle is damaged or the store refuses.
        """
        verify_zip(bundle)
        sha256 = file_sha256(bundle)
        experiment = self._experiment()
        with self._named_errors(), store_lock(self.uri):
            if not self._client.search_registered_models(f"name='{self.model}'"):
                made_once(lambda: self._client.create_registered_model(self.model))
            for version in self.versions():
                if version.tags.get(_SHA256) == sha256:
                    return version
            holder = run_id or self._run_of(bundle, experiment)
            source = f"{run_artifacts(self._client, holder)}/{_FOLDER}"
            all_tags = {name: value for name, value in tags.items() if value} | {_SHA256: sha256}
            created = self._client.create_model_version(self.model, source, run_id=holder, tags=all_tags)
        return self.version(int(created.version))

    def download(self, version: ModelVersion, target: Path) -> Path:
        """Write the bundle of a version, if it is not there yet.

        Raises:
            DataError: if the store does not give it, or gives another one than was registered.
        """
        if target.is_file() and file_sha256(target) == version.tags.get(_SHA256):
            return target
        with self._named_errors(), tempfile.TemporaryDirectory() as folder:
            files = find_artifacts(self._client, version.run_id, _FOLDER, Path(folder))
            bundles = [path for path in files if path.suffix == ".zip"]
            if len(bundles) != 1:
                raise DataError(f"version {version.number} of {self.model} must have one bundle, got {len(bundles)}")
            if file_sha256(bundles[0]) != version.tags.get(_SHA256):
                raise DataError(f"the bundle of version {version.number} of {self.model} is not the registered one")
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(target) as temporary:
                shutil.copyfile(bundles[0], temporary)
        return target

    def set_champion(self, version: ModelVersion) -> None:
        """Move the alias."""
        with self._named_errors():
            self._client.set_registered_model_alias(self.model, CHAMPION, str(version.number))

    def set_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Record something of a version."""
        with self._named_errors():
            for name, value in tags.items():
                self._client.set_model_version_tag(self.model, str(version.number), name, value)

    @contextmanager
    def promotion_lock(self) -> Iterator[None]:
        """Held while the alias is read and moved. A store in a file has a lock file beside it; a server has none.

        Raises:
            DataError: if another promotion holds it for minutes.
        """
        from filelock import FileLock, Timeout

        file = store_file(self.uri)
        if file is None:
            yield
            return
        path = file.with_name("promotion.lock")
        try:
            with FileLock(path, timeout=_LOCK_SECONDS):
                yield
        except Timeout as error:
            raise DataError(f"another promotion holds {path}: run the command again when it is over") from error

    def _experiment(self) -> str:
        with self._named_errors():
            return experiment_id(self._client, self.uri)

    def _run_of(self, bundle: Path, experiment: str) -> str:
        run = self._client.create_run(experiment, run_name=f"register {bundle.stem}")
        keep_artifact(self._client, run.info.run_id, bundle, _FOLDER)
        self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

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
