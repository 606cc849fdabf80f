"""Fixtures for all tests; parts of the project bring their own in ``tests/fixtures``."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# How long an example takes says how busy the machine is, not whether the code is right.
# Continuous integration looks at the same examples every time: what it refuses is the change, not the draw.
hypothesis.settings.register_profile("tests", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("tests")

# A job in the background of a shell ignores Ctrl-C, and so would what tests start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.fixtures.bundle",
    "tests.fixtures.cityscapes",
    "tests.fixtures.cityscapes_training",
    "tests.fixtures.cohort",
    "tests.fixtures.dicom_seg",
    "tests.fixtures.community",
    "tests.fixtures.dicom_case",
    "tests.fixtures.dicom_node",
    "tests.fixtures.infer",
    "tests.fixtures.lidc",
    "tests.fixtures.object_storage",
    "tests.fixtures.mlflow",
    "tests.fixtures.orthanc",
    "tests.fixtures.programs",
    "tests.fixtures.report",
    "tests.fixtures.training",
    "tests.fixtures.rater_masks",
    "tests.fixtures.retraining",
    "tests.fixtures.rtstruct",
    "tests.fixtures.several_classes",
]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests, and the processes that they start, measure once is kept among their files, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the checkout; tests that use it are marked ``real``."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data folder ../shared/data beside the checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def system_tool() -> Callable[[str], str]:
    """Path of a program of ``tests/system-packages.txt``; without it the test is skipped, in CI it fails."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None and os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, although CI installs tests/system-packages.txt")
        if path is None:
            pytest.skip(f"needs {name}, of a Debian package in tests/system-packages.txt")
        return path

    return find


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Commands configure logging for their process; a test must not leave that to the next one."""
    before = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = before
    for name in ("nibabel.global", "pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in ("mose_med", "data_prep", "pipelines"):
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            handler.close()
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
