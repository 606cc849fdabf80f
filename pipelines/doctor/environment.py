"""Checks of this machine. Each says what it found and, if it is wrong, what to do."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from mose_med.errors import ConfigError, MoseError
from mose_med.files.credentials import without_credentials
from pipelines.common.installation import extras, installed_version, pip_line

__all__ = ["Check", "checks"]

State = Literal["ok", "note", "wrong"]

_PYTHONS = ((3, 11), (3, 14))
_BASE = ("monai", "numpy", "scipy", "nibabel", "pydicom", "SimpleITK", "pytorch-ignite", "typer", "rich")
#: Transfer syntaxes that archives send, and what decodes them.
_CODECS = {
    "JPEG": ("1.2.840.10008.1.2.4.50", "pylibjpeg pylibjpeg-libjpeg"),
    "JPEG lossless": ("1.2.840.10008.1.2.4.70", "python-gdcm"),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", "pyjpegls"),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", "pylibjpeg pylibjpeg-openjpeg"),
    "RLE": ("1.2.840.10008.1.2.5", "pydicom"),
}
_LEAST_BYTES, _GOOD_BYTES = 1 << 30, 10 << 30
_PATIENCE_S = 5


class Check(NamedTuple):
    """The result of one check.

    Attributes:
        name: of the thing.
        state: ``wrong`` is what will make commands fail.
        found: what is there.
        fix: what to do; empty where nothing needs to be done.
    """

    name: str
    state: State
    found: str
    fix: str = ""


def checks(folder: Path) -> Iterator[Check]:
    """All checks; disk, write access and locks are those of ``folder``."""
    steps: tuple[Callable[[], Iterator[Check]], ...] = (_python, _packages, _torch, _codecs, _weights, _extras, _store)
    for step in steps:
        yield from step()
    yield from _folder(folder)


def _python() -> Iterator[Check]:
    low, high = _PYTHONS
    version = ".".join(map(str, sys.version_info[:3]))
    if low <= sys.version_info[:2] < high:
        yield Check("python", "ok", version)
    else:
        yield Check("python", "wrong", version, "use Python 3.11, 3.12 or 3.13")


def _packages() -> Iterator[Check]:
    missing = [name for name in _BASE if installed_version(name) is None]
    if missing:
        yield Check("packages", "wrong", f"missing: {', '.join(missing)}", "pip install --upgrade mose-med")
    else:
        yield Check("packages", "ok", ", ".join(f"{name} {installed_version(name)}" for name in _BASE))


def _torch() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("torch", "wrong", f"cannot be imported: {error}", "pip install --force-reinstall torch")
        return
    yield Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    has_card = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
    if not torch.cuda.is_available():
        state: State = "wrong" if has_card else "note"
        fix = "install a torch whose CUDA the driver supports, see pytorch.org" if has_card else ""
        yield Check("gpu", state, f"none that torch can use (built for CUDA {torch.version.cuda})", fix)
        return
    try:
        ones = torch.ones(64, 64, device="cuda")
        works = bool((ones @ ones).sum().item() == 64**3)
    except RuntimeError as error:
        yield Check("gpu", "wrong", str(error).partition("\n")[0], "free the GPU, or use --device cpu")
        return
    found = f"{torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[0] >> 20} MiB free"
    yield Check("gpu", "ok" if works else "wrong", found, "" if works else "restart the driver, or use --device cpu")


def _codecs() -> Iterator[Check]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    missing = {name: pip for name, (uid, pip) in _CODECS.items() if not get_decoder(UID(uid)).is_available}
    if missing:
        fix = f"pip install {' '.join(dict.fromkeys(missing.values()))}"
        yield Check("codecs", "wrong", f"no decoder of {', '.join(missing)}", fix)
    else:
        yield Check("codecs", "ok", ", ".join(_CODECS))


def _weights() -> Iterator[Check]:
    from mose_med.weights.files import weights_sha256
    from mose_med.weights.shipped import SHIPPED_BUNDLE, shipped_bundle

    try:
        yield Check("weights", "ok", f"{SHIPPED_BUNDLE}, sha256 {weights_sha256(shipped_bundle())[:12]}")
    except MoseError as error:
        yield Check("weights", "wrong", str(error), "pip install --force-reinstall mose-med")


def _extras() -> Iterator[Check]:
    for name, missing in extras().items():
        if missing:
            yield Check(f"extra {name}", "note", f"not installed: {', '.join(missing)}", pip_line(name))
        else:
            yield Check(f"extra {name}", "ok", "installed")


def _store() -> Iterator[Check]:
    from mose_med.handlers.tracking.store_uri import store_uri
    from pipelines.common.tracking_store import VARIABLE, named_store

    name = named_store(None)
    if name is None:
        yield Check("mlflow store", "note", f"{VARIABLE} names none: trainings keep their own")
        return
    try:
        uri = str(store_uri(name, create=False))
    except ConfigError as error:
        yield Check("mlflow store", "wrong", str(error), f"set {VARIABLE} to a server, an SQLite URI or a folder")
        return
    shown = without_credentials(uri)
    try:
        if uri.startswith(("http://", "https://")):
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_PATIENCE_S).close()
    except OSError as error:
        fix = f"start the server, or correct {VARIABLE}"
        yield Check("mlflow store", "wrong", f"{shown} does not answer: {without_credentials(str(error))}", fix)
        return
    yield Check("mlflow store", "ok", shown)


def _folder(folder: Path) -> Iterator[Check]:
    if not folder.is_dir():
        yield Check("folder", "wrong", f"{folder} is not a folder", "name one that exists: --folder DIR")
        return
    free = shutil.disk_usage(folder).free
    state: State = "ok" if free >= _GOOD_BYTES else "note" if free >= _LEAST_BYTES else "wrong"
    yield Check("disk", state, f"{free >> 20} MiB free in {folder}", "" if state == "ok" else "free some space")
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".mose-med-doctor-") as place:
            (Path(place) / "file").write_bytes(b"mose-med")
            yield Check("write access", "ok", str(folder))
            yield _locks(Path(place))
    except OSError as error:
        fix = "name a folder that you may write to: --folder DIR"
        yield Check("write access", "wrong", f"{folder}: {error.strerror or error}", fix)


def _locks(place: Path) -> Check:
    """Whether runs can keep each other out of a folder, as they do by hard links or exclusive files."""
    from mose_med.files.run_lock import alone_in

    try:
        with alone_in(place):
            pass
        os.link(place / "file", place / "link")
    except MoseError as error:
        return Check("locks", "wrong", str(error), "write results to another file system")
    except OSError:
        return Check("locks", "note", "no hard links: locks are exclusive files")
    return Check("locks", "ok", "hard links")
