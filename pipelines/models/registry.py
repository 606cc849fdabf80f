"""The versions of one model in an MLflow registry; a version is a bundle zip that a run holds, never a pickle.

The alias ``champion`` names the version in use. What a version descends from, and how it compared, is in its tags.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mose_med.api.registry import BUNDLE_FOLDER, BUNDLE_SHA256, ModelVersion, RegisteredModel
from mose_med.errors import ConfigError
from mose_med.files.hashes import file_sha256
from mose_med.handlers.tracking.run_upload import create_if_missing, experiment_id
from mose_med.handlers.tracking.store_files import keep_artifact, lock_beside, run_artifacts, store_file, store_lock
from mose_med.weights.bundles import verify_zip
from pipelines.common.tracking_store import named_store

__all__ = ["CHAMPION", "DEFAULT_STORE", "PROMOTED_OVER", "ModelVersion", "Registry"]

#: Alias of the version in use.
CHAMPION = "champion"
#: Folder of the embedded store where no other is named.
DEFAULT_STORE = "registry"
#: Tag: the version that was champion when this one was promoted.
PROMOTED_OVER = "promoted_over"


class Registry(RegisteredModel):
    """One model of one store, to be read and changed.

    Args:
        model: its name.
        store: server, folder or URI; None for what the environment says, or a folder ``registry``.
        create: make a store in a folder that has none.

    Raises:
        ConfigError: if the name of the store is invalid.
        DataError: if the server cannot be reached.
        MissingDependencyError: if MLflow is not installed.
    """

    def __init__(self, model: str, store: str | None = None, *, create: bool = False) -> None:
        super().__init__(model, named_store(store) or DEFAULT_STORE, create=create)

    def champion(self) -> ModelVersion:
        """The version in use.

        Raises:
            ConfigError: if there is no such model, or no champion yet.
        """
        found = self._of_alias(CHAMPION)
        if found is None:
            self._require_model()
            raise ConfigError(
                f"model {self.model} has no champion yet: name one with `mose-med models register --champion`"
            )
        return found

    def has_champion(self) -> bool:
        """Whether there is a version in use."""
        return self._of_alias(CHAMPION) is not None

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
                create_if_missing(lambda: self._client.create_registered_model(self.model))
            for version in self.versions():
                if version.tags.get(BUNDLE_SHA256) == sha256:
                    self._describe(version.run_id)  # those of earlier versions of mose_med have no description
                    return version
            holder = run_id or self._run_of(bundle, experiment)
            self._describe(holder)
            source = f"{run_artifacts(self._client, holder)}/{BUNDLE_FOLDER}"
            all_tags = {name: value for name, value in tags.items() if value} | {BUNDLE_SHA256: sha256}
            created = self._client.create_model_version(self.model, source, run_id=holder, tags=all_tags)
        return self.version(int(created.version))

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
        """Held while the alias is read and moved, in a store that is a file; a server has none.

        Raises:
            ConfigError: if a promotion on another machine holds it, which has not been seen for minutes.
        """
        file = store_file(self.uri)
        if file is None:
            yield
            return
        with lock_beside(file.with_name("promotion")):
            yield

    def _experiment(self) -> str:
        with self._named_errors():
            return experiment_id(self._client, self.uri)

    def _run_of(self, bundle: Path, experiment: str) -> str:
        run = self._client.create_run(experiment, run_name=f"register {bundle.stem}")
        keep_artifact(self._client, run.info.run_id, bundle, BUNDLE_FOLDER)
        self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _describe(self, run_id: str) -> None:
        """Keep what MLflow needs to load the bundle beside it."""
        from mose_med.api.mlflow_model import write_description

        with tempfile.TemporaryDirectory() as scratch:
            description = Path(scratch) / "model"
            write_description(description)
            for file in sorted(description.iterdir()):
                keep_artifact(self._client, run_id, file, BUNDLE_FOLDER)
