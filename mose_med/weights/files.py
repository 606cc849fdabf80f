"""Where the weights of an evaluation are: a checkpoint file, a MONAI bundle folder, or a bundle as a zip file."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mose_med.errors import ConfigError
from mose_med.files.zip_files import named_zip_errors
from mose_med.weights.bundles import verify_folder, verify_zip
from mose_med.weights.model_files import MODEL_CONFIG_NAME, model_sha256

__all__ = ["BUNDLE_WEIGHTS", "weights_file", "weights_sha256"]

#: Weights inside a bundle.
BUNDLE_WEIGHTS = PurePosixPath("models/model.pt")


@contextmanager
def weights_file(path: Path) -> Iterator[Path]:
    """The checkpoint that ``path`` is or holds, as a file for as long as the context lasts.

    Of weights alone, the file that says what they mean lies beside it.

    A bundle that lists the SHA-256 of its files is compared with the list.

    Raises:
        ConfigError: if a bundle has no weights.
        DataError: if a zip file cannot be read, or a bundle is damaged.
    """
    if path.is_dir():
        inside = path / BUNDLE_WEIGHTS
        if not inside.is_file():
            raise _missing(path)
        verify_folder(path)
        yield inside
    elif path.suffix == ".zip" and path.is_file():
        verify_zip(path)
        with tempfile.TemporaryDirectory() as folder:
            yield _extracted(path, Path(folder))
    else:
        yield path


def weights_sha256(path: Path) -> str:
    """SHA-256 of the checkpoint that ``path`` is or holds; it is not loaded.

    Raises:
        ConfigError: if there is none.
        DataError: if a bundle is damaged.
    """
    with weights_file(path) as file:
        if not file.is_file():
            raise ConfigError(f"checkpoint {file} does not exist")
        return model_sha256(file)


def _extracted(path: Path, folder: Path) -> Path:
    with named_zip_errors(f"bundle {path} cannot be read"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        members = [name for name in names if PurePosixPath(name).parts[-2:] == BUNDLE_WEIGHTS.parts]
        if len(members) == 1:
            meaning = str(PurePosixPath(members[0]).with_name(MODEL_CONFIG_NAME))
            for member in (members[0], *([meaning] if meaning in names else [])):
                with archive.open(member) as source, (folder / PurePosixPath(member).name).open("wb") as stream:
                    shutil.copyfileobj(source, stream)
    if len(members) != 1:
        raise _missing(path)
    return folder / BUNDLE_WEIGHTS.name


def _missing(path: Path) -> ConfigError:
    return ConfigError(f"bundle {path} must hold one {BUNDLE_WEIGHTS}: name the checkpoint file instead")
